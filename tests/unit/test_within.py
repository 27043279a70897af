"""Figures within pictures tell a model that looks from one that only knows the total."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from artquant.evaluate.distances import coverage
from artquant.evaluate.report import as_record, format_table, run_evaluation
from artquant.evaluate.within import within_pictures

DRAW = np.random.default_rng(0)
TOTAL = DRAW.uniform(2, 9, 200)
RATED = TOTAL[:, None] + DRAW.normal(0, 1, (200, 10))


def test_the_total_alone_says_nothing_within():
    by_total = TOTAL[:, None] + DRAW.normal(0, 1e-6, (200, 10))
    found = within_pictures(by_total, RATED, TOTAL)
    assert (
        found.over_pictures.value == pytest.approx(found.over_pictures_by_total.value, abs=1e-3)
        and found.over_pictures.value > 0.85
    )
    assert abs(found.SRCC.value) < 0.06 and found.SRCC.low < 0 < found.SRCC.high
    assert found.weakest.value == pytest.approx(0.1, abs=0.06) and found.by_chance.value == pytest.approx(0.1)
    assert abs(found.partial.value) < 0.1
    assert found.spread.value < 1e-5 and found.spread_rated.value == pytest.approx(0.95, abs=0.1)
    constant = within_pictures(np.repeat(TOTAL[:, None], 10, axis=1), RATED, TOTAL)
    assert constant.SRCC.value == 0.0 and constant.weakest.value == pytest.approx(0.1) and constant.partial.value == 0.0


def test_what_is_seen_within_shows():
    found = within_pictures(RATED + DRAW.normal(0, 0.5, RATED.shape), RATED, TOTAL)
    assert found.SRCC.value > 0.8 and found.SRCC.low < found.SRCC.value < found.SRCC.high
    assert found.weakest.value > 0.6 and found.strongest.value > 0.6 and found.partial.value > 0.8
    right = within_pictures(RATED, RATED, TOTAL, bootstrap=0)
    assert [right.SRCC.value, right.weakest.value, right.strongest.value] == pytest.approx([1.0] * 3)
    assert right.SRCC.low is None


def test_averages_of_attributes_are_no_looking():
    """Where one attribute is always rated higher, its mean alone orders the attributes of a picture."""
    offsets = np.arange(10.0)
    found = within_pictures(offsets + np.zeros_like(RATED), RATED + offsets, TOTAL)
    assert found.SRCC.value == pytest.approx(found.SRCC_by_averages.value, abs=0.02) and found.SRCC.value > 0.8


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 3), st.floats(-5, 5))
def test_order_alone_counts(seed, factor, shift):
    draw = np.random.default_rng(seed)
    rated, predicted = draw.normal(size=(2, 8, 5))
    rated[draw.random(rated.shape) < 0.2] = np.nan
    one = within_pictures(predicted, rated, predicted.mean(1), bootstrap=0)
    other = within_pictures(factor * predicted + shift, rated, predicted.mean(1), bootstrap=0)
    if one is None:
        assert other is None
        return
    assert one.SRCC.value == pytest.approx(other.SRCC.value) and one.weakest.value == pytest.approx(other.weakest.value)
    rows = [~np.isnan(row) for row in rated]
    each = [spearmanr(p[k], r[k]).statistic for p, r, k in zip(predicted, rated, rows, strict=True) if k.sum() >= 3]
    assert one.n == len(each) and one.SRCC.value == pytest.approx(np.mean(each))


def test_in_the_evaluation(tmp_path):
    names = ["Color", "Mood", "Light", "Theme"]
    lines, truth = [], []
    for number in range(20):
        rated = {name: float(value) for name, value in zip(names, RATED[number], strict=False)}
        if number % 4 == 0:
            del rated["Mood"]
        told = {name: {"score": rated.get(name, 5.0) + 0.1, "std": 1.0} for name in names}
        lines.append({"id": f"{number}.png", "score": TOTAL[number], "std": 1.0, "attributes": told})
        truth.append({"id": f"{number}.png", "gt_score": TOTAL[number], "attributes": rated})
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "t.json").write_text(json.dumps(truth))
    [found] = run_evaluation([(tmp_path / "p.jsonl", tmp_path / "t.json")], tmp_path / "out", bootstrap=50, plot=False)
    assert found.within.n == 20 and found.within.SRCC.value == pytest.approx(1.0)
    assert as_record(found)["within_pictures"]["weakest"]["value"] == pytest.approx(1.0)
    assert "attributes within each of 20 pictures" in format_table([found])


def test_how_often_the_truth_lies_within_the_deviation():
    found = coverage(np.array([5.0, 5.0, 5.0, 5.0]), np.array([5.5, 6.5, 2.0, 9.0]), np.array([1.0, 1.0, 1.5, 1.0]))
    assert (found.within_one, found.within_two, found.deviation) == (0.25, 0.75, 1.125)
    assert found.error == pytest.approx(np.sqrt((0.25 + 2.25 + 9 + 16) / 4))


def test_too_few_attributes_say_nothing():
    assert within_pictures(RATED[:, :2], RATED[:, :2], TOTAL) is None
    assert within_pictures(RATED[:2], RATED[:2], TOTAL[:2]) is None
    assert within_pictures(RATED, np.ones_like(RATED), TOTAL) is None

"""Soft labels: the exact solver's guarantees, its refusals, the other rules, and the file they are written to."""

import json
import sys
from subprocess import run

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from artquant.data.soft_labels import (
    APDD_LEVELS,
    SCORE_QUESTIONS,
    SOLVERS,
    gaussian_soft_labels,
    known_std_soft_labels,
    label_score_file,
    one_hot,
    published_soft_labels,
    rating_word,
    two_level_soft_labels,
)
from artquant.errors import ArtQuantError

LEVELS = np.array(APDD_LEVELS)


def assert_meets_scores(probs, levels, scores):
    assert np.isfinite(probs).all() and (probs >= 0).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(probs @ np.asarray(levels), scores, rtol=0, atol=1e-9)


@given(
    st.lists(st.floats(-50, 50).map(lambda x: round(x, 3)), min_size=2, max_size=9, unique=True),
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
    st.floats(1e-3, 1e3),
)
@settings(max_examples=150, deadline=None)
def test_expectation_is_the_score_for_any_scale(levels, fractions, sigma):
    low, high = min(levels), max(levels)
    scores = np.clip(low + np.array(fractions) * (high - low), low, high)
    assert_meets_scores(gaussian_soft_labels(scores, levels, sigma), levels, scores)


@pytest.mark.parametrize("sigma", [1e-300, 1e-6, 0.01, 0.3, 1.0, 30.0, 1e8, 1e300])
def test_scores_beside_and_on_the_levels(sigma):
    scores = np.concatenate([LEVELS, np.nextafter(LEVELS, 5.5), [1 + 1e-12, 10 - 1e-12, 5.4, 1.071, 9.286]])
    assert_meets_scores(gaussian_soft_labels(scores, sigma=sigma), LEVELS, scores)


def test_labels_are_the_discretised_gaussian_with_that_expectation():
    sigma = np.array([0.7, 1.0, 2.5])
    scores = np.array([2.2, 6.1, 9.3])

    def density(mu, sigma):
        exponents = -((LEVELS - mu) ** 2) / (2 * sigma**2)
        weights = np.exp(exponents - exponents.max())
        return weights / weights.sum()

    for row, (score, width) in enumerate(zip(scores, sigma, strict=True)):
        mu = brentq(lambda mu, s=score, w=width: density(mu, w) @ LEVELS - s, -20, 40, xtol=1e-13)
        labels = gaussian_soft_labels(scores, sigma=sigma)[row]
        np.testing.assert_allclose(labels, density(mu, width), rtol=0, atol=1e-10)


def test_outermost_scores_put_all_mass_on_one_word():
    assert gaussian_soft_labels(np.array([10.0, 1.0])).tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]


def test_order_of_levels_only_orders_the_columns():
    scores = np.array([2.0, 5.0, 8.1])
    order = [3, 0, 4, 1, 2]
    shuffled = gaussian_soft_labels(scores, LEVELS[order])
    np.testing.assert_allclose(shuffled, gaussian_soft_labels(scores)[:, order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [0.99, 10.01, float("nan"), float("inf")])
def test_score_off_the_scale_is_refused_by_index(value):
    with pytest.raises(ArtQuantError, match=r"score 2 is .*between 1 and 10"):
        gaussian_soft_labels(np.array([3.0, 4.0, value]))


def test_clamp_moves_to_the_ends_but_not_nan():
    labels = gaussian_soft_labels(np.array([-4.0, 12.0]), clamp=True)
    assert labels.tolist() == [[0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]
    with pytest.raises(ArtQuantError, match="score 0 is nan"):
        gaussian_soft_labels(np.array([np.nan]), clamp=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": np.array([1.0, -1.0])}, "sigma"),
        ({"sigma": np.array([1.0, 1.0, 1.0])}, "one per score"),
        ({"levels": (1.0,)}, "two or more"),
        ({"levels": (1.0, 10.0, 10.0)}, "differ"),
    ],
)
def test_bad_parameters_are_refused(arguments, message):
    with pytest.raises(ArtQuantError, match=message):
        gaussian_soft_labels(np.array([3.0, 4.0]), **arguments)


def test_no_scores_give_no_labels():
    assert gaussian_soft_labels(np.array([])).shape == (0, 5)


def test_published_and_exact_solver_agree_where_their_sigma_does():
    scores = np.array([2.5, 5.4, 8.0])
    probs, mu, sigma = published_soft_labels(scores)
    assert mu.shape == sigma.shape == (3,)
    np.testing.assert_allclose(probs, gaussian_soft_labels(scores, sigma=sigma), rtol=0, atol=1e-6)
    with pytest.raises(ArtQuantError, match="finds sigma itself"):
        SOLVERS["published"](scores, APDD_LEVELS, 2.0)


def test_two_level_and_one_hot():
    scores = np.array([1.0, 4.25, 10.0, 8.0])
    labels = two_level_soft_labels(scores)
    assert_meets_scores(labels, LEVELS, scores)
    assert labels[1].tolist() == [0, 0, 0.5, 0.5, 0]
    assert one_hot(scores).argmax(axis=1).tolist() == [4, 2, 0, 1]


def test_known_std_falls_back_renormalises_and_refuses():
    levels = (5.0, 4.0, 3.0, 2.0, 1.0)
    narrow = known_std_soft_labels(np.array([2.25]), np.array([0.1]), levels)
    np.testing.assert_allclose(narrow, [[0, 0, 0.25, 0.75, 0]], atol=1e-7)
    cut = (np.array([4.2]), np.array([0.8]), levels)
    assert known_std_soft_labels(*cut).sum() > 1.005
    assert known_std_soft_labels(*cut, renormalise=True).sum() == pytest.approx(1)
    centre = known_std_soft_labels(np.array([3.0]), np.array([0.9]), levels)
    assert_meets_scores(centre, levels, [3.0])
    assert centre[0].argmax() == 2
    with pytest.raises(ArtQuantError, match="standard deviation 0 is -1"):
        known_std_soft_labels(np.array([3.0]), np.array([-1.0]), levels)
    with pytest.raises(ArtQuantError, match="choose pdf or cdf"):
        known_std_soft_labels(np.array([3.0]), np.array([1.0]), levels, density="mass")


@pytest.mark.parametrize(
    ("score", "word"),
    [(1.0, "bad"), (1.001, "poor"), (3.5, "poor"), (5.0, "fair"), (7.5, "good"), (7.6, "excellent"), (0.0, "bad")],
)
def test_rating_word(score, word):
    assert rating_word(score) == word


def test_rating_word_refuses_nan_and_wrong_thresholds():
    with pytest.raises(ArtQuantError, match="no rating word"):
        rating_word(float("nan"))
    with pytest.raises(ArtQuantError, match="4 descending thresholds"):
        rating_word(3.0, thresholds=(1, 2, 3, 4))


@pytest.mark.parametrize("header", ["image,score", "filename,form,Score"])
def test_csv_becomes_training_records(tmp_path, header):
    rows = ["a.jpg,7.5", "b.jpg,3"] if header == "image,score" else ["a.jpg,é,7.5", "b.jpg,,3"]
    source, out = tmp_path / "scores.csv", tmp_path / "made" / "score.json"
    source.write_bytes("\n".join([header, *rows, ""]).encode("latin-1"))
    report = label_score_file(source, out)
    records = json.loads(out.read_text(encoding="utf-8"))
    assert report.count == len(records) == 2 and report.worst_error < 1e-9
    assert [record["id"] for record in records] == ["a.jpg->7.5", "b.jpg->3"]
    assert records[0]["level_probs"] == gaussian_soft_labels(np.array([7.5, 3.0]))[0].tolist()
    question, answer = records[0]["conversations"]
    published = {text + "\n<|image|>" for text in SCORE_QUESTIONS}
    assert "How would you judge the quality of this painting?\n<|image|>" in published
    assert question["from"] == "human" and question["value"] in published
    assert answer == {"from": "gpt", "value": "The quality of the painting is good."}
    before = out.read_bytes()
    label_score_file(source, out)
    assert out.read_bytes() == before


def test_json_keeps_other_fields_and_conversations(tmp_path):
    mine = [{"from": "human", "value": "Q\n<|image|>"}, {"from": "gpt", "value": "A"}]
    records = [
        {"id": "x", "image": "a.jpg", "gt_score": 5, "level_probs": [1, 0, 0, 0, 0], "conversations": mine, "std": 0.5},
        {"image": "b.jpg", "gt_score": 9.1},
    ]
    source, out = tmp_path / "in.json", tmp_path / "out.json"
    source.write_text(json.dumps(records), encoding="utf-8")
    label_score_file(source, out, solver="published")
    first, second = json.loads(out.read_text(encoding="utf-8"))
    assert first == {**records[0], "task_type": "score", "level_probs": first["level_probs"]}
    assert np.dot(first["level_probs"], LEVELS) == pytest.approx(5, abs=1e-6)
    assert second["id"] == "b.jpg->9.1" and len(second["conversations"]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,score\na.jpg,5\nb.jpg,\n", r"record 2: score '' is not a number"),
        ("image,score\na.jpg,11\n", r"record 1: score 11.0 is not between 1 and 10"),
        ("image,score\na.jpg,nan\n", r"record 1: score nan is not between"),
        ("image,score\n,5\n", r"record 1: image '' is not a file name"),
        ("image,score\na.jpg,5\na.jpg,5\n", r"record 2: id 'a.jpg->5' is also record 1"),
        ("name,score\na.jpg,5\n", "one column image or filename"),
        ("image,score\n", "no records"),
        ('[{"image": "a.jpg", "gt_score": "5"}]', "record 1: gt_score '5' is not a number"),
        ('[{"image": "a.jpg", "gt_score": true}]', "record 1: gt_score True is not a number"),
        ('[{"image": "a.jpg", "gt_score": 5, "task_type": "description"}]', "record 1: not a score record"),
        ('{"image": "a.jpg", "gt_score": 5}', "must be a JSON list"),
        ('[{"image": "a.jpg", "gt_score": 5}', "not JSON"),
    ],
)
def test_bad_score_files_are_refused_and_nothing_is_written(tmp_path, text, message):
    source, out = tmp_path / "scores.txt", tmp_path / "out.json"
    source.write_text(text, encoding="utf-8")
    with pytest.raises(ArtQuantError, match=message) as caught:
        label_score_file(source, out)
    assert str(source) in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]


def test_unknown_solver_and_missing_file(tmp_path):
    with pytest.raises(ArtQuantError, match="choose one of gaussian, published"):
        label_score_file(tmp_path / "x.csv", tmp_path / "y.json", solver="exact")
    with pytest.raises(ArtQuantError, match="cannot be read"):
        label_score_file(tmp_path / "x.csv", tmp_path / "y.json")


def test_import_needs_neither_scipy_nor_torch():
    code = "import sys, artquant.data.soft_labels; sys.exit(bool({'scipy', 'torch'} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], check=False).returncode == 0

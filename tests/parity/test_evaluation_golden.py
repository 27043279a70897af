"""Evaluation against what the published code prints. tests/fixtures/golden_evaluation.json holds 120 of its 1,002
predictions (without names) and the distribution part; the whole is read from the shared folder where there is one."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from artquant.evaluate.distances import gaussian_distances
from artquant.evaluate.report import run_evaluation
from artquant.labels.rating_scale import APDD_SCALE, RatingScale


@pytest.fixture(scope="module")
def golden(fixture_folder):
    return json.loads((fixture_folder / "golden_evaluation.json").read_text(encoding="utf-8"))


def test_subset_from_files(golden, tmp_path):
    predictions, truth = tmp_path / "predictions.jsonl", tmp_path / "truth.json"
    rows = list(zip(golden["logits"], golden["gt_score"], strict=True))
    lines = [
        json.dumps({"id": str(i), "gt_score": score, "logits": dict(zip(golden["words"], logits, strict=True))})
        for i, (logits, score) in enumerate(rows)
    ]
    predictions.write_text("\n".join(lines[::-1]) + "\n", encoding="utf-8")
    truth.write_text(json.dumps([{"id": str(i), "gt_score": row[1]} for i, row in enumerate(rows)]), encoding="utf-8")
    scale = RatingScale(golden["words"], golden["score_weight"])
    [evaluation] = run_evaluation([(predictions, truth)], scale=scale, bootstrap=0)

    logits, scores = np.array(golden["logits"]), np.array(golden["gt_score"])
    weights = np.exp(logits)
    expected = weights @ np.array(golden["score_weight"]) / weights.sum(axis=1)
    assert evaluation.metrics.n == 120
    np.testing.assert_allclose(evaluation.joined.predicted[:5], golden["first_scores"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(evaluation.joined.predicted, expected, rtol=0, atol=1e-12)
    assert evaluation.metrics.SRCC.value == pytest.approx(stats.spearmanr(expected, scores).statistic, abs=1e-12)
    assert evaluation.metrics.PLCC.value == pytest.approx(stats.pearsonr(expected, scores).statistic, abs=1e-12)
    assert evaluation.metrics.KRCC.value == pytest.approx(stats.kendalltau(expected, scores).statistic, abs=1e-12)
    assert evaluation.metrics.MAE.value == pytest.approx(np.mean(np.abs(expected - scores)), abs=1e-12)
    assert evaluation.metrics.MSE.value == pytest.approx(np.mean((expected - scores) ** 2), abs=1e-12)


def test_distribution_distances(golden):
    rows = golden["distribution"]
    mean, std = RatingScale.even(1, 5).moments(softmax(rows["pred_logits"], axis=1))
    found = gaussian_distances(np.array(rows["gt_mean"]), np.array(rows["gt_std"]), mean, std)
    expected = {name: rows[name] for name in ("KL", "JS", "Wasserstein")}
    assert asdict(found) == pytest.approx(expected, rel=0, abs=1e-10)


def test_published_figures_of_the_whole_test_list(shared_folder):
    folder = shared_folder / "golden" / "evaluation"
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    [evaluation] = run_evaluation(
        [(folder / "predictions.jsonl", folder / "apddv2_test.json")], scale=APDD_SCALE, fits=(4,), bootstrap=100
    )
    estimates = evaluation.metrics.estimates()
    assert evaluation.metrics.n == 1002
    for name in ("MAE", "MSE", "SRCC", "PLCC", "KRCC"):
        assert estimates[name].value == pytest.approx(expected[name], abs=1e-10)
        assert estimates[name].low < expected[name] < estimates[name].high
    for name in ("PLCC_after_logistic4", "RMSE_after_logistic4"):
        assert estimates[name].value == pytest.approx(expected[name], abs=1e-6)
    np.testing.assert_allclose(evaluation.joined.predicted[:5], expected["first_scores"], rtol=0, atol=1e-12)

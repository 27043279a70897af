"""Metrics, bootstrap, logistic fit and distribution distances against independent computations."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from artquant.errors import ArtQuantError
from artquant.evaluate.curves import fit_curve
from artquant.evaluate.distances import gaussian_distances
from artquant.evaluate.metrics import evaluate_scores


def drawn_pairs(size=80, seed=3, decimals=1):
    generator = np.random.default_rng(seed)
    truth = generator.uniform(1, 10, size).round(decimals)
    return (truth + generator.normal(0, 1.2, size)).round(decimals), truth


def reference(predicted, truth):
    return {
        "SRCC": stats.spearmanr(predicted, truth).statistic,
        "PLCC": stats.pearsonr(predicted, truth).statistic,
        "KRCC": stats.kendalltau(predicted, truth).statistic,
        "MAE": np.mean(np.abs(predicted - truth)),
        "MSE": np.mean((predicted - truth) ** 2),
        "RMSE": np.sqrt(np.mean((predicted - truth) ** 2)),
    }


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=40))
@settings(max_examples=100, deadline=None)
def test_figures_equal_scipy_with_ties(pairs):
    predicted, truth = np.array(pairs, dtype=float).T
    if np.ptp(predicted) == 0 or np.ptp(truth) == 0:
        with pytest.raises(ArtQuantError, match="no correlation is defined"):
            evaluate_scores(predicted, truth)
        return
    estimates = evaluate_scores(predicted, truth, bootstrap=0).estimates()
    for name, value in reference(predicted, truth).items():
        assert estimates[name].value == pytest.approx(value, abs=1e-12)
        assert estimates[name].low is None and estimates[name].high is None


def test_intervals_equal_recomputing_every_resample():
    predicted, truth = drawn_pairs()
    metrics = evaluate_scores(predicted, truth, bootstrap=60, seed=5, confidence=0.9)
    drawn = np.random.default_rng(5).integers(0, 80, (60, 80))
    rows = [reference(predicted[row], truth[row]) for row in drawn]
    for name, estimate in metrics.estimates().items():
        low, high = np.percentile([row[name] for row in rows], [5, 95])
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-12)


def test_seed_fixes_the_intervals():
    pairs = drawn_pairs()
    assert evaluate_scores(*pairs, bootstrap=50, seed=1) == evaluate_scores(*pairs, bootstrap=50, seed=1)
    assert evaluate_scores(*pairs, bootstrap=50, seed=1) != evaluate_scores(*pairs, bootstrap=50, seed=2)


def test_constant_resamples_do_not_spoil_the_interval():
    metrics = evaluate_scores([1.1, 1.1, 5.3], [2.0, 3.0, 3.0], bootstrap=200)
    for estimate in metrics.estimates().values():
        assert np.isfinite([estimate.low, estimate.high]).all() and estimate.low <= estimate.high


def test_scores_far_from_zero_keep_their_digits():
    predicted, truth = drawn_pairs(decimals=3)
    near = evaluate_scores(predicted, truth, bootstrap=0)
    far = evaluate_scores(predicted + 1e6, truth + 1e6, bootstrap=0)
    assert far.PLCC.value == pytest.approx(near.PLCC.value, abs=1e-9)
    assert far.MSE.value == pytest.approx(near.MSE.value, rel=1e-6)


def test_logistic_fit_recovers_a_drawn_curve():
    predicted = np.linspace(1, 10, 60)
    truth = 2 + 6 / (1 + np.exp(-(predicted - 5.5) / 0.8))
    np.testing.assert_allclose(fit_curve(predicted, truth, 4)(predicted), truth, rtol=0, atol=1e-6)
    metrics = evaluate_scores(predicted, truth, bootstrap=20, fits=(4,))
    assert metrics.PLCC_after_logistic4.value == pytest.approx(1, abs=1e-9)
    assert metrics.RMSE_after_logistic4.value == pytest.approx(0, abs=1e-6)
    assert metrics.PLCC.value < 0.99
    assert evaluate_scores(predicted, truth, bootstrap=0).PLCC_after_logistic4 is None


@pytest.mark.parametrize(
    ("predicted", "truth", "options", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], {}, "2 pairs of scores: at least 3"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], {}, "equally long"),
        ([1.0, np.nan, 3.0], [1.0, 2.0, 3.0], {}, "predicted score 1 is nan"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, np.inf], {}, "true score 2 is inf"),
        ([4.0, 4.0, 4.0], [1.0, 2.0, 3.0], {}, "all 3 predicted scores are 4"),
        ([1.0, 2.0, 3.0], [5.5, 5.5, 5.5], {}, "all 3 true scores are 5.5"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], {"bootstrap": -1}, "bootstrap must be"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], {"confidence": 1.0}, "confidence in"),
    ],
)
def test_what_has_no_figures_is_refused(predicted, truth, options, message):
    with pytest.raises(ArtQuantError, match=message):
        evaluate_scores(predicted, truth, **options)


def test_gaussian_distances_against_integrals():
    mean_p, std_p, mean_q, std_q = 2.7, 0.6, 3.4, 0.9
    p, q = stats.norm(mean_p, std_p).pdf, stats.norm(mean_q, std_q).pdf
    m = stats.norm((mean_p + mean_q) / 2, np.sqrt((std_p**2 + std_q**2) / 2)).pdf

    def kl(a, b):
        return quad(lambda x: a(x) * np.log(a(x) / b(x)), -3, 9)[0]

    found = gaussian_distances(*(np.array([value]) for value in (mean_p, std_p, mean_q, std_q)))
    expected = {"KL": kl(p, q), "JS": (kl(p, m) + kl(q, m)) / 2, "Wasserstein": np.sqrt(0.7**2 + 0.3**2)}
    assert asdict(found) == pytest.approx(expected, abs=1e-6)

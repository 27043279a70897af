"""Metrics, bootstrap, logistic fit and distribution distances against independent computations."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import curve_fit

from artquant.errors import ArtQuantError
from artquant.evaluate.curves import fit_curve
from artquant.evaluate.distances import earth_movers_distance, gaussian_distances
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


def independent_curve(parameters, x, b):
    """The formulas as they are printed, of raw predictions."""
    if parameters == 3:
        return b[0] / (1 + np.exp(-b[1] * (x - b[2])))
    if parameters == 4:
        return (b[0] - b[1]) / (1 + np.exp(-(x - b[2]) / np.abs(b[3]))) + b[1]
    return b[0] * (0.5 - 1 / (1 + np.exp(b[1] * (x - b[2])))) + b[3] * x + b[4]


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize(
    ("parameters", "starts"),
    [
        (3, [[9.0, 0.5, 5.0], [9.0, -0.5, 5.0]]),
        (4, [[7.0, 2.5, 5.0, 1.5], [2.5, 7.0, 5.0, 1.5]]),
        (5, [[6.0, 1.0, 5.5, 0.1, 5.0], [-6.0, 1.0, 5.5, -0.1, 5.0]]),
    ],
)
def test_fits_equal_scipy_from_other_starts_on_raw_scores(parameters, starts, falling):
    generator = np.random.default_rng(7)
    predicted = generator.uniform(1, 10, 300)
    truth = 2 + 6 / (1 + np.exp(-(predicted - 5.5) / 0.8)) + generator.normal(0, 0.4, 300)
    truth = 10 - truth if falling else truth
    best = np.inf
    for start in starts:
        found = curve_fit(
            lambda x, *b: independent_curve(parameters, x, b), predicted, truth, p0=start, maxfev=100_000, xtol=1e-14
        )[0]
        values = independent_curve(parameters, predicted, found)
        if (error := np.mean((values - truth) ** 2)) < best:
            best, plcc = error, stats.pearsonr(values, truth).statistic
    metrics = evaluate_scores(predicted, truth, bootstrap=0, fits=(parameters,))
    estimates = metrics.estimates()
    assert estimates[f"RMSE_after_logistic{parameters}"].value == pytest.approx(np.sqrt(best), rel=1e-7)
    assert estimates[f"PLCC_after_logistic{parameters}"].value == pytest.approx(plcc, abs=1e-7)
    if parameters < 5:  # whose straight part turns it at the ends
        assert metrics.curves[parameters].course == ("falls" if falling else "rises")
    assert estimates["PLCC"].value == stats.pearsonr(predicted, truth).statistic  # the raw figure keeps its sign


def test_a_fit_without_an_end_leaves_the_raw_figure_and_a_reason():
    predicted = np.linspace(1, 10, 60)
    metrics = evaluate_scores(predicted, np.exp(predicted / 2), bootstrap=10, fits=(3,))
    assert metrics.PLCC_after_logistic3 is None and metrics.PLCC.value > 0.6
    assert metrics.unfitted[3] == "the 3-parameter logistic fit does not converge on 60 pairs"
    few = evaluate_scores([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], bootstrap=0, fits=(3,))
    assert few.curves == {} and "more than 3 pairs" in few.unfitted[3]
    with pytest.raises(ArtQuantError, match="of 3, 4 and 5 parameters, not of 6"):
        fit_curve(predicted, predicted**2, 6)


@given(st.lists(st.integers(0, 9), min_size=10, max_size=10).filter(any), st.lists(st.floats(0.01, 1), min_size=10))
@settings(max_examples=50, deadline=None)
def test_earth_movers_distance_is_that_of_the_cumulative_shares(votes, shares):
    votes, shares, values = np.array([votes], float), np.array([shares[:10]]), np.arange(1.0, 11)
    shares = shares / shares.sum()
    expected = np.sqrt(np.mean((np.cumsum(votes / votes.sum()) - np.cumsum(shares)) ** 2))
    order = np.random.default_rng(0).permutation(10)
    found = earth_movers_distance(votes, values, shares[:, order], values[order])
    assert found == pytest.approx([expected], abs=1e-12)


def test_earth_movers_distance_from_other_values_is_an_integral():
    votes, values = np.array([[1.0, 0, 0, 0]]), np.array([1.0, 2, 3, 4])
    found = earth_movers_distance(votes, values, np.array([[0.5, 0.5]]), np.array([4.0, 1.0]))
    assert found == pytest.approx([np.sqrt(3 * 0.25 / 4)])  # half a unit of mass apart over three steps of four


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

"""Score distributions: what each method guarantees on any scale, and its refusals."""

import sys
from subprocess import run

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from artquant.errors import ArtQuantError
from artquant.labels.published_labels import known_std_soft_labels, published_soft_labels
from artquant.labels.rating_scale import APDD_SCALE
from artquant.labels.soft_labels import (
    METHODS,
    VOTES_TOLERANCE,
    soft_labels,
)

LEVELS = np.array(APDD_SCALE.values)
EXACT = ("gaussian", "two-level")
# What a method must be given beside scores and levels.
REQUIRED = {"known-std": {"std": 0.8}}
ONE_SCORE = tuple(method for method in METHODS if method != "votes")


def assert_distributions(probs, shape):
    assert probs.shape == shape and probs.dtype == np.float64
    assert np.isfinite(probs).all() and (probs >= 0).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=0, atol=1e-12)


def assert_meets_scores(probs, levels, scores):
    assert_distributions(probs, (len(scores), len(levels)))
    np.testing.assert_allclose(probs @ np.asarray(levels), scores, rtol=0, atol=1e-9)


@st.composite
def scales(draw):
    """2 to 12 rating values in any order, from 1e-9 to 400 apart, negative ones too."""
    start = draw(st.floats(-5e3, 5e3))
    exponents = draw(st.lists(st.floats(-9, 2.6), min_size=1, max_size=11))
    levels = start + np.cumsum([0.0, *(10.0**exponent for exponent in exponents)])
    assume(np.diff(levels).min() > 0)
    return draw(st.permutations(levels.tolist()))


@st.composite
def scales_and_scores(draw):
    """A scale with scores anywhere in it, on its levels, and on the numbers beside them."""
    levels = draw(scales())
    low, high = min(levels), max(levels)
    anywhere = [low + fraction * (high - low) for fraction in draw(st.lists(st.floats(0, 1), max_size=12))]
    beside = np.concatenate([np.nextafter(levels, low), levels, np.nextafter(levels, high)])
    return levels, np.clip(np.concatenate([anywhere, beside]), low, high)


@given(scales_and_scores(), st.floats(-6, 6))
@settings(max_examples=300, deadline=None)
def test_gaussian_meets_every_score_on_any_scale(case, exponent):
    levels, scores = case
    assert_meets_scores(soft_labels(scores, levels, sigma=10.0**exponent), levels, scores)


@given(scales_and_scores(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_gaussian_meets_every_score_with_a_sigma_each(case, random):
    levels, scores = case
    sigma = [10.0 ** random.uniform(-4, 4) for _ in scores]
    together = soft_labels(scores, levels, sigma=sigma)
    assert_meets_scores(together, levels, scores)
    row = random.randrange(len(scores))
    alone = soft_labels(scores[row : row + 1], levels, sigma=sigma[row])
    np.testing.assert_allclose(together[row], alone[0], rtol=0, atol=1e-9)


@given(scales_and_scores())
@settings(max_examples=200, deadline=None)
def test_two_level_meets_every_score_with_at_most_two_words(case):
    levels, scores = case
    probs = soft_labels(scores, levels, "two-level")
    assert_meets_scores(probs, levels, scores)
    used = np.sort(np.where(probs > 0, np.argsort(np.argsort(levels)), -1))[:, -2:]
    assert ((probs > 0).sum(axis=1) <= 2).all()
    assert ((used[:, 1] - used[:, 0] == 1) | (used[:, 0] == -1)).all()  # neighbours


@given(scales(), st.data())
@settings(max_examples=200, deadline=None)
def test_votes_keep_their_mean_on_any_scale(levels, data):
    low, high = min(levels), max(levels)
    fractions = data.draw(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    values = sorted({min(max(low + fraction * (high - low), low), high) for fraction in fractions})
    row = st.lists(st.integers(0, 10**6), min_size=len(values), max_size=len(values)).filter(any)
    votes = np.array(data.draw(st.lists(row, min_size=1, max_size=6)))
    means = votes @ np.array(values) / votes.sum(axis=1)
    assert_meets_scores(soft_labels(None, levels, "votes", votes=votes, vote_values=values), levels, means)


@given(scales_and_scores(), st.floats(0, 1e6), st.sampled_from(["pdf", "cdf"]))
@settings(max_examples=200, deadline=None)
def test_known_std_and_one_hot_are_distributions_on_any_scale(case, std, density):
    levels, scores = case
    shape = (len(scores), len(levels))
    assert_distributions(soft_labels(scores, levels, "known-std", std=std, density=density), shape)
    nearest = soft_labels(scores, levels, "one-hot")
    assert_distributions(nearest, shape)
    assert ((nearest == 1).sum(axis=1) == 1).all()
    distances = np.abs(np.subtract.outer(scores, levels))
    room = 1e-9 * np.ptp(levels)  # of two that are equally near but for rounding, the first
    np.testing.assert_allclose((nearest * distances).sum(axis=1), distances.min(axis=1), rtol=0, atol=room)


@given(scales_and_scores())
@settings(max_examples=15, deadline=None)
def test_published_gives_distributions_on_any_scale(case):
    levels, scores = case
    assert_distributions(soft_labels(scores[:6], levels, "published"), (min(len(scores), 6), len(levels)))


@pytest.mark.parametrize("sigma", [1e-300, 1e-6, 0.01, 0.3, 1.0, 30.0, 1e8, 1e300])
def test_scores_beside_and_on_the_levels(sigma):
    scores = np.concatenate([LEVELS, np.nextafter(LEVELS, 5.5), [1 + 1e-12, 10 - 1e-12, 5.4, 1.071, 9.286]])
    assert_meets_scores(soft_labels(scores, LEVELS, sigma=sigma), LEVELS, scores)


def test_levels_beyond_the_stated_range_are_met_within_rounding():
    levels = np.array([-3e40, 1e20, 2e40, 7e40])
    scores = np.linspace(-3e40, 7e40, 21)
    for method in EXACT:
        probs = soft_labels(scores, levels, method)
        assert_distributions(probs, (21, 4))
        np.testing.assert_allclose(probs @ levels, scores, rtol=0, atol=7e40 * 1e-13)


def test_labels_are_the_discretised_gaussian_with_that_expectation():
    sigma = np.array([0.7, 1.0, 2.5])
    scores = np.array([2.2, 6.1, 9.3])

    def density(mu, sigma):
        exponents = -((LEVELS - mu) ** 2) / (2 * sigma**2)
        weights = np.exp(exponents - exponents.max())
        return weights / weights.sum()

    labels = soft_labels(scores, LEVELS, sigma=sigma)
    for row, (score, width) in enumerate(zip(scores, sigma, strict=True)):
        mu = brentq(lambda mu, s=score, w=width: density(mu, w) @ LEVELS - s, -20, 40, xtol=1e-13)
        np.testing.assert_allclose(labels[row], density(mu, width), rtol=0, atol=1e-10)


def test_a_million_sigmas_wide_or_narrow_give_the_limits():
    scores = np.array([2.0, 6.0, 9.9])
    narrow = soft_labels(scores, LEVELS, sigma=1e-3)
    np.testing.assert_allclose(narrow, soft_labels(scores, LEVELS, "two-level"), rtol=0, atol=1e-12)
    broad = np.log(soft_labels(scores, LEVELS, sigma=1e6))
    slopes = np.diff(broad) / np.diff(LEVELS)  # of an exponential: the same everywhere
    np.testing.assert_allclose(slopes, slopes[:, :1] * np.ones(4), rtol=1e-6)


@pytest.mark.parametrize("method", ["gaussian", "published", "two-level", "one-hot"])
def test_outermost_scores_put_all_mass_on_one_word(method):
    labels = soft_labels([10.0, 1.0], LEVELS, method)
    np.testing.assert_allclose(labels, [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]], rtol=0, atol=1e-6)
    if method != "published":  # its search only comes near
        assert labels.tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]


@pytest.mark.parametrize("method", ONE_SCORE)
def test_order_of_levels_only_orders_the_columns(method):
    scores, order, required = np.array([2.0, 5.0, 8.1]), [3, 0, 4, 1, 2], REQUIRED.get(method, {})
    shuffled = soft_labels(scores, LEVELS[order], method, **required)
    np.testing.assert_allclose(shuffled, soft_labels(scores, LEVELS, method, **required)[:, order], rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ONE_SCORE)
@pytest.mark.parametrize("value", [0.99, 10.01, float("nan"), float("inf")])
def test_score_off_the_scale_is_refused_by_index(method, value):
    with pytest.raises(ArtQuantError, match=rf"score 2 is {value}: .*between 1 and 10"):
        soft_labels([3.0, 4.0, value], LEVELS, method, **REQUIRED.get(method, {}))


@pytest.mark.parametrize("method", ["gaussian", "two-level", "one-hot"])
def test_clamp_moves_to_the_ends_but_not_nan(method):
    labels = soft_labels([-4.0, 12.0], LEVELS, method, clamp=True)
    assert labels.tolist() == [[0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]
    with pytest.raises(ArtQuantError, match="score 0 is nan"):
        soft_labels([np.nan], LEVELS, method, clamp=True)


def test_votes_are_split_between_the_words_around_them():
    votes, values = [[1, 0, 3], [0, 2, 0]], [1.0, 6.25, 10.0]
    labels = soft_labels(None, LEVELS, "votes", votes=votes, vote_values=values)
    assert labels.tolist() == [[0.75, 0, 0, 0, 0.25], [0, 0.5, 0.5, 0, 0]]
    shares = soft_labels([7.75, 6.25], LEVELS, "votes", votes=np.divide(votes, 7), vote_values=values)
    np.testing.assert_allclose(shares, labels, rtol=0, atol=1e-15)


def test_scores_must_be_the_mean_of_their_votes():
    votes, values = [[1, 2], [1, 1]], [2.0, 8.0]
    near = VOTES_TOLERANCE * 9
    soft_labels([6.0 + 0.99 * near, 5.0], LEVELS, "votes", votes=votes, vote_values=values)
    with pytest.raises(ArtQuantError, match=r"score 1 is 5\.02, but the mean of its votes is 5"):
        soft_labels([6.0, 5.02], LEVELS, "votes", votes=votes, vote_values=values)
    with pytest.raises(ArtQuantError, match="3 scores for 2 rows of votes"):
        soft_labels([6.0, 5.0, 5.0], LEVELS, "votes", votes=votes, vote_values=values)


def test_votes_outside_the_scale_are_refused_or_moved():
    votes, values = [[1, 1]], [0.0, 8.0]
    with pytest.raises(ArtQuantError, match=r"vote value 0 is 0\.0: .*between 1 and 10"):
        soft_labels(None, LEVELS, "votes", votes=votes, vote_values=values)
    labels = soft_labels([4.0], LEVELS, "votes", votes=votes, vote_values=values, clamp=True)
    assert_meets_scores(labels, LEVELS, [4.5])


@pytest.mark.parametrize(
    ("votes", "values", "message"),
    [
        ([[1, 2], [0, 0]], [2, 8], "votes 1 are .*not all 0"),
        ([[1, 2], [3, -1]], [2, 8], "votes 1 are .*0 or more"),
        ([[float("nan"), 2]], [2, 8], "votes 0 are"),
        ([[1, 2]], [2, 5, 8], "one column per vote value"),
        ([1, 2], [2, 8], "one column per vote value"),
        ([[1, 2], [1]], [2, 8], "votes must be numbers"),
        ([[1, 2]], [2, 2], "vote values must be finite and differ"),
        ([[1, 2]], [2, float("inf")], "vote values must be finite"),
    ],
)
def test_bad_votes_are_refused(votes, values, message):
    with pytest.raises(ArtQuantError, match=message):
        soft_labels(None, LEVELS, "votes", votes=votes, vote_values=values)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("exact", {}, "'exact' is unknown: choose one of gaussian, published, known-std, votes, two-level, one-hot"),
        ("gaussian", {"std": 1.0}, "std belongs to the method 'known-std', not to 'gaussian'"),
        ("gaussian", {"density": "cdf"}, "density belongs to"),
        ("published", {"sigma": 2.0}, "sigma belongs to the method 'gaussian'"),
        ("two-level", {"votes": [[1, 1]]}, "votes belongs to"),
        ("one-hot", {"vote_values": [1, 2]}, "vote_values belongs to"),
        ("known-std", {}, "'known-std' needs the option std"),
        ("known-std", {"std": 0.5, "density": "mass"}, "choose pdf or cdf"),
        ("known-std", {"std": [0.5, -1.0]}, "standard deviation 1 is -1"),
        ("known-std", {"std": [0.5, 0.5, 0.5]}, "one per score"),
        ("votes", {"votes": [[1, 1]]}, "'votes' needs the option vote_values"),
        ("gaussian", {"sigma": 0.0}, "sigma"),
        ("gaussian", {"sigma": [1.0, -1.0]}, r"sigma 1 is -1\.0"),
        ("gaussian", {"sigma": [1.0, 1.0, 1.0]}, "one per score"),
        ("gaussian", {"sigma": "wide"}, "sigma must be numbers"),
    ],
)
def test_options_of_other_methods_and_bad_ones_are_refused(method, options, message):
    with pytest.raises(ArtQuantError, match=message):
        soft_labels([3.0, 4.0], LEVELS, method, **options)


@pytest.mark.parametrize(
    ("scores", "levels", "message"),
    [
        (None, LEVELS, "needs scores"),
        (["good"], LEVELS, "scores must be numbers"),
        ([[3.0], [4.0]], LEVELS, "one-dimensional"),
        ([3.0], (1.0,), "two or more"),
        ([3.0], (1.0, 10.0, 10.0), "differ"),
        ([3.0], (1.0, float("nan")), "finite"),
        ([3.0], (1.0, 1e60), "finite"),
        ([3.0], [[1.0, 5.0]], "two or more"),
    ],
)
def test_bad_scores_and_levels_are_refused(scores, levels, message):
    for method in ONE_SCORE:
        with pytest.raises(ArtQuantError, match=message):
            soft_labels(scores, levels, method, **REQUIRED.get(method, {}))


@pytest.mark.parametrize("method", ONE_SCORE)
def test_no_scores_give_no_labels(method):
    assert soft_labels([], LEVELS, method, **REQUIRED.get(method, {})).shape == (0, 5)


@pytest.mark.parametrize("density", ["pdf", "cdf"])
@pytest.mark.parametrize("levels", [LEVELS, np.arange(1.0, 6.0)], ids=["apdd", "five"])
def test_known_std_misses_scores_by_less_than_a_twelfth_of_the_scale(levels, density):
    scores = np.linspace(levels.min(), levels.max(), 91)
    for std in np.linspace(0, 9, 46):
        misses = soft_labels(scores, levels, "known-std", std=std, density=density) @ levels - scores
        assert np.abs(misses).max() < np.ptp(levels) / 12


def test_published_and_exact_solver_agree_where_their_sigma_does():
    scores = np.array([2.5, 5.4, 8.0])
    probs, mu, sigma = published_soft_labels(scores, LEVELS)
    assert mu.shape == sigma.shape == (3,)
    np.testing.assert_array_equal(probs, soft_labels(scores, LEVELS, "published"))
    np.testing.assert_allclose(probs, soft_labels(scores, LEVELS, sigma=sigma), rtol=0, atol=1e-6)


def test_one_hot_takes_the_first_of_two_nearest():
    scores = [1.0, 4.25, 10.0, 8.0]
    assert soft_labels(scores, LEVELS, "one-hot").argmax(axis=1).tolist() == [4, 2, 0, 1]
    assert soft_labels(scores, LEVELS[::-1], "one-hot").argmax(axis=1).tolist() == [0, 1, 4, 3]


def test_known_std_falls_back_is_renormalised_and_not_turned_over():
    levels = (5.0, 4.0, 3.0, 2.0, 1.0)
    narrow = soft_labels([2.25], levels, "known-std", std=0.1)
    np.testing.assert_allclose(narrow, [[0, 0, 0.25, 0.75, 0]], atol=1e-7)
    published = known_std_soft_labels(np.array([4.2]), np.array([0.8]), levels)
    assert published.sum() > 1.005
    whole = soft_labels([4.2], levels, "known-std", std=0.8)
    np.testing.assert_allclose(whole, published / published.sum(), rtol=0, atol=1e-15)
    turned = known_std_soft_labels(np.array([5.445]), np.array([1.14]), LEVELS)
    assert turned[0].argmin() == 2  # least at 5, the level nearest to the mean
    np.testing.assert_allclose(
        soft_labels([5.445], LEVELS, "known-std", std=1.14), soft_labels([5.445], LEVELS, "two-level"), atol=1e-7
    )
    centre = soft_labels([3.0], levels, "known-std", std=[0.9])
    assert_meets_scores(centre, levels, [3.0])
    assert centre[0].argmax() == 2


@st.composite
def data_sets(draw):
    """Evenly spaced words with scores, deviations, and votes for as many values as there are words or twice as many."""
    words, rows = draw(st.integers(2, 7)), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    digits = int(rng.integers(1, 12))  # few: scores halfway between words, deviations on a threshold
    votes = rng.integers(0, 4, (rows, words * int(rng.integers(1, 3)))) + np.eye(rows, words * 2)[:, :1].astype(int)
    return words, rng.uniform(1, words, rows).round(digits), rng.uniform(0, words / 2, rows).round(digits), votes


def test_import_needs_neither_scipy_nor_torch():
    code = "import sys, artquant.labels.soft_labels; sys.exit(bool({'scipy', 'torch'} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], check=False).returncode == 0

"""Rating scales: their words for scores, even spacing, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE, RATING_WORDS, RatingScale


@pytest.mark.parametrize(
    ("score", "word"),
    [(1.0, "bad"), (1.001, "poor"), (3.5, "poor"), (5.0, "fair"), (7.5, "good"), (7.6, "excellent"), (0.0, "bad")],
)
def test_apdd_word(score, word):
    assert APDD_SCALE.word(score) == word


def test_apdd_scale():
    assert RatingScale(RATING_WORDS, (10.0, 7.5, 5.0, 3.5, 1.0)) == APDD_SCALE
    assert (APDD_SCALE.low, APDD_SCALE.high, APDD_SCALE.thresholds) == (1.0, 10.0, (7.5, 5.0, 3.5, 1.0))


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_no_word_for_a_score_that_is_not_finite(score):
    with pytest.raises(ArtQuantError, match="no rating word"):
        APDD_SCALE.word(score)


def test_even_scales():
    assert RatingScale.even(1, 5).values == (5, 4, 3, 2, 1)
    assert RatingScale.even(0, 100, ("high", "low")) == RatingScale(("high", "low"), (100.0, 0.0))
    assert RatingScale.even(1, 5, ["a", "b"]).words == ("a", "b")
    for low, high in ((5, 1), (2, 2), (0, float("nan"))):
        with pytest.raises(ArtQuantError, match="rating values must"):
            RatingScale.even(low, high)


@given(st.integers(2, 12), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_even_scales_keep_their_ends_and_steps(count, low, width):
    scale = RatingScale.even(low, low + width, [f"word {i}" for i in range(count)])
    assert (scale.low, scale.high) == (low, low + width) and len(scale.values) == count
    for step, value in enumerate(scale.values):
        assert value == pytest.approx(low + width * (1 - step / (count - 1)), rel=1e-9, abs=1e-9 * max(1, abs(low)))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12, unique=True), st.floats(-2e6, 2e6))
def test_word_is_the_lowest_whose_value_the_score_does_not_exceed(values, score):
    values = sorted(values, reverse=True)
    scale = RatingScale([str(value) for value in values], values)
    reached = [value for value in values if value >= score] or values[:1]
    assert scale.word(score) == str(min(reached))


@pytest.mark.parametrize(
    ("words", "values", "message"),
    [
        (("good",), (1.0,), "two or more words"),
        (("good", "bad"), (1.0,), "2 words, 1 values"),
        (("good", "good"), (2.0, 1.0), "differ"),
        (("good", " "), (2.0, 1.0), "must be text"),
        ((1, 2), (2.0, 1.0), "must be text"),
        (("good", "bad"), (1.0, 2.0), "fall"),
        (("good", "bad"), (1.0, 1.0), "fall"),
        (("good", "bad"), (1.0, float("nan")), "finite"),
        (("good", "bad"), (1e308, -1e308), "finite"),
        (("good", "bad"), ("two", 1.0), "must be numbers"),
    ],
)
def test_bad_scales_are_refused(words, values, message):
    with pytest.raises(ArtQuantError, match=message):
        RatingScale(words, values)


def test_scales_are_values():
    assert hash(RatingScale(["a", "b"], [2, 1])) == hash(RatingScale(("a", "b"), (2.0, 1.0)))


def test_expectation_and_deviation():
    scale = RatingScale(("high", "low"), (4, 2))
    mean, std = scale.moments(np.array([[0.5, 0.5], [1.0, 0.0]]))
    assert mean.tolist() == [3.0, 4.0] and std.tolist() == [1.0, 0.0]
    assert scale.expectation([0.25, 0.75]) == 2.5

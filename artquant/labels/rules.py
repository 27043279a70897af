"""Checks of scores and rating values, and the rules for score distributions that need no search.

Legend: N = number of scores, K = number of rating words, C = number of values that a rater could choose. Called through
`artquant.labels.soft_labels.soft_labels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from artquant.errors import ArtQuantError

_LARGEST, _CLOSEST = 1e50, 1e-50  # of rating values and of their distances: squares of both are ordinary numbers
TIE = 1e-9  # shares, or distances in widths of the scale, that differ by less are equal: units only round differently


def checked_levels(levels: Sequence[float] | np.ndarray) -> np.ndarray:
    """Rating values [K] as float64.

    Raises:
        ArtQuantError: fewer than two, not finite, beyond 1e50, or two that are equal (closer than 1e-50).
    """
    levels_K = numbers(levels, "levels")
    if levels_K.ndim != 1 or levels_K.size < 2 or not (np.abs(levels_K) <= _LARGEST).all():
        raise ArtQuantError(f"levels must be two or more finite numbers (at most 1e50), got {levels_K.tolist()}")
    if np.diff(np.sort(levels_K)).min() < _CLOSEST:
        raise ArtQuantError(f"levels must differ from each other, got {levels_K.tolist()}")
    return levels_K


def checked_scores(
    scores: Sequence[float] | np.ndarray, levels_K: np.ndarray, clamp: bool = False, what: str = "score"
) -> np.ndarray:
    """Scores [N] as float64; refuses what lies off the scale, or moves it to the nearest end.

    Raises:
        ArtQuantError: a score is not finite, or is off the scale while `clamp` is false; names its index (from 0).
    """
    scores_N = np.atleast_1d(numbers(scores, f"{what}s"))
    if scores_N.ndim != 1:
        raise ArtQuantError(f"{what}s must be one-dimensional, got shape {scores_N.shape}")
    low, high = levels_K.min(), levels_K.max()
    finite_N = np.isfinite(scores_N)
    bad_N = ~finite_N if clamp else ~(finite_N & (scores_N >= low) & (scores_N <= high))
    if bad_N.any():
        index = int(np.argmax(bad_N))
        raise ArtQuantError(
            f"{what} {index} is {float(scores_N[index])}: give a finite {what} between {low:g} and {high:g}, "
            "or other levels"
        )
    return np.clip(scores_N, low, high)


def checked_stds(std: Any, scores_N: np.ndarray) -> np.ndarray:
    """Standard deviations [N] as float64, of one for all or one per score.

    Raises:
        ArtQuantError: their number is another, or one is negative or not finite; names its index (from 0).
    """
    std_N = numbers(std, "std")
    if std_N.ndim and std_N.shape != scores_N.shape:
        raise ArtQuantError(f"std must be one number or one per score, got shape {std_N.shape}")
    std_N = np.broadcast_to(std_N, scores_N.shape)
    bad_N = ~(np.isfinite(std_N) & (std_N >= 0))
    if bad_N.any():
        raise ArtQuantError(f"standard deviation {int(np.argmax(bad_N))} is {std_N[np.argmax(bad_N)]}: give one >= 0")
    return std_N


def numbers(values: Any, name: str) -> np.ndarray:
    """Values as a float64 array.

    Raises:
        ArtQuantError: they are not numbers, or lists of different lengths.
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArtQuantError(f"{name} must be numbers: {error}") from None


def spacing(levels_K: np.ndarray) -> float:
    """Mean distance of neighbouring levels."""
    return float((levels_K.max() - levels_K.min()) / (levels_K.size - 1))


def in_spacings(levels_K: np.ndarray) -> np.ndarray:
    """Levels [K] of which the lowest is 1 and neighbours are one apart on average; evenly spaced ones are integers."""
    counted_K = 1 + (levels_K - levels_K.min()) / spacing(levels_K)
    ranks_K = 1.0 + np.argsort(np.argsort(levels_K))
    return ranks_K if np.abs(counted_K - ranks_K).max() <= TIE * levels_K.size else counted_K


def likeliest(shares_NK: np.ndarray) -> np.ndarray:
    """Index [N] of the largest share; of equal ones the first."""
    return (shares_NK >= shares_NK.max(axis=1, keepdims=True) - TIE).argmax(axis=1)


def one_hot(scores_N: np.ndarray, levels_K: np.ndarray) -> np.ndarray:
    """All mass on the level nearest to each score; halfway, the one listed first. Returns [N, K]."""
    distances_NK = np.abs(scores_N[:, None] - levels_K)
    return np.eye(levels_K.size)[likeliest(-distances_NK / np.ptp(levels_K))]


def two_level(scores_N: np.ndarray, levels_K: np.ndarray, epsilon: float = 0.0) -> np.ndarray:
    """Mass on the two levels around each score, split so that the expectation is the score. Returns [N, K].

    `epsilon` is added to both distances (DeQA-Score's guard), which moves the expectation by as much.
    """
    order = np.argsort(levels_K)
    ascending = levels_K[order]
    upper_N = np.clip(np.searchsorted(ascending, scores_N, side="left"), 1, levels_K.size - 1)
    to_lower, to_upper = scores_N - ascending[upper_N - 1] + epsilon, ascending[upper_N] - scores_N + epsilon
    share_N = to_lower / (to_lower + to_upper)
    probs_NK = np.zeros((scores_N.size, levels_K.size))
    rows = np.arange(scores_N.size)
    probs_NK[rows, order[upper_N]] = share_N
    probs_NK[rows, order[upper_N - 1]] = 1.0 - share_N
    return probs_NK


def vote_shares(votes: Any, vote_values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the votes [N, C] and their values [C] from counts (or shares of any sum).

    Raises:
        ArtQuantError: shapes that do not fit, a count that is negative or not finite, or a row without votes (named
            by its index, from 0).
    """
    votes_NC, values_C = numbers(votes, "votes"), numbers(vote_values, "vote values")
    if votes_NC.ndim != 2 or values_C.shape != votes_NC.shape[1:] or not values_C.size:
        raise ArtQuantError(
            f"votes must be a table with one column per vote value: got shape {votes_NC.shape} for "
            f"{values_C.size} vote values"
        )
    if not np.isfinite(values_C).all() or np.unique(values_C).size != values_C.size:
        raise ArtQuantError(f"vote values must be finite and differ from each other, got {values_C.tolist()}")
    bad_N = ~((votes_NC >= 0) & (votes_NC <= _LARGEST)).all(axis=1)
    total_N1 = votes_NC.sum(axis=1, keepdims=True)
    if (bad_N | (total_N1[:, 0] <= 0)).any():
        index = int(np.argmax(bad_N | ~(total_N1[:, 0] > 0)))
        raise ArtQuantError(f"votes {index} are {votes_NC[index].tolist()}: give counts of 0 or more, not all 0")
    return votes_NC / total_N1, values_C

"""From mean scores (or standard deviations, or votes) to distributions over the rating words of any scale.

Legend: N = number of scores, K = number of rating words, C = number of values that a rater could choose. Levels are the
rating values of the words, in the unit of the scores (APDDv2: 1 to 10). Nothing here needs torch.

| method | probabilities | expectation |
| --- | --- | --- |
| `gaussian` | discretised Gaussian of given sigma, mu solved (ArtQuant, section 3.2) | the score |
| `published` | discretised Gaussian as the published notebook finds it, sigma free | near the score |
| `known-std` | Gaussian of given mean and std, corrected linearly (DeQA-Score, section 3.2) | near the score |
| `votes` | histogram of the votes; a vote between two levels is split between them | the votes' mean |
| `two-level` | the two levels around the score | the score |
| `one-hot` | the nearest level (of two, the one listed first) | the nearest level |

Rows are non-negative and sum to 1 (1e-12) with every method. The expectation is met within 1e-9 where the table says
"the score" or "the votes' mean" (levels up to 1e4; beyond, within rounding: 1e-13 of the largest level). `published`
meets APDDv2's scores to 1e-7 and can miss those near the ends of other scales by 0.1; its mu lies in [-10, 10], so it
suits no scale beyond. `known-std` is made for evenly spaced levels and misses the score by up to 8 % of the scale
(where std is large and the score near an end). Both rules hold numbers that were chosen for words one apart: labels are
made in that unit, so that they do not depend on the data set's (`published`: of evenly spaced levels; its search from 1
up). `known-std` is corrected here in two points where the published rule gives no
distribution to learn from (sums above 1, Gaussians turned over);
`artquant.labels.published_labels.known_std_soft_labels` leaves those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from artquant.errors import ArtQuantError
from artquant.labels.gaussian_labels import gaussian_labels
from artquant.labels.rules import (
    TIE,
    checked_levels,
    checked_scores,
    checked_stds,
    in_spacings,
    numbers,
    one_hot,
    spacing,
    two_level,
    vote_shares,
)

Numbers: TypeAlias = "Sequence[float] | np.ndarray"

# Each method with the options that it takes.
_OPTIONS = {
    "gaussian": ("sigma",),
    "published": (),
    "known-std": ("std", "density"),
    "votes": ("votes", "vote_values"),
    "two-level": (),
    "one-hot": (),
}
METHODS = tuple(_OPTIONS)
_WIDTHS = 9.0  # of the default sigma in APDDv2's scale, where it is 1 (ArtQuant)
VOTES_TOLERANCE = 2e-3  # |score - mean of the votes|, as a fraction of the scale: lets rounded means pass


def usual_sigma(levels: Numbers) -> float:
    """The sigma of `gaussian` where none is given: a ninth of the scale, on APDDv2's 1."""
    return float(max(levels) - min(levels)) / _WIDTHS


def soft_labels(
    scores: Numbers | None,
    levels: Numbers,
    method: str = "gaussian",
    *,
    sigma: float | Numbers | None = None,
    std: float | Numbers | None = None,
    votes: Sequence[Sequence[float]] | np.ndarray | None = None,
    vote_values: Numbers | None = None,
    density: str = "pdf",
    clamp: bool = False,
) -> np.ndarray:
    """Distributions over the rating words for mean scores, by one of the methods above.

    Args:
        scores: [N] mean scores, within [min(levels), max(levels)]. With `votes` they may be None (the votes' mean), and
            must otherwise agree with it within VOTES_TOLERANCE of the scale's width.
        levels: [K] rating values, K >= 2, different from each other, in any order and at any distances.
        method: one of METHODS.
        sigma: for `gaussian`: standard deviation before discretisation, in score units, > 0; one number or [N];
            default: see `usual_sigma`.
        std: for `known-std`: standard deviation of the ratings, in score units, >= 0; one number or [N].
        votes: for `votes`: [N, C] counts (or shares) of the votes, each row with at least one.
        vote_values: for `votes`: [C] the value of each column, within the scale.
        density: for `known-std`: "pdf" (density at the levels) or "cdf" (mass on bins around them, as wide as the
            levels' spacing).
        clamp: move finite scores (or vote values) outside the scale to its nearest end instead of refusing them.

    Returns:
        [N, K] float64 probabilities, in the order of the levels.

    Raises:
        ArtQuantError: a score outside the scale or not finite (named by index, from 0), an unknown method, an option of
            another method, or a missing or unusable option.
    """
    _check_options(
        method,
        sigma=sigma,
        std=std,
        votes=votes,
        vote_values=vote_values,
        density=None if density == "pdf" else density,
    )
    levels_K = checked_levels(levels)
    if method == "votes":
        return _votes(scores, levels_K, votes, vote_values, clamp)
    if scores is None:
        raise ArtQuantError(f"the method {method!r} needs scores")
    scores_N = checked_scores(scores, levels_K, clamp)
    if method == "gaussian":
        return gaussian_labels(scores_N, levels_K, usual_sigma(levels_K) if sigma is None else sigma)
    if method in ("published", "known-std"):
        return _published(method, scores_N, levels_K, std, density)
    return two_level(scores_N, levels_K) if method == "two-level" else one_hot(scores_N, levels_K)


def _check_options(method: str, **options: object) -> None:
    """Refuse a method that is unknown, lacks an option, or is given one of another method (None: not given)."""
    if method not in METHODS:
        raise ArtQuantError(f"method {method!r} is unknown: choose one of {', '.join(METHODS)}")
    for name, value in options.items():
        if value is not None and name not in _OPTIONS[method]:
            owner = next(other for other in METHODS if name in _OPTIONS[other])
            raise ArtQuantError(f"the option {name} belongs to the method {owner!r}, not to {method!r}: leave it out")
    for name in ("std", "votes", "vote_values"):
        if options[name] is None and name in _OPTIONS[method]:
            raise ArtQuantError(f"the method {method!r} needs the option {name}")


def _published(method: str, scores_N: np.ndarray, levels_K: np.ndarray, std: Any, density: str) -> np.ndarray:
    """The published rules, in the unit for which their numbers were chosen: words one apart, the lowest 1."""
    from artquant.labels import published_labels

    counted_K, unit = in_spacings(levels_K), spacing(levels_K)
    counted_N = 1 + (scores_N - levels_K.min()) / unit
    if method == "known-std":
        in_units, whole_N = checked_stds(std, scores_N) / unit, np.rint(counted_N)
        counted_N = np.where(np.abs(counted_N - whole_N) <= TIE, whole_N, counted_N)  # on a word in every unit
        counted_N = np.clip(counted_N, counted_K.min(), counted_K.max())
        return published_labels.known_std_soft_labels(counted_N, in_units, counted_K, density, as_published=False)
    if (counted_K != np.rint(counted_K)).any():  # APDDv2's: the published search is over the scores as they are
        counted_N, counted_K = scores_N, levels_K
    else:  # rounded: with other last digits, as every unit has them, the search ends elsewhere
        counted_N = np.clip(counted_N.round(9), 1, counted_K.max())
    return published_labels.published_soft_labels(counted_N, counted_K)[0]


def _votes(scores: Numbers | None, levels_K: np.ndarray, votes: Any, vote_values: Any, clamp: bool) -> np.ndarray:
    shares_NC, values_C = vote_shares(votes, vote_values)
    inside_C = checked_scores(values_C, levels_K, clamp, what="vote value")
    if scores is not None:
        inside_N = checked_scores(scores, levels_K, clamp)
        if inside_N.size != len(shares_NC):
            raise ArtQuantError(f"{inside_N.size} scores for {len(shares_NC)} rows of votes: give one for each")
        scores_N, means_N = np.atleast_1d(numbers(scores, "scores")), shares_NC @ values_C
        off_N = np.abs(scores_N - means_N) > VOTES_TOLERANCE * (levels_K.max() - levels_K.min())
        if off_N.any():
            index = int(np.argmax(off_N))
            raise ArtQuantError(
                f"score {index} is {float(scores_N[index])}, but the mean of its votes is {means_N[index]:.6g}: "
                "correct one of them, or leave the scores out"
            )
    return shares_NC @ two_level(inside_C, levels_K)

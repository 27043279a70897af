"""Do predictions err as they say: coverage of the stated standard deviation, and errors by score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artquant.pages.charts import Band

LEVELS = (0.5, 0.68, 0.9, 0.95)  # shares of true scores that intervals are to hold
_GROUPS, _LEAST = 10, 5  # of pictures by score; pictures of a group
_MIDDLE = (10, 90)  # percent of the errors that a group's bar spans


@dataclass(frozen=True)
class Covered:
    """How many true scores lie in the central interval of a normal distribution that is to hold a share of them.

    low, high: of Wilson's 95 % interval of the share that was seen.
    """

    stated: float
    seen: float
    low: float
    high: float


def covered(off: np.ndarray, deviation: np.ndarray) -> tuple[Covered, ...]:
    """Of errors [N] and stated standard deviations [N], in one unit, at LEVELS."""
    from scipy.stats import binomtest, norm

    found = []
    for level in LEVELS:
        held = int(np.sum(np.abs(off) <= norm.ppf((1 + level) / 2) * deviation))
        interval = binomtest(held, len(off)).proportion_ci(method="wilson")
        found.append(Covered(level, held / len(off), float(interval.low), float(interval.high)))
    return tuple(found)


def widening(off: np.ndarray, deviation: np.ndarray) -> float | None:
    """By what the stated deviations must be multiplied for one of them to hold 68.3 % of the true scores."""
    from scipy.stats import norm

    known = deviation > 0
    if not known.any():
        return None
    return float(np.quantile(np.abs(off[known]) / deviation[known], norm.cdf(1) - norm.cdf(-1)))


def errors_by_score(predicted: np.ndarray, truth: np.ndarray) -> list[Band]:
    """Mean error and the middle 80 % of the errors, of up to ten equally large groups by predicted score."""
    order = np.argsort(predicted, kind="stable")
    groups = np.array_split(order, min(_GROUPS, max(1, len(order) // _LEAST)))
    bands = []
    for group in groups:
        off = predicted[group] - truth[group]
        low, high = np.percentile(off, _MIDDLE)
        bands.append(Band(float(predicted[group].mean()), float(off.mean()), float(low), float(high)))
    return bands


def medians_by_truth(predicted: np.ndarray, truth: np.ndarray) -> list[tuple[float, float]]:
    """Median true score and median prediction, of the same groups by true score."""
    order = np.argsort(truth, kind="stable")
    groups = np.array_split(order, min(_GROUPS, max(1, len(order) // _LEAST)))
    return [(float(np.median(truth[group])), float(np.median(predicted[group]))) for group in groups]

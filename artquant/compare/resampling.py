"""Figures of several predictors over resamples of the pictures that they share: a paired bootstrap.

A resample is how often each picture was drawn. Orders and mid-ranks are found once; what a resample changes follows
from the counts, exactly: the figures are those of the drawn pairs themselves.

Legend: M predictors, N pictures, G source groups (without groups every picture is one), B resamples held together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

METRICS = ("SRCC", "PLCC", "KRCC", "MAE")
_BLOCK = 500_000  # counts held at once

Weighed = Callable[[np.ndarray], np.ndarray]  # counts [B, N] -> figures [B, M]


def resampled(
    predicted_MN: np.ndarray,
    truth_N: np.ndarray,
    metric: str,
    resamples: int,
    seed: int = 0,
    groups_N: np.ndarray | None = None,
) -> np.ndarray:
    """Figures [resamples, M] over pictures drawn with replacement, the same ones for all predictors.

    Args:
        predicted_MN, truth_N: scores; of MAE in one unit.
        metric: of `METRICS`; Kendall's is tau-b, and takes N log N steps of its own for each resample.
        groups_N: numbers 0 to G - 1: whole groups are drawn, as pictures of a series say less than as many others.

    Returns:
        NaN where a resample leaves a correlation undefined (all its values are equal).
    """
    figures = _WEIGHED[metric](predicted_MN, truth_N)
    rng = np.random.default_rng(seed)
    return np.concatenate([figures(counts) for counts in _drawn(rng, resamples, len(truth_N), groups_N)])


def _drawn(rng: np.random.Generator, resamples: int, pictures: int, groups_N: np.ndarray | None) -> Iterator:
    """Counts [B, N] of so many draws as there are pictures, or groups."""
    units = pictures if groups_N is None else int(groups_N.max()) + 1
    block = max(1, _BLOCK // pictures)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(0, units, (rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)
        yield counts if groups_N is None else counts[:, groups_N]


class _Ranks:
    """The order of values [N], for mid-ranks in resamples of them."""

    def __init__(self, values: np.ndarray) -> None:
        self.order = np.argsort(values, kind="stable")
        is_new = np.diff(values[self.order], prepend=np.nan) != 0
        self.starts = np.flatnonzero(is_new)
        self.place = np.empty(len(values), dtype=np.int64)  # of each picture's value among the different ones
        self.place[self.order] = np.cumsum(is_new) - 1

    def summed(self, weights_N: np.ndarray) -> np.ndarray:
        """Sums over each different value, lowest first."""
        ordered = weights_N[self.order]
        return ordered if len(self.starts) == len(ordered) else np.add.reduceat(ordered, self.starts)

    def centred(self, counts_N: np.ndarray) -> tuple[np.ndarray, float]:
        """Mid-ranks of the different values less their mean, and their sum of squares over the resample."""
        counts = self.summed(counts_N)
        ranks = np.cumsum(counts)
        ranks -= (counts + ranks[-1]) / 2
        return ranks, float(np.dot(counts, ranks * ranks))


def weighed_srcc(predicted_MN: np.ndarray, truth_N: np.ndarray) -> Weighed:
    """Rank correlations of predictors with a truth; a weight is a count, whole or not: a picture of weight 3 stands for
    three with its scores.
    """
    true, predictors = _Ranks(truth_N), [_Ranks(row) for row in predicted_MN]

    def one(counts_N: np.ndarray) -> list[float]:
        ranks, true_squares = true.centred(counts_N)
        weighted_N = counts_N * ranks[true.place]
        found = []
        for predictor in predictors:
            own, squares = predictor.centred(counts_N)
            found.append(_ratio(float(np.dot(own, predictor.summed(weighted_N))), squares * true_squares))
        return found

    return lambda counts: np.array([one(row) for row in counts])


def _ratio(product: float, squares: float) -> float:
    return product / squares**0.5 if squares > 0 else np.nan


def _weighed_plcc(predicted_MN: np.ndarray, truth_N: np.ndarray) -> Weighed:
    x_MN, y_N = predicted_MN - predicted_MN.mean(axis=1, keepdims=True), truth_N - truth_N.mean()
    columns = np.concatenate([x_MN, x_MN**2, x_MN * y_N, [y_N, y_N**2]]).T
    models = len(x_MN)

    def figures(counts: np.ndarray) -> np.ndarray:
        moments = counts @ columns / counts.sum(axis=1, keepdims=True)
        x, xx, xy, y, yy = np.split(moments, [models, 2 * models, 3 * models, 3 * models + 1], axis=1)
        x_variance, y_variance = xx - x**2, yy - y**2
        # What is left of equal values by rounding is no variance.
        known = (x_variance > 1e-12 * xx) & (y_variance > 1e-12 * yy)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(known, (xy - x * y) / np.sqrt(x_variance * y_variance), np.nan)

    return figures


def _weighed_mae(predicted_MN: np.ndarray, truth_N: np.ndarray) -> Weighed:
    errors_NM = np.abs(predicted_MN - truth_N).T
    return lambda counts: counts @ errors_NM / counts.sum(axis=1, keepdims=True)


def _weighed_krcc(predicted_MN: np.ndarray, truth_N: np.ndarray) -> Weighed:
    def one(counts_N: np.ndarray) -> list[float]:
        drawn = np.repeat(np.arange(len(truth_N)), counts_N.astype(np.int64))
        return [kendall(row[drawn], truth_N[drawn]) for row in predicted_MN]

    return lambda counts: np.array([one(row) for row in counts])


def kendall(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's tau-b of values [N]."""
    from scipy.stats import kendalltau

    return float(kendalltau(x, y, method="asymptotic").statistic)


_WEIGHED: dict[str, Callable[[np.ndarray, np.ndarray], Weighed]] = {
    "SRCC": weighed_srcc,
    "PLCC": _weighed_plcc,
    "KRCC": _weighed_krcc,
    "MAE": _weighed_mae,
}

"""Whether attributes say anything that the total does not: what correlations over pictures can hide.

Attributes of one picture go up and down together, so each agrees with people's scores as soon as the total does. What
is asked here is whether they differ *within* a picture as people say they do.

Shape legend: N pictures, A attributes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields

import numpy as np

from artquant.evaluate.metrics import Estimate, mean_estimate

_LEAST = 3  # attributes of a picture, for an order among them to be compared


@dataclass(frozen=True)
class Within:
    """Figures over the pictures of which at least three attributes are predicted and rated.

    SRCC: mean over pictures of the rank correlation among their attributes, 0 where all are predicted alike.
    SRCC_by_averages: the same of predictions that are each attribute's mean rating, whatever the picture.
    over_pictures, over_pictures_by_total: mean over attributes of the rank correlation over pictures, of the predicted
    attribute and of the predicted total in its place. partial: the same of the attribute, given the predicted total.
    weakest, strongest: share of pictures whose lowest (highest) attribute is named right, with what guessing gives.
    spread, spread_rated: mean standard deviation within a picture, predicted and rated, in score units.
    """

    n: int
    SRCC: Estimate
    SRCC_by_averages: Estimate
    over_pictures: Estimate
    over_pictures_by_total: Estimate
    partial: Estimate
    weakest: Estimate
    strongest: Estimate
    by_chance: Estimate
    spread: Estimate
    spread_rated: Estimate

    def estimates(self) -> dict[str, Estimate]:
        """Name -> estimate, in order."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "n"}


def within_pictures(
    predicted: np.ndarray, rated: np.ndarray, total: np.ndarray, bootstrap: int = 1000, seed: int = 0
) -> Within | None:
    """Figures of predictions against ratings; None: fewer than three pictures have three attributes that differ.

    Args:
        predicted, rated: [N, A] scores in one unit, NaN where one is not known. total: [N], predicted.
        bootstrap: resamples of pictures for the intervals of means over pictures; 0: none. seed: of the resampling.
    """
    known = ~np.isnan(predicted) & ~np.isnan(rated)
    predicted, rated = np.where(known, predicted, np.nan), np.where(known, rated, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows of NaN alone, which are left out
        usable = (known.sum(axis=1) >= _LEAST) & (np.nanmax(rated, axis=1) > np.nanmin(rated, axis=1))
    if usable.sum() < _LEAST:
        return None
    predicted, rated, total = predicted[usable], rated[usable], total[usable]
    averages = np.where(np.isnan(rated), np.nan, np.nanmean(rated, axis=0))
    over, by_total, partial = _over_pictures(predicted, rated, total)

    def mean(values: np.ndarray) -> Estimate:
        return mean_estimate(values, bootstrap, seed)

    return Within(
        n=len(total),
        SRCC=mean(_rank_correlations(predicted, rated)),
        SRCC_by_averages=mean(_rank_correlations(averages, rated)),
        over_pictures=Estimate(over),
        over_pictures_by_total=Estimate(by_total),
        partial=Estimate(partial),
        weakest=mean(_named_right(-predicted, -rated)),
        strongest=mean(_named_right(predicted, rated)),
        by_chance=Estimate(float(np.mean(1.0 / (~np.isnan(rated)).sum(axis=1)))),
        spread=mean(np.nanstd(predicted, axis=1)),
        spread_rated=mean(np.nanstd(rated, axis=1)),
    )


def _rank_correlations(predicted: np.ndarray, rated: np.ndarray) -> np.ndarray:
    """[N], Spearman's within each picture [N, A]; 0 where all predictions are one."""
    return np.array([_spearman(*_both(x, y)) for x, y in zip(predicted, rated, strict=True)])


def _both(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = ~np.isnan(x) & ~np.isnan(y)
    return x[known], y[known]


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    from scipy.stats import spearmanr

    if len(x) < _LEAST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(spearmanr(x, y).statistic)


def _over_pictures(predicted: np.ndarray, rated: np.ndarray, total: np.ndarray) -> tuple[float, float, float]:
    """Means over attributes: rank correlation over pictures by the attribute, by the total, and partial."""
    found = []
    for x, y in zip(predicted.T, rated.T, strict=True):
        known = ~np.isnan(x) & ~np.isnan(y)
        if known.sum() < _LEAST:
            continue
        own, by_total, alike = (
            _spearman(*pair) for pair in ((x[known], y[known]), (total[known], y[known]), (x[known], total[known]))
        )
        rest = np.sqrt(max(0.0, (1 - by_total**2) * (1 - alike**2)))
        found.append((own, by_total, (own - by_total * alike) / rest if rest > 1e-9 else 0.0))
    own, by_total, partial = np.mean(found, axis=0).tolist() if found else (0.0, 0.0, 0.0)
    return own, by_total, partial


def _named_right(predicted: np.ndarray, rated: np.ndarray) -> np.ndarray:
    """[N], whether the highest prediction is of what is rated highest; of several equal predictions their share."""
    top = predicted == np.nanmax(predicted, axis=1, keepdims=True)
    right = rated == np.nanmax(rated, axis=1, keepdims=True)
    return (top & right).sum(axis=1) / top.sum(axis=1)

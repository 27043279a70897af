"""Distances between the human and the predicted score distribution, both taken as Gaussians (as in DeQA-Score)."""

from dataclasses import dataclass

import numpy as np

_EPSILON = 1e-8


@dataclass(frozen=True)
class DistributionDistances:
    """Means over all pairs: KL and JS in nats, Wasserstein in score units."""

    KL: float
    JS: float
    Wasserstein: float


def _kl(mean_p: np.ndarray, std_p: np.ndarray, mean_q: np.ndarray, std_q: np.ndarray) -> np.ndarray:
    """KL(p || q) of Gaussians, with the published guards against division by zero (they matter near 1e-7)."""
    spread = (std_p**2 + (mean_p - mean_q) ** 2) / (2 * std_q**2 + _EPSILON)
    return np.log(std_q / (std_p + _EPSILON)) + spread - 0.5


def gaussian_distances(
    mean_p: np.ndarray, std_p: np.ndarray, mean_q: np.ndarray, std_q: np.ndarray
) -> DistributionDistances:
    """Mean distances of predicted Gaussians from the human ones.

    KL(true || predicted) in closed form; JS = (KL(true || m) + KL(predicted || m)) / 2 with m the Gaussian of the
    averaged mean and averaged variance; Wasserstein-2 = sqrt((difference of means)^2 + (difference of stds)^2).

    Args:
        mean_p, std_p: [N] of the human scores; stds > 0.
        mean_q, std_q: [N] of the predicted scores, in the same unit; stds > 0.
    """
    mean_m, std_m = (mean_p + mean_q) / 2, np.sqrt((std_p**2 + std_q**2) / 2)
    js = (_kl(mean_p, std_p, mean_m, std_m) + _kl(mean_q, std_q, mean_m, std_m)) / 2
    return DistributionDistances(
        KL=float(_kl(mean_p, std_p, mean_q, std_q).mean()),
        JS=float(js.mean()),
        Wasserstein=float(np.hypot(mean_p - mean_q, std_p - std_q).mean()),
    )


@dataclass(frozen=True)
class Coverage:
    """How often the human score lies within one and two predicted standard deviations; of a normal error .683, .954.

    The predicted deviation is that of the score over what it is read from (rating words, say): how undecided the model
    is between them, not how far off it is. deviation, error: its mean, and the root mean square error, in score units.
    """

    within_one: float
    within_two: float
    deviation: float
    error: float


def coverage(truth: np.ndarray, predicted: np.ndarray, deviation: np.ndarray) -> Coverage:
    """Coverage of [N] human scores by predictions [N] with their standard deviations [N], all in one unit."""
    off = np.abs(truth - predicted)
    return Coverage(
        within_one=float(np.mean(off <= deviation)),
        within_two=float(np.mean(off <= 2 * deviation)),
        deviation=float(deviation.mean()),
        error=float(np.sqrt(np.mean(off**2))),
    )


def earth_movers_distance(
    votes: np.ndarray, vote_values: np.ndarray, shares: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Earth mover's distance (r = 2) of each predicted distribution from the raw votes: [N].

    sqrt(mean over the K vote values of (difference of the cumulative shares)^2), as NIMA (Talebi and Milanfar 2018)
    reports it on AVA. Where predictions are over other values, the mean is the integral over the scale by K times the
    step between vote values, which is the same where the values are.

    Args:
        votes: [N, K], counts or shares. vote_values: [K], rising, evenly spaced.
        shares: [N, L], each row sums to 1. values: [L], of the same unit, in any order.
    """
    places = np.unique(np.concatenate([vote_values, values]))
    true = _cumulative(votes / votes.sum(axis=1, keepdims=True), vote_values, places)
    predicted = _cumulative(shares, values, places)
    squares = ((true - predicted)[:, :-1] ** 2 * np.diff(places)).sum(axis=1)
    return np.sqrt(squares / (len(vote_values) * (vote_values[1] - vote_values[0])))


def _cumulative(shares: np.ndarray, values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Cumulative shares [N, P] at places [P] among which all values are."""
    found = np.zeros((len(shares), len(places)))
    found[:, np.searchsorted(places, values)] = shares
    return found.cumsum(axis=1)

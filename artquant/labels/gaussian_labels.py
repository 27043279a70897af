"""The discretised Gaussian whose expectation is the score, solved exactly (ArtQuant, section 3.2).

Legend: N = number of scores, K = number of rating words. Called through `artquant.labels.soft_labels.soft_labels`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from artquant.errors import ArtQuantError
from artquant.labels.rules import numbers

_CHUNK = 8192  # scores solved together: small enough for the processor's cache


def gaussian_labels(scores_N: np.ndarray, levels_K: np.ndarray, sigma: Any) -> np.ndarray:
    """Labels for checked scores and levels.

    p_i = exp(-(l_i - mu)^2 / 2 sigma^2) / sum_j exp(-(l_j - mu)^2 / 2 sigma^2) with sum_i p_i l_i = s. With sigma fixed
    the expectation rises monotonically with mu, so there is exactly one solution for every score strictly between the
    outermost levels; at an outermost level the limit is all mass on that word.

    Args:
        sigma: standard deviation before discretisation, in score units, > 0; one number or [N].

    Returns:
        [N, K] probabilities in the order of the levels.

    Raises:
        ArtQuantError: sigma is not positive and finite, or not one number or one per score.
    """
    sigma_N = numbers(sigma, "sigma")
    if sigma_N.ndim and sigma_N.shape != scores_N.shape:
        raise ArtQuantError(f"sigma must be one number or one per score, got shape {sigma_N.shape}")
    bad_N = np.atleast_1d(~(np.isfinite(sigma_N) & (sigma_N > 0)))
    if bad_N.any():
        index = int(np.argmax(bad_N))
        raise ArtQuantError(f"sigma {index} is {float(np.atleast_1d(sigma_N)[index])}: give a finite one above 0")
    order = np.argsort(levels_K)
    ascending = levels_K[order]
    # Beyond these, labels no longer change with sigma (two neighbours only; pure exponential) but squares overflow.
    narrow, broad = 1e-6 * np.diff(ascending).min(), 1e6 * (ascending[-1] - ascending[0])
    sigma_N = np.broadcast_to(np.clip(sigma_N, narrow, broad), scores_N.shape)
    probs_NK = np.zeros((scores_N.size, levels_K.size))
    inside_N = (scores_N > ascending[0]) & (scores_N < ascending[-1])
    probs_NK[scores_N == ascending[0], order[0]] = 1.0
    probs_NK[scores_N == ascending[-1], order[-1]] = 1.0
    if inside_N.any():
        rows = np.flatnonzero(inside_N)
        for chunk in np.array_split(rows, -(-rows.size // _CHUNK)):
            probs_NK[chunk[:, None], order] = _solve_tilt(scores_N[chunk], ascending, sigma_N[chunk]).T
    return probs_NK


def _solve_tilt(scores_N: np.ndarray, levels_K: np.ndarray, sigma_N: np.ndarray) -> np.ndarray:
    """Probabilities [K, N] for scores strictly inside the ascending levels.

    With neighbours a <= s < b and mid = (a + b) / 2, log p_i = -(l_i - a)(l_i - b) / 2 sigma^2 + (l_i - a) t + const
    where t = (mu - mid) / sigma^2: a one-parameter exponential family in the tilt t, whose expectation rises with t.
    The neighbours' own terms carry no 1 / sigma^2, so a small sigma costs no digits.
    """
    from scipy.optimize.elementwise import find_root
    from scipy.special import softmax

    index_N = np.searchsorted(levels_K, scores_N, side="right") - 1  # of a
    a_N, b_N = levels_K[index_N], levels_K[index_N + 1]

    def probs(tilt: np.ndarray, a: np.ndarray, b: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        offset = levels_K[:, None] - a
        return softmax(offset * (tilt - (levels_K[:, None] - b) / (2 * sigma**2)), axis=0)

    def miss(tilt: np.ndarray, score: np.ndarray, a: np.ndarray, b: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        return (probs(tilt, a, b, sigma) * (levels_K[:, None] - score)).sum(axis=0)  # E - s, without cancellation

    bounds = _bracket(scores_N, levels_K, sigma_N, index_N)
    tilt_N = find_root(miss, bounds, args=(scores_N, a_N, b_N, sigma_N)).x
    return probs(tilt_N, a_N, b_N, sigma_N)


def _bracket(
    scores_N: np.ndarray, levels_K: np.ndarray, sigma_N: np.ndarray, index_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds [N] around the solution of `_solve_tilt`.

    For t >= 0 the levels up to a weigh at most 1 each, so E >= s once (b - s) exp((b - a) t) >= K (s - l_min); likewise
    from below with the nearest level under s (the one before a where s equals a).
    """
    a_N, b_N = levels_K[index_N], levels_K[index_N + 1]
    log_count, log_up, log_down = np.log(levels_K.size), np.log(levels_K[-1] - scores_N), np.log(scores_N - levels_K[0])
    right_N = np.maximum(log_count + log_down - np.log(b_N - scores_N), 0) / (b_N - a_N)
    under_N = np.where(scores_N > a_N, index_N, index_N - 1)
    low_N, up_N = levels_K[under_N], levels_K[under_N + 1]
    left_N = -np.maximum(log_count + log_up - np.log(scores_N - low_N), 0) / (up_N - low_N)
    left_N += ((low_N + up_N) - (a_N + b_N)) / (2 * sigma_N**2)  # tilt is counted from the middle of a and b
    return left_N - 1.0, right_N + 1.0

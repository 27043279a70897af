"""Published rules for score distributions, with the published results: ArtQuant's notebook and DeQA-Score.

Legend: N = number of scores, K = number of rating words. `artquant.labels.soft_labels.soft_labels` calls both; use them
directly for what it leaves out (mu and sigma of the first, rows of the second as published).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from artquant.errors import ArtQuantError
from artquant.labels.rules import TIE, checked_levels, checked_scores, checked_stds, two_level

# DeQA-Score's rule guards its divisions with these; they are kept so that labels agree with published ones.
_CORRECTION_EPSILON = 1e-9
_TWO_LEVEL_EPSILON = 1e-8  # added to both distances


def published_soft_labels(
    scores: np.ndarray, levels: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The published notebook's solver, for comparison: |expectation - score| minimised over mu and sigma.

    L-BFGS-B with numeric gradients from (score, 1), mu in [-10, 10], sigma in [0.001, 1000]. One equation for two
    unknowns: sigma ends wherever the search stops. Milliseconds per score, and near the ends of a scale it can miss the
    score (on the levels 1 to 5 by 0.08 at 4.92; APDDv2's scores are met to 1e-7). The method `gaussian` is exact.

    Returns:
        probabilities [N, K], mu [N], sigma [N].

    Raises:
        ArtQuantError: a score is off the scale.
    """
    from scipy.optimize import minimize
    from scipy.special import softmax
    from scipy.stats import norm

    levels_K = checked_levels(levels)
    scores_N = checked_scores(scores, levels_K)

    def miss(parameters: np.ndarray, score: float) -> float:
        density_K = norm.pdf(levels_K, parameters[0], parameters[1])
        return abs(levels_K @ (density_K / density_K.sum()) - score)

    parameters_N2 = np.empty((scores_N.size, 2))
    with np.errstate(divide="ignore", invalid="ignore"):  # as published, the search may step where all densities are 0
        for row, score in enumerate(scores_N):
            found = minimize(
                miss, x0=[score, 1.0], args=(score,), bounds=[(-10.0, 10.0), (0.001, 1000.0)], method="L-BFGS-B"
            )
            parameters_N2[row] = found.x
    mu_N, sigma_N = parameters_N2.T
    probs_NK = softmax(-((levels_K - mu_N[:, None]) ** 2) / (2 * sigma_N[:, None] ** 2), axis=1)
    return probs_NK, mu_N, sigma_N


def known_std_soft_labels(
    mean: np.ndarray,
    std: Any,
    levels: Sequence[float] | np.ndarray,
    density: str = "pdf",
    thre_std: float = 0.2,
    thre_diff: float = 0.1,
    as_published: bool = True,
) -> np.ndarray:
    """Labels for data with a known standard deviation (DeQA-Score, section 3.2).

    p_i is the density of N(mean, std) at level i, or its mass on the unit-wide bin around level i. A linear correction
    p'_i = alpha p_i + beta restores sum 1 and the mean; negative p'_i become 0. Where std < thre_std, or the cut moved
    the mean by more than thre_diff, the two nearest levels share the mass instead.

    The rule was made for evenly spaced levels, and has two flaws. Rows that were cut sum to more than 1 (up to
    1.1). And on unevenly spaced levels alpha can be negative for means near the levels' average, which turns the
    Gaussian over: the most mass where the ratings were fewest. Without `as_published`, such rows go to the two nearest
    levels as well, and all rows are divided by their sum.

    Args:
        mean, std: [N], in the unit of the levels; std >= 0.
        levels: [K] rating values.
        density: "pdf" or "cdf".
        as_published: leave both flaws.

    Returns:
        [N, K] non-negative label mass in the order of the levels.

    Raises:
        ArtQuantError: a mean is off the scale, a std is negative or not finite, or `density` is unknown.
    """
    levels_K = checked_levels(levels)
    mean_N = checked_scores(mean, levels_K)
    std_N = checked_stds(std, mean_N)
    if density not in ("pdf", "cdf"):
        raise ArtQuantError(f"density '{density}' is unknown: choose pdf or cdf")
    probs_NK = two_level(mean_N, levels_K, _TWO_LEVEL_EPSILON)
    wide = std_N >= max(thre_std, 1e-3) - TIE
    mass_NK = _normal_mass(mean_N[wide], std_N[wide], levels_K, density)
    corrected, alpha_N = _linear_correction(mass_NK, mean_N[wide], levels_K)
    corrected = np.maximum(corrected, 0)
    kept = np.abs(corrected @ levels_K - mean_N[wide]) <= thre_diff + TIE
    if not as_published:
        kept &= alpha_N > 0
    probs_NK[np.flatnonzero(wide)[kept]] = corrected[kept]
    return probs_NK if as_published else probs_NK / probs_NK.sum(axis=1, keepdims=True)


def _normal_mass(mean_N: np.ndarray, std_N: np.ndarray, levels_K: np.ndarray, density: str) -> np.ndarray:
    """Density of N(mean, std) at the levels, or mass on unit-wide bins around them [N, K]."""
    from scipy.special import ndtr

    z_NK = (levels_K - mean_N[:, None]) / std_N[:, None]
    if density == "cdf":
        half_N1 = 0.5 / std_N[:, None]
        return ndtr(z_NK + half_N1) - ndtr(z_NK - half_N1)
    return np.exp(-(z_NK**2) / 2) / (std_N[:, None] * np.sqrt(2 * np.pi))


def _linear_correction(raw_NK: np.ndarray, mean_N: np.ndarray, levels_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """alpha p + beta [N, K] with sum 1 and expectation `mean`, and alpha [N]."""
    centre = levels_K.mean()
    sum_N = raw_NK.sum(axis=1)
    slope_N = raw_NK @ levels_K - centre * sum_N
    # Symmetric around the centre, both equations say the same and plain normalisation solves them.
    symmetric_N = (np.abs(mean_N - centre) < 1e-6) & (np.abs(slope_N) < 1e-6)
    denominator_N = np.where(symmetric_N, 1.0, slope_N + _CORRECTION_EPSILON)
    alpha_N = np.where(symmetric_N, 1 / np.maximum(sum_N, 1e-300), (mean_N - centre) / denominator_N)
    beta_N = (1 - alpha_N * sum_N) / levels_K.size
    return alpha_N[:, None] * raw_NK + beta_N[:, None], alpha_N

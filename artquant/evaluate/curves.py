"""Logistic curves from predicted to true scores, after which quality assessment reports a linear correlation.

Of 3, 4 and 5 parameters (the last two: Video Quality Experts Group 2000, Sheikh et al. 2006), with x the standardised
prediction:

    3: b1 / (1 + exp(-b2 (x - b3)))
    4: (b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2
    5: b1 (1/2 - 1 / (1 + exp(b2 (x - b3)))) + b4 x + b5
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from artquant.errors import ArtQuantError

FUNCTIONS = {
    3: "b1 / (1 + exp(-b2 (x - b3)))",
    4: "(b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2",
    5: "b1 (1/2 - 1 / (1 + exp(b2 (x - b3)))) + b4 x + b5",
}
_EVALUATIONS = 10_000  # of a curve, for one start
_FARTHEST = 1e6  # a parameter beyond, of scores with mean 0 and deviation 1, runs away: the fit has no end


@dataclass(frozen=True)
class Curve:
    """A fitted curve; `function` is of x = (prediction - mean) / std."""

    parameters: tuple[float, ...]  # b1, b2, ...; those of heights are in true scores
    mean: float  # of the predictions
    std: float
    course: str  # over the predictions: "rises", "falls" or "turns"

    @property
    def function(self) -> str:
        """The formula."""
        return FUNCTIONS[len(self.parameters)]

    def __call__(self, predicted: np.ndarray) -> np.ndarray:
        """True scores that predictions [...] stand for."""
        return _FORMULAS[len(self.parameters)]((predicted - self.mean) / self.std, *self.parameters)


def fit_curve(predicted: np.ndarray, truth: np.ndarray, parameters: int) -> Curve:
    """The least-squares curve from predictions [N] to true scores [N]: the best of the starts that converge.

    Args:
        parameters: 3, 4 or 5.

    Raises:
        ArtQuantError: no start converges, there are fewer pairs than parameters and one, or no such curve.
    """
    if parameters not in FUNCTIONS:
        raise ArtQuantError(f"there are logistic fits of 3, 4 and 5 parameters, not of {parameters}")
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    mean, std = predicted.mean(), predicted.std()
    if len(predicted) <= parameters or std == 0 or np.ptp(truth) == 0:
        raise ArtQuantError(f"the {parameters}-parameter logistic fit needs more than {parameters} pairs that differ")
    x = (predicted - mean) / std
    found = [one for start in _STARTS[parameters](truth) if (one := _converged(parameters, x, truth, start))]
    if not found:
        raise ArtQuantError(f"the {parameters}-parameter logistic fit does not converge on {len(x)} pairs")
    best = min(found, key=lambda one: one[0])[1]
    steps = np.diff(_FORMULAS[parameters](np.unique(x), *best))
    course = "rises" if (steps >= 0).all() else "falls" if (steps <= 0).all() else "turns"
    return Curve(tuple(float(value) for value in best), float(mean), float(std), course)


def _converged(
    parameters: int, x: np.ndarray, truth: np.ndarray, start: Sequence[float]
) -> tuple[float, np.ndarray] | None:
    """Squared error and parameters from a start; None: no minimum within reach."""
    from scipy.optimize import OptimizeWarning, curve_fit

    formula = _FORMULAS[parameters]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", OptimizeWarning)  # about the covariance, which is not used
            found, _ = curve_fit(formula, x, truth, p0=start, maxfev=_EVALUATIONS)
            error = float(np.sum((formula(x, *found) - truth) ** 2))
    except RuntimeError:  # curve_fit's word for it
        return None
    tame = np.isfinite(error) and np.abs(found).max() <= _FARTHEST * max(1.0, float(np.abs(truth).max()))
    return (error, found) if tame else None


def _expit(x: ArrayLike) -> np.ndarray:
    from scipy.special import expit

    return np.asarray(expit(x))


def _three(x: np.ndarray, b1: float, b2: float, b3: float) -> np.ndarray:
    return b1 * _expit(b2 * (x - b3))


def _four(x: np.ndarray, b1: float, b2: float, b3: float, b4: float) -> np.ndarray:
    return (b1 - b2) * _expit((x - b3) / max(abs(b4), 1e-12)) + b2


def _five(x: np.ndarray, b1: float, b2: float, b3: float, b4: float, b5: float) -> np.ndarray:
    return b1 * (_expit(b2 * (x - b3)) - 0.5) + b4 * x + b5


_FORMULAS: dict[int, Callable[..., np.ndarray]] = {3: _three, 4: _four, 5: _five}


def _starts_of_three(truth: np.ndarray) -> list[tuple[float, ...]]:
    top = float(max(truth, key=abs))
    return [(height * top, slope, 0.0) for height, slope in ((1, 1.0), (1, -1.0), (2, 0.3), (2, -0.3))]


def _starts_of_four(truth: np.ndarray) -> list[tuple[float, ...]]:
    """The first: as in the Video Quality Experts Group's reports."""
    high, low = float(truth.max()), float(truth.min())
    return [(*ends, 0.0, width) for ends in ((high, low), (low, high)) for width in (0.25, 1.0)]


def _starts_of_five(truth: np.ndarray) -> list[tuple[float, ...]]:
    height, middle, spread = float(np.ptp(truth)), float(truth.mean()), float(truth.std())
    return [(height, slope, 0.0, tilt * spread, middle) for slope in (1.0, 4.0) for tilt in (0.1, 0.7, -0.7)]


_STARTS: dict[int, Callable[[np.ndarray], list[tuple[float, ...]]]] = {
    3: _starts_of_three,
    4: _starts_of_four,
    5: _starts_of_five,
}

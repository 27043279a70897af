"""Agreement of predicted with human scores: correlations and errors, each with a percentile bootstrap interval.

Legend: N = number of pairs, B = resamples computed together.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from artquant.errors import ArtQuantError
from artquant.evaluate.curves import Curve, fit_curve

Curves = Mapping[int, Curve]  # by number of parameters

_MIN_PAIRS = 3
_FOLLOWS = 0.5  # SRCC of predictions whose order is the truth's, more or less
_BLOCK = 1_000_000  # numbers held at once per array


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its bootstrap interval (None without bootstrap)."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Metrics:
    """Correlations lie in [-1, 1]; MAE and RMSE are in score units, MSE in their square.

    The figures after a logistic fit compare the truth with the predictions mapped by the fitted curve; their intervals
    hold that curve fixed. A fit that did not converge has none, and its reason in `unfitted`.
    """

    n: int
    SRCC: Estimate
    PLCC: Estimate
    KRCC: Estimate
    MAE: Estimate
    MSE: Estimate
    RMSE: Estimate
    PLCC_after_logistic3: Estimate | None = None
    RMSE_after_logistic3: Estimate | None = None
    PLCC_after_logistic4: Estimate | None = None
    RMSE_after_logistic4: Estimate | None = None
    PLCC_after_logistic5: Estimate | None = None
    RMSE_after_logistic5: Estimate | None = None
    curves: Curves = field(default_factory=dict)
    unfitted: Mapping[int, str] = field(default_factory=dict)  # by number of parameters: why there is no curve

    def estimates(self) -> dict[str, Estimate]:
        """Name -> estimate, in order, without those that were not asked for or could not be fitted."""
        return {name: value for name, value in self.__dict__.items() if isinstance(value, Estimate)}


def evaluate_scores(
    predicted: np.ndarray,
    truth: np.ndarray,
    bootstrap: int = 1000,
    seed: int = 0,
    fits: Sequence[int] = (),
    confidence: float = 0.95,
) -> Metrics:
    """Spearman's, Pearson's and Kendall's (tau-b) correlation and the errors of predictions.

    Args:
        predicted, truth: [N] scores in the same unit, N >= 3, pairs in the same order.
        bootstrap: number of resamples of pairs with replacement; 0 leaves the intervals out. Resamples in which a
            correlation is undefined (all values equal) do not count for its interval.
        seed: of the resampling.
        fits: also report PLCC and RMSE after the logistic fits of so many parameters, 3, 4 or 5 (`fit_curve`).
        confidence: of the percentile intervals, in (0, 1).

    Raises:
        ArtQuantError: too few pairs, unequal lengths, values that are not finite, or constant values.
    """
    x_N, y_N = _checked_pairs(predicted, truth)
    if bootstrap < 0 or not 0 < confidence < 1:
        raise ArtQuantError(f"bootstrap must be >= 0 and confidence in (0, 1), got {bootstrap} and {confidence}")
    curves, unfitted = _fitted(x_N, y_N, fits)
    tails = (50 * (1 - confidence), 50 * (1 + confidence))
    drawn = _resampled(x_N, y_N, curves, bootstrap, seed) if bootstrap else {}
    estimates = {}
    for name, value in _figures(x_N, y_N, curves).items():
        known_B = drawn[name][np.isfinite(drawn[name])] if drawn else np.empty(0)
        low, high = (float(end) for end in np.percentile(known_B, tails)) if known_B.size else (None, None)
        estimates[name] = Estimate(float(value), low, high)
    return Metrics(n=x_N.size, **estimates, curves=curves, unfitted=unfitted)


def scale_doubt(predicted: np.ndarray, truth: np.ndarray) -> str | None:
    """What speaks against one scale: scores [N] in the truth's order that lie farther off than a constant would."""
    found, constant = evaluate_scores(predicted, truth, bootstrap=0), float(np.mean(np.abs(truth - np.median(truth))))
    if found.SRCC.value < _FOLLOWS or found.MAE.value <= constant:
        return None
    return (
        f"MAE {found.MAE.value:.3g} is more than a constant's ({constant:.3g}) though the order is right "
        f"(SRCC {found.SRCC.value:.2f}): are these scores ({predicted.min():.3g} to {predicted.max():.3g}) on the "
        f"truth's scale ({truth.min():.3g} to {truth.max():.3g})?"
    )


def mean_estimate(values: np.ndarray, resamples: int, seed: int) -> Estimate:
    """The mean [N] with its 95 % percentile interval by resampling; of one value alone there is none."""
    from scipy.stats import bootstrap

    if not resamples or len(values) < 2:
        return Estimate(float(values.mean()))
    rng = np.random.default_rng(seed)
    batch = max(1, _BLOCK // len(values))
    found = bootstrap((values,), np.mean, n_resamples=resamples, batch=batch, method="percentile", rng=rng)
    return Estimate(float(values.mean()), *map(float, found.confidence_interval))


def _fitted(x_N: np.ndarray, y_N: np.ndarray, fits: Sequence[int]) -> tuple[dict[int, Curve], dict[int, str]]:
    """The curves that converge, and why others do not."""
    curves, unfitted = {}, {}
    for parameters in sorted(set(fits)):
        try:
            curves[parameters] = fit_curve(x_N, y_N, parameters)
        except ArtQuantError as error:
            unfitted[parameters] = str(error)
    return curves, unfitted


def _checked_pairs(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x_N, y_N = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if x_N.ndim != 1 or x_N.shape != y_N.shape:
        raise ArtQuantError(f"predicted and true scores must be two equally long lists, got {x_N.shape}, {y_N.shape}")
    if x_N.size < _MIN_PAIRS:
        raise ArtQuantError(f"{x_N.size} pairs of scores: at least {_MIN_PAIRS} are needed for a correlation")
    for name, values in (("predicted", x_N), ("true", y_N)):
        if not np.isfinite(values).all():
            index = int(np.argmin(np.isfinite(values)))
            raise ArtQuantError(f"{name} score {index} is {values[index]}: remove it or predict it again")
        if (values == values[0]).all():
            raise ArtQuantError(f"all {values.size} {name} scores are {values[0]:g}: no correlation is defined")
    return x_N, y_N


def _resampled(x_N: np.ndarray, y_N: np.ndarray, curves: Curves, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Every figure [resamples] of pairs drawn with replacement; NaN where one is undefined."""
    from scipy.stats import DegenerateDataWarning, bootstrap

    names = list(_figures(x_N, y_N, curves))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # of intervals that are not used
        found = bootstrap(
            (x_N, y_N),
            lambda x, y, axis: np.stack(list(_figures(x, y, curves).values())),
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, _BLOCK // x_N.size),
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    return dict(zip(names, found.bootstrap_distribution, strict=True))


def _figures(x: np.ndarray, y: np.ndarray, curves: Curves) -> dict[str, np.ndarray]:
    """The figures [...] of pairs of predicted and true scores [..., N]; NaN where a side is constant."""
    from scipy.stats import rankdata

    mse = np.mean((x - y) ** 2, axis=-1)
    found = {
        "SRCC": _pearson(rankdata(x, axis=-1), rankdata(y, axis=-1)),
        "PLCC": _pearson(x, y),
        "KRCC": _kendall(x, y),
        "MAE": np.mean(np.abs(x - y), axis=-1),
        "MSE": mse,
        "RMSE": np.sqrt(mse),
    }
    for parameters, curve in curves.items():
        mapped = curve(x)
        found[f"PLCC_after_logistic{parameters}"] = _pearson(mapped, y)
        found[f"RMSE_after_logistic{parameters}"] = np.sqrt(np.mean((mapped - y) ** 2, axis=-1))
    return found


def _pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson's correlation [...] of values [..., N]."""
    from scipy.stats import ConstantInputWarning, NearConstantInputWarning, pearsonr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        warnings.simplefilter("ignore", NearConstantInputWarning)
        return np.asarray(pearsonr(x, y, axis=-1).statistic)


def _kendall(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Kendall's tau-b [...] of values [..., N]."""
    from scipy.stats import kendalltau

    rows = zip(x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1]), strict=True)
    found = [kendalltau(*row, method="asymptotic").statistic for row in rows]
    return np.array(found).reshape(x.shape[:-1])

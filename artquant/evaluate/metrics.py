"""Agreement of predicted with human scores: correlations and errors, each with a percentile bootstrap interval.

Legend: N = number of pairs, B = resamples computed together. A resample is held as counts [B, N] (how often each
pair was drawn), so that one matrix product serves many resamples and the values are sorted once.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np

from artquant.errors import ArtQuantError

_MIN_PAIRS = 3
_BLOCK = 4_000_000  # numbers held at once per array


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its bootstrap interval (None without bootstrap)."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Metrics:
    """Correlations lie in [-1, 1]; MAE and RMSE are in score units, MSE in their square.

    The two figures after the logistic fit compare the truth with the predictions mapped by the fitted curve; their
    intervals hold that curve fixed.
    """

    n: int
    SRCC: Estimate
    PLCC: Estimate
    KRCC: Estimate
    MAE: Estimate
    MSE: Estimate
    RMSE: Estimate
    PLCC_after_logistic4: Estimate | None = None
    RMSE_after_logistic4: Estimate | None = None

    def estimates(self) -> dict[str, Estimate]:
        """Name -> estimate, in order, without those that were not asked for."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "n"}
        return {name: estimate for name, estimate in named.items() if estimate is not None}


def evaluate_scores(
    predicted: np.ndarray,
    truth: np.ndarray,
    bootstrap: int = 1000,
    seed: int = 0,
    logistic: bool = False,
    confidence: float = 0.95,
) -> Metrics:
    """Spearman's, Pearson's and Kendall's (tau-b) correlation and the errors of predictions.

    Args:
        predicted, truth: [N] scores in the same unit, N >= 3, pairs in the same order.
        bootstrap: number of resamples of pairs with replacement; 0 leaves the intervals out. Resamples in which a
            correlation is undefined (all values equal) do not count for its interval.
        seed: of the resampling.
        logistic: also report PLCC and RMSE after the four-parameter logistic fit (`fit_logistic4`).
        confidence: of the percentile intervals, in (0, 1).

    Raises:
        ArtQuantError: too few pairs, unequal lengths, values that are not finite, or constant values.
    """
    x_N, y_N = _checked_pairs(predicted, truth)
    if bootstrap < 0 or not 0 < confidence < 1:
        raise ArtQuantError(f"bootstrap must be >= 0 and confidence in (0, 1), got {bootstrap} and {confidence}")
    mapped_N = fit_logistic4(x_N, y_N)(x_N) if logistic else None
    figures = _figures(x_N, y_N, mapped_N)
    point = {name: values[0] for name, values in figures(np.ones((1, x_N.size))).items()}
    tails = (50 * (1 - confidence), 50 * (1 + confidence))
    blocks = [figures(counts_BN) for counts_BN in resample_counts(x_N.size, bootstrap, seed)]
    estimates = {}
    for name, value in point.items():
        drawn = np.concatenate([block[name] for block in blocks]) if blocks else np.empty(0)
        drawn = drawn[np.isfinite(drawn)]
        low, high = (float(end) for end in np.percentile(drawn, tails)) if drawn.size else (None, None)
        estimates[name] = Estimate(float(value), low, high)
    return Metrics(n=x_N.size, **estimates)


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


def resample_counts(size: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks [B, N] of how often each of N pairs was drawn; rows sum to N."""
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK // size)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(0, size, (rows, size)) + size * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)


def _figures(
    x_N: np.ndarray, y_N: np.ndarray, mapped_N: np.ndarray | None
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A function from counts [B, N] to the figures [B] of each resample."""
    rank_x, rank_y = _ranker(x_N), _ranker(y_N)
    error_N = x_N - y_N

    def figures(counts_BN: np.ndarray) -> dict[str, np.ndarray]:
        mse_B = counts_BN @ error_N**2 / x_N.size
        found = {
            "SRCC": _pearson(rank_x(counts_BN), rank_y(counts_BN), counts_BN),
            "PLCC": _pearson(x_N, y_N, counts_BN),
            "KRCC": _kendall(x_N, y_N, counts_BN),
            "MAE": counts_BN @ np.abs(error_N) / x_N.size,
            "MSE": mse_B,
            "RMSE": np.sqrt(mse_B),
        }
        if mapped_N is not None:
            found["PLCC_after_logistic4"] = _pearson(mapped_N, y_N, counts_BN)
            found["RMSE_after_logistic4"] = np.sqrt(counts_BN @ (mapped_N - y_N) ** 2 / x_N.size)
        return found

    return figures


def _pearson(x: np.ndarray, y: np.ndarray, counts_BN: np.ndarray) -> np.ndarray:
    """Pearson's correlation [B] of values [N] or [B, N] under counts; NaN where one side is constant."""
    total_B1 = counts_BN.sum(axis=1, keepdims=True)
    x = x - (counts_BN * x).sum(axis=1, keepdims=True) / total_B1
    y = y - (counts_BN * y).sum(axis=1, keepdims=True) / total_B1
    scatter_x, scatter_y = (counts_BN * x**2).sum(axis=1), (counts_BN * y**2).sum(axis=1)
    # Rounding leaves a constant resample a scatter of about 1e-32 of the values' own size.
    constant = (scatter_x <= 1e-25 * (x**2).max()) | (scatter_y <= 1e-25 * (y**2).max())
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = (counts_BN * x * y).sum(axis=1) / np.sqrt(scatter_x * scatter_y)
    return np.where(constant, np.nan, np.clip(correlation, -1, 1))


def _ranker(values_N: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function from counts [B, N] to the mean ranks [B, N] of the values within each resample."""
    order_N = np.argsort(values_N, kind="stable")
    unique_G, group_N = np.unique(values_N, return_inverse=True)
    first_G = np.searchsorted(values_N[order_N], unique_G)  # sorted position where each group of ties begins

    def ranks(counts_BN: np.ndarray) -> np.ndarray:
        tied_BG = np.add.reduceat(counts_BN[:, order_N], first_G, axis=1)
        return (np.cumsum(tied_BG, axis=1) - (tied_BG - 1) / 2)[:, group_N]

    return ranks


def _kendall(x_N: np.ndarray, y_N: np.ndarray, counts_BN: np.ndarray) -> np.ndarray:
    """Kendall's tau-b [B]; NaN where one side is constant. Sorting each resample is N log N."""
    from scipy.stats import kendalltau

    drawn = ((np.repeat(x_N, repeats_N), np.repeat(y_N, repeats_N)) for repeats_N in counts_BN.astype(np.int64))
    return np.array([kendalltau(x, y, method="asymptotic").statistic for x, y in drawn])


def fit_logistic4(predicted: np.ndarray, truth: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The least-squares logistic curve from predictions to truth that quality assessment applies before PLCC.

    f(x) = (b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2, started from b1 = max(truth), b2 = min(truth),
    b3 = mean(predicted), b4 = std(predicted) / 4 (as in the Video Quality Experts Group's reports).

    Raises:
        ArtQuantError: the fit does not converge, or there are fewer than 4 pairs.
    """
    from scipy.optimize import OptimizeWarning, curve_fit
    from scipy.special import expit

    def curve(x: np.ndarray, b1: float, b2: float, b3: float, b4: float) -> np.ndarray:
        return (b1 - b2) * expit((x - b3) / abs(b4)) + b2

    start = (np.max(truth), np.min(truth), np.mean(predicted), np.std(predicted) / 4)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # about the covariance, which is not used
            found, _ = curve_fit(curve, predicted, truth, p0=start, maxfev=10_000)
    except (RuntimeError, TypeError) as error:
        raise ArtQuantError(
            f"the logistic fit found no curve for {len(predicted)} pairs: evaluate without it"
        ) from error
    return lambda x: curve(x, *found)

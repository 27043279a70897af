"""Is one predictor better than another on the same pictures, or is the difference what chance gives?

The verdict is by permutation: were the two alike, a picture's two standings could as well be the other way round.
The interval is by paired bootstrap. Williams' test is the quick figure beside them; on ranks it finds too many.

Legend: M predictors, N pictures, G source groups, P permutations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from artquant.compare.resampling import kendall, resampled
from artquant.errors import ArtQuantError
from artquant.evaluate.metrics import Estimate, evaluate_scores

LEVEL = 0.05  # of the verdict, after Holm's correction
_TAILS = (2.5, 97.5)
_BLOCK = 4_000_000  # signs held at once
_ALIKE = 1e-12  # differences closer than this are equal but for rounding


@dataclass(frozen=True)
class Difference:
    """One predictor's figure less another's, and whether that is more than chance."""

    first: str
    second: str
    value: Estimate
    p: float  # by permutation, two-sided
    p_holm: float  # the same, corrected for all differences of the table
    p_williams: float | None  # of SRCC and PLCC
    better: str | None  # None: not told apart

    @property
    def verdict(self) -> str:
        """In words."""
        if self.better is None:
            return "not told apart"
        return f"{self.better} better than {self.second if self.better == self.first else self.first}"


@dataclass(frozen=True)
class Contest:
    """Predictors over the same n pictures: each one's figure, and the differences of all pairs."""

    metric: str
    n: int
    figures: dict[str, Estimate]  # by predictor
    differences: tuple[Difference, ...]


def contest(
    predicted: dict[str, np.ndarray],
    truth: np.ndarray,
    metric: str = "SRCC",
    bootstrap: int = 1000,
    permutations: int = 2000,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Contest:
    """Compare predictors [N] by name over the same truth [N], Holm's correction over all their pairs.

    Args:
        metric: SRCC, PLCC, KRCC (tau-b) or MAE, of which less is better.
        bootstrap: resamples for the 95 % percentile intervals; 0: none.
        permutations: of each verdict; 0: none, all p are 1.
        seed: of both.
        groups: [N] numbers 0 to G - 1; pictures of one group are drawn and swapped together.

    Raises:
        ArtQuantError: too few pictures, scores that are not finite or constant; names the predictor.
    """
    names, table = list(predicted), np.array(list(predicted.values()), dtype=np.float64)
    values = [_figure(name, row, truth, metric) for name, row in predicted.items()]
    drawn = resampled(table, truth, metric, bootstrap, seed, groups) if bootstrap else np.empty((0, len(names)))
    p_MM = swapped(table, truth, metric, permutations, seed, groups)
    differences = []
    for i, j in combinations(range(len(names)), 2):
        value = _estimate(values[i] - values[j], drawn[:, i] - drawn[:, j])
        quick = _quick(table[i], table[j], truth, metric)
        differences.append(Difference(names[i], names[j], value, p_MM[i, j], 1.0, quick, None))
    figures = {name: _estimate(values[i], drawn[:, i]) for i, name in enumerate(names)}
    return judged([Contest(metric, len(truth), figures, tuple(differences))])[0]


def _figure(name: str, scores: np.ndarray, truth: np.ndarray, metric: str) -> float:
    try:
        return evaluate_scores(scores, truth, bootstrap=0).estimates()[metric].value
    except ArtQuantError as error:
        raise ArtQuantError(f"{name}: {error}") from None


def _estimate(value: float, drawn: np.ndarray) -> Estimate:
    known = drawn[np.isfinite(drawn)]
    low, high = (float(end) for end in np.percentile(known, _TAILS)) if known.size else (None, None)
    return Estimate(value, low, high)


def judged(contests: Sequence[Contest]) -> list[Contest]:
    """The contests of one table with verdicts: Holm's correction over the differences of all of them."""
    corrected = iter(holm([one.p for each in contests for one in each.differences]))
    found = []
    for each in contests:
        differences = [replace(one, p_holm=p) for one, p in zip(each.differences, corrected, strict=False)]
        found.append(replace(each, differences=tuple(_with_verdict(one, each.metric) for one in differences)))
    return found


def _with_verdict(one: Difference, metric: str) -> Difference:
    is_first = (one.value.value > 0) != (metric == "MAE")
    return replace(one, better=(one.first if is_first else one.second) if one.p_holm < LEVEL else None)


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in their order (Holm 1979): one below .05 is a finding at 5 % over all."""
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(factors * np.asarray(p, dtype=np.float64)[order]))
    return [float(one) for one in corrected]


def permutations_for(tests: int) -> int:
    """So many that Holm's correction over a number of tests leaves room for a finding."""
    return max(2000, 100 * tests)


def require_permutations(permutations: int, tests: int) -> None:
    """Refuse too few: the smallest p, 1 / (permutations + 1), times the number of tests, would be no finding.

    Raises:
        ArtQuantError: so it is; says how many are needed.
    """
    if tests / (permutations + 1) >= LEVEL:
        raise ArtQuantError(
            f"{permutations} permutations are too few for {tests} verdicts at once, none could be a finding; "
            f"take {permutations_for(tests)} (--permutations)"
        )


def swapped(
    predicted_MN: np.ndarray,
    truth_N: np.ndarray,
    metric: str,
    permutations: int,
    seed: int = 0,
    groups_N: np.ndarray | None = None,
) -> np.ndarray:
    """Two-sided p [M, M] of all differences, the two predictors' standings swapped per picture (or group) at random.

    Standings: standardised mid-ranks for SRCC and KRCC, standardised scores for PLCC, absolute errors for MAE. The
    correlations of the swapped standings are computed anew. p = (1 + as large as found) / (1 + permutations).
    """
    if groups_N is None:
        groups_N = np.arange(len(truth_N))
    statistic = _STATISTICS[metric](predicted_MN, truth_N, groups_N)
    groups = int(groups_N.max()) + 1
    found = np.abs(statistic(np.zeros((1, groups)))[0])
    rng, larger = np.random.default_rng(seed), np.zeros_like(found)
    block = max(1, _BLOCK // groups)
    for start in range(0, permutations, block):
        bits = rng.integers(0, 256, (min(block, permutations - start), -(-groups // 8)), dtype=np.uint8)
        swaps = np.unpackbits(bits, axis=1, count=groups).astype(np.float64)
        # A statistic that is undefined counts as large: it must not make a finding.
        larger += (~(np.abs(statistic(swaps)) < found - _ALIKE)).sum(axis=0)
    return (1 + larger) / (1 + permutations)


Statistic = Callable[[np.ndarray], np.ndarray]  # swaps [P, G] of 0 and 1 -> differences [P, M, M]


def _standardised(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    return centred / centred.std(axis=-1, keepdims=True)


def _ranked(rows: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return _standardised(rankdata(rows, axis=-1))


def _correlations_of(standing: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Statistic]:
    """Pearson's correlation of swapped standings: of all pairs at once, from sums over the swapped pictures."""

    def make(predicted_MN: np.ndarray, truth_N: np.ndarray, groups_N: np.ndarray) -> Statistic:
        u_MN, v_N, n = standing(predicted_MN), standing(truth_N), len(truth_N)
        columns_GC = _by_group(np.concatenate([u_MN, u_MN * v_N, u_MN**2]), groups_N)
        whole_MC = columns_GC.sum(axis=0).reshape(3, len(u_MN))

        def statistic(swaps: np.ndarray) -> np.ndarray:
            moved = (swaps @ columns_GC).reshape(len(swaps), 3, len(u_MN))
            # [P, 3, M, M]: what the first of a pair has more of in the swapped pictures, and so gives away.
            given = moved[:, :, :, None] - moved[:, :, None, :]
            sums, products, squares = np.moveaxis(whole_MC[None, :, :, None] - given, 1, 0)
            variances = squares / n - (sums / n) ** 2
            with np.errstate(divide="ignore", invalid="ignore"):
                correlations = products / n / np.sqrt(variances)
            return correlations - np.swapaxes(correlations, 1, 2)

        return statistic

    return make


def _by_group(rows_CN: np.ndarray, groups_N: np.ndarray) -> np.ndarray:
    """Sums [G, C] of rows over each group."""
    return np.stack([np.bincount(groups_N, weights=row) for row in rows_CN], axis=1)


def _errors(predicted_MN: np.ndarray, truth_N: np.ndarray, groups_N: np.ndarray) -> Statistic:
    """Mean absolute errors, swapped."""
    errors_MN = np.abs(predicted_MN - truth_N)
    unit = errors_MN.max() or 1.0  # so that rounding is as large on every scale
    errors_GM = _by_group(errors_MN / unit, groups_N) / len(truth_N)

    def statistic(swaps: np.ndarray) -> np.ndarray:
        means = (1 - 2 * swaps) @ errors_GM
        return means[:, :, None] - means[:, None, :]

    return statistic


def _taus(predicted_MN: np.ndarray, truth_N: np.ndarray, groups_N: np.ndarray) -> Statistic:
    """Kendall's tau-b of swapped ranks, pair by pair."""
    u_MN = _ranked(predicted_MN)

    def statistic(swaps: np.ndarray) -> np.ndarray:
        found = np.zeros((len(swaps), len(u_MN), len(u_MN)))
        for i, j in combinations(range(len(u_MN)), 2):
            for place, swap_N in enumerate(swaps[:, groups_N] > 0):
                one = kendall(np.where(swap_N, u_MN[j], u_MN[i]), truth_N)
                found[place, i, j] = one - kendall(np.where(swap_N, u_MN[i], u_MN[j]), truth_N)
        return found

    return statistic


_STATISTICS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], Statistic]] = {
    "SRCC": _correlations_of(_ranked),
    "PLCC": _correlations_of(_standardised),
    "KRCC": _taus,
    "MAE": _errors,
}


def _quick(first: np.ndarray, second: np.ndarray, truth: np.ndarray, metric: str) -> float | None:
    standing = {"SRCC": _ranked, "PLCC": _standardised}.get(metric)
    if standing is None:
        return None
    u, w, v = (standing(values) for values in (first, second, truth))
    return williams(float(np.mean(u * v)), float(np.mean(w * v)), float(np.mean(u * w)), len(truth))[1]


def williams(r12: float, r13: float, r23: float, n: int) -> tuple[float, float]:
    """Williams' t and its two-sided p: do two predictors correlate alike with the truth that they share?

    Args:
        r12, r13: of the two with the truth; r23: with each other. n: pictures, more than 3.

    Source: Williams 1959; Steiger 1980, equation 7.
    """
    from scipy.stats import t as student

    if n <= 3 or abs(r12 - r13) < _ALIKE:
        return 0.0, 1.0
    determinant = 1 - r12**2 - r13**2 - r23**2 + 2 * r12 * r13 * r23
    mean = (r12 + r13) / 2
    rest = 2 * determinant * (n - 1) / (n - 3) + mean**2 * (1 - r23) ** 3
    t = (r12 - r13) * np.sqrt((n - 1) * (1 + r23) / rest) if rest > 0 else np.inf * np.sign(r12 - r13)
    return float(t), float(2 * student.sf(abs(t), n - 3))

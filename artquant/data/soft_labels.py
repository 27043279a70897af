"""From one mean score to a distribution over the rating words, and from a score file to training records.

Legend: N = number of scores, K = number of rating words. Levels are the rating values of the words, in the unit of the
scores (APDDv2: 1 to 10). Nothing here needs torch; scipy is loaded only by the two solvers that use it.
"""

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from artquant.data.score_files import ScoreRow, read_score_rows
from artquant.errors import ArtQuantError
from artquant.jsonio import write_json
from artquant.prompts import IMAGE_TOKEN, SUBJECT
from artquant.prompts import SCORE_QUESTIONS as QUESTION_PATTERNS

logger = logging.getLogger(__name__)

RATING_WORDS = ("excellent", "good", "fair", "poor", "bad")
APDD_LEVELS = (10.0, 7.5, 5.0, 3.5, 1.0)  # rating values of RATING_WORDS on the APDDv2 scale
APDD_THRESHOLDS = (7.5, 5.0, 3.5, 1.0)  # a word is given to scores above its threshold; the last word has none
SCORE_QUESTIONS = tuple(pattern.replace(SUBJECT, "painting") for pattern in QUESTION_PATTERNS)  # as published
# DeQA-Score's rule guards its divisions with these; they are kept so that labels agree with published ones.
_CORRECTION_EPSILON = 1e-9
_TWO_LEVEL_EPSILON = 1e-8  # added to both distances
_CHUNK = 8192  # scores solved together: small enough for the processor's cache


@dataclass(frozen=True)
class LabelReport:
    """What `label_score_file` did: records written, worst |expectation - score| in score units, seconds taken."""

    count: int
    worst_error: float
    seconds: float


def rating_word(
    score: float, thresholds: Sequence[float] = APDD_THRESHOLDS, words: Sequence[str] = RATING_WORDS
) -> str:
    """The word for a score: the first word whose threshold lies below it, else the last word.

    Args:
        score: mean score, in the unit of the thresholds.
        thresholds: K - 1 descending values; a score equal to a threshold gets the lower word.
        words: K words, best first.

    Raises:
        ArtQuantError: the score is not finite, or the thresholds do not fit the words.
    """
    if not np.isfinite(score):
        raise ArtQuantError(f"score {score} has no rating word: give a finite number")
    if len(thresholds) != len(words) - 1 or list(thresholds) != sorted(set(thresholds), reverse=True):
        raise ArtQuantError(f"{len(words)} words need {len(words) - 1} descending thresholds, got {tuple(thresholds)}")
    return next((word for word, threshold in zip(words, thresholds, strict=False) if score > threshold), words[-1])


def _checked(scores: np.ndarray, levels: Sequence[float], clamp: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Scores [N] and levels [K] as float64; refuses what has no distribution, or moves it to the nearest end."""
    levels_K = np.asarray(levels, dtype=np.float64)
    scores_N = np.atleast_1d(np.asarray(scores, dtype=np.float64))
    if levels_K.ndim != 1 or levels_K.size < 2 or not np.isfinite(levels_K).all():
        raise ArtQuantError(f"levels must be two or more finite numbers, got {levels}")
    if np.unique(levels_K).size != levels_K.size:
        raise ArtQuantError(f"levels must differ from each other, got {levels}")
    if scores_N.ndim != 1:
        raise ArtQuantError(f"scores must be one-dimensional, got shape {scores_N.shape}")
    low, high = levels_K.min(), levels_K.max()
    finite = np.isfinite(scores_N)
    bad = ~finite if clamp else ~(finite & (scores_N >= low) & (scores_N <= high))
    if bad.any():
        index = int(np.argmax(bad))
        raise ArtQuantError(
            f"score {index} is {scores_N[index]}: give a finite score between {low:g} and {high:g}, or other levels"
        )
    return np.clip(scores_N, low, high), levels_K


def _softmax(log_weights: np.ndarray) -> np.ndarray:
    """Softmax over the first axis."""
    weights = np.exp(log_weights - log_weights.max(axis=0))
    return weights / weights.sum(axis=0)


def one_hot(scores: np.ndarray, levels: Sequence[float] = APDD_LEVELS) -> np.ndarray:
    """All mass on the level nearest to each score [N]; halfway, the one listed first. Returns [N, K]."""
    scores_N, levels_K = _checked(scores, levels)
    nearest_N = np.abs(scores_N[:, None] - levels_K).argmin(axis=1)
    return np.eye(levels_K.size)[nearest_N]


def two_level_soft_labels(scores: np.ndarray, levels: Sequence[float] = APDD_LEVELS) -> np.ndarray:
    """Mass on the two levels around each score [N], split so that the expectation is the score. Returns [N, K]."""
    scores_N, levels_K = _checked(scores, levels)
    return _two_level(scores_N, levels_K, epsilon=0.0)


def _two_level(scores_N: np.ndarray, levels_K: np.ndarray, epsilon: float) -> np.ndarray:
    order = np.argsort(levels_K)
    ascending = levels_K[order]
    upper = np.clip(np.searchsorted(ascending, scores_N, side="left"), 1, levels_K.size - 1)
    to_lower, to_upper = scores_N - ascending[upper - 1] + epsilon, ascending[upper] - scores_N + epsilon
    share = to_lower / (to_lower + to_upper)
    probs_NK = np.zeros((scores_N.size, levels_K.size))
    rows = np.arange(scores_N.size)
    probs_NK[rows, order[upper]] = share
    probs_NK[rows, order[upper - 1]] = 1.0 - share
    return probs_NK


def gaussian_soft_labels(
    scores: np.ndarray, levels: Sequence[float] = APDD_LEVELS, sigma: float | np.ndarray = 1.0, clamp: bool = False
) -> np.ndarray:
    """Discretised Gaussians of given sigma whose expectations are the scores (ArtQuant, section 3.2).

    p_i = exp(-(l_i - mu)^2 / 2 sigma^2) / sum_j exp(-(l_j - mu)^2 / 2 sigma^2) with sum_i p_i l_i = s. With sigma fixed
    the expectation rises monotonically with mu, so there is exactly one solution for every score strictly between the
    outermost levels; at an outermost level the limit is all mass on that word.

    Args:
        scores: [N] mean scores, within [min(levels), max(levels)].
        levels: [K] rating values, different from each other, in any order and at any distances.
        sigma: standard deviation before discretisation, in score units, > 0; one number or [N].
        clamp: move finite scores outside the scale to its nearest end instead of refusing them.

    Returns:
        [N, K] probabilities in the order of the levels: rows sum to 1 (1e-12), expectation is the score (1e-9).

    Raises:
        ArtQuantError: a score is outside the scale or not finite (named by index), or sigma is not positive.
    """
    scores_N, levels_K = _checked(scores, levels, clamp)
    sigma_N = np.asarray(sigma, dtype=np.float64)
    if sigma_N.ndim and sigma_N.shape != scores_N.shape:
        raise ArtQuantError(f"sigma must be one number or one per score, got shape {sigma_N.shape}")
    if not (np.isfinite(sigma_N).all() and (sigma_N > 0).all()):
        raise ArtQuantError(f"sigma must be finite and above 0, got {sigma}")
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
    """Probabilities [K, N] for scores strictly inside the ascending levels, by Newton steps kept inside a bracket.

    With neighbours a <= s < b and mid = (a + b) / 2, log p_i = -(l_i - a)(l_i - b) / 2 sigma^2 + (l_i - a) t + const
    where t = (mu - mid) / sigma^2: a one-parameter exponential family in the tilt t. The neighbours' own terms carry no
    1 / sigma^2, so a small sigma costs no digits. Newton works on logit((E - l_min) / (l_max - l_min)), nearly linear
    in t, and falls back to halving the bracket.
    """
    low, high = levels_K[0], levels_K[-1]
    index_N = np.searchsorted(levels_K, scores_N, side="right") - 1  # of a
    offset_KN = levels_K[:, None] - levels_K[index_N]
    base_KN = -offset_KN * (levels_K[:, None] - levels_K[index_N + 1]) / (2 * sigma_N**2)
    distance_KN = levels_K[:, None] - scores_N
    target_N = np.log(scores_N - low) - np.log(high - scores_N)
    tilt_N, left_N, right_N = _start_and_bracket(scores_N, levels_K, sigma_N, index_N)
    tolerance = (high - low) * np.clip(2e-10 / (high - low), 1e-14, 1e-12)
    result_KN = np.empty_like(base_KN)
    rows = np.arange(scores_N.size)
    for _ in range(200):
        probs = _softmax(base_KN + offset_KN * tilt_N)
        result_KN[:, rows] = probs
        moment = probs * distance_KN
        error = moment.sum(axis=0)  # E - s, without cancellation
        open_ = np.abs(error) > tolerance
        if not open_.any():
            break
        above, below = (levels_K - low) @ probs, (high - levels_K) @ probs  # E - l_min, l_max - E
        variance = (moment * distance_KN).sum(axis=0) - error**2
        left_N, right_N = np.where(error < 0, tilt_N, left_N), np.where(error > 0, tilt_N, right_N)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            gap = target_N - (np.log(above) - np.log(below))
            proposal = tilt_N + gap * above * below / (variance * (high - low))
        inside = (proposal > left_N) & (proposal < right_N)
        tilt_N = np.where(open_, np.where(inside, proposal, (left_N + right_N) / 2), tilt_N)
        if open_.mean() < 0.5:  # go on with the unsolved ones only
            base_KN, offset_KN, distance_KN = base_KN[:, open_], offset_KN[:, open_], distance_KN[:, open_]
            target_N, tilt_N, left_N, right_N = target_N[open_], tilt_N[open_], left_N[open_], right_N[open_]
            rows = rows[open_]
    return result_KN


def _start_and_bracket(
    scores_N: np.ndarray, levels_K: np.ndarray, sigma_N: np.ndarray, index_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First tilt [N] and bounds [N] around the solution of `_solve_tilt`.

    Bound: for t >= 0 the levels up to a weigh at most 1 each, so E >= s once (b - s) exp((b - a) t) >= K (s - l_min);
    likewise from below with the nearest level under s (the one before a where s equals a).
    """
    a_N, b_N = levels_K[index_N], levels_K[index_N + 1]
    log_count, log_up, log_down = np.log(levels_K.size), np.log(levels_K[-1] - scores_N), np.log(scores_N - levels_K[0])
    right_N = np.maximum(log_count + log_down - np.log(b_N - scores_N), 0) / (b_N - a_N)
    under_N = np.where(scores_N > a_N, index_N, index_N - 1)
    low_N, up_N = levels_K[under_N], levels_K[under_N + 1]
    left_N = -np.maximum(log_count + log_up - np.log(scores_N - low_N), 0) / (up_N - low_N)
    left_N += ((low_N + up_N) - (a_N + b_N)) / (2 * sigma_N**2)  # tilt is counted from the middle of a and b
    with np.errstate(divide="ignore"):
        two_word_N = (np.log(scores_N - a_N) - np.log(b_N - scores_N)) / (b_N - a_N)  # exact as sigma goes to 0
    reach_N = (b_N - a_N) / (2 * sigma_N**2)  # mu in [a, b], a good start where sigma is large
    start_N = np.clip(np.clip(two_word_N, -reach_N, reach_N), left_N, right_N)
    return start_N, left_N - 1.0, right_N + 1.0


def published_soft_labels(
    scores: np.ndarray, levels: Sequence[float] = APDD_LEVELS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The published notebook's solver, for comparison: |expectation - score| minimised over mu and sigma.

    L-BFGS-B with numeric gradients from (score, 1), mu in [-10, 10], sigma in [0.001, 1000]. One equation for two
    unknowns: sigma ends wherever the search stops. Milliseconds per score, and near the ends of a scale it can miss the
    score (on the levels 1 to 5 by 0.05 at 1.05); `gaussian_soft_labels` is the exact one.

    Returns:
        probabilities [N, K], mu [N], sigma [N].

    Raises:
        ArtQuantError: as `gaussian_soft_labels`.
    """
    from scipy.optimize import minimize
    from scipy.stats import norm

    scores_N, levels_K = _checked(scores, levels)

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
    probs_NK = _softmax(-((levels_K[:, None] - mu_N) ** 2) / (2 * sigma_N**2)).T
    return probs_NK, mu_N, sigma_N


def known_std_soft_labels(
    mean: np.ndarray,
    std: np.ndarray,
    levels: Sequence[float],
    density: str = "pdf",
    thre_std: float = 0.2,
    thre_diff: float = 0.1,
    renormalise: bool = False,
) -> np.ndarray:
    """Labels for data with a known standard deviation (DeQA-Score, section 3.2).

    p_i is the density of N(mean, std) at level i, or its mass on the unit-wide bin around level i. A linear correction
    p'_i = alpha p_i + beta restores sum 1 and the mean; negative p'_i become 0. Where std < thre_std, or the cut moved
    the mean by more than thre_diff, the two nearest levels share the mass instead. As published, rows that were cut
    sum to slightly more than 1 (up to about 1.02); `renormalise` divides by the sum.

    Args:
        mean, std: [N], in the unit of the levels; std >= 0.
        levels: [K] rating values.
        density: "pdf" or "cdf".

    Returns:
        [N, K] non-negative label mass in the order of the levels.

    Raises:
        ArtQuantError: a mean is off the scale, a std is negative or not finite, or `density` is unknown.
    """
    mean_N, levels_K = _checked(mean, levels)
    std_N = np.broadcast_to(np.asarray(std, dtype=np.float64), mean_N.shape)
    bad = ~(np.isfinite(std_N) & (std_N >= 0))
    if bad.any():
        raise ArtQuantError(f"standard deviation {int(np.argmax(bad))} is {std_N[np.argmax(bad)]}: give one >= 0")
    if density not in ("pdf", "cdf"):
        raise ArtQuantError(f"density '{density}' is unknown: choose pdf or cdf")
    probs_NK = _two_level(mean_N, levels_K, _TWO_LEVEL_EPSILON)
    wide = std_N >= max(thre_std, 1e-3)
    corrected = _linear_correction(_normal_mass(mean_N[wide], std_N[wide], levels_K, density), mean_N[wide], levels_K)
    corrected = np.maximum(corrected, 0)
    kept = np.abs(corrected @ levels_K - mean_N[wide]) <= thre_diff
    probs_NK[np.flatnonzero(wide)[kept]] = corrected[kept]
    return probs_NK / probs_NK.sum(axis=1, keepdims=True) if renormalise else probs_NK


def _normal_mass(mean_N: np.ndarray, std_N: np.ndarray, levels_K: np.ndarray, density: str) -> np.ndarray:
    """Density of N(mean, std) at the levels, or mass on unit-wide bins around them [N, K]."""
    from scipy.special import ndtr

    z_NK = (levels_K - mean_N[:, None]) / std_N[:, None]
    if density == "cdf":
        half_N1 = 0.5 / std_N[:, None]
        return ndtr(z_NK + half_N1) - ndtr(z_NK - half_N1)
    return np.exp(-(z_NK**2) / 2) / (std_N[:, None] * np.sqrt(2 * np.pi))


def _linear_correction(raw_NK: np.ndarray, mean_N: np.ndarray, levels_K: np.ndarray) -> np.ndarray:
    """alpha p + beta with sum 1 and expectation `mean`."""
    centre = levels_K.mean()
    sum_N = raw_NK.sum(axis=1)
    slope_N = raw_NK @ levels_K - centre * sum_N
    # Symmetric around the centre, both equations say the same and plain normalisation solves them.
    symmetric_N = (np.abs(mean_N - centre) < 1e-6) & (np.abs(slope_N) < 1e-6)
    denominator_N = np.where(symmetric_N, 1.0, slope_N + _CORRECTION_EPSILON)
    alpha_N = np.where(symmetric_N, 1 / np.maximum(sum_N, 1e-300), (mean_N - centre) / denominator_N)
    beta_N = (1 - alpha_N * sum_N) / levels_K.size
    return alpha_N[:, None] * raw_NK + beta_N[:, None]


def _label_published(scores: np.ndarray, levels: Sequence[float], sigma: float) -> np.ndarray:
    if sigma != 1.0:
        raise ArtQuantError("the published solver finds sigma itself: leave sigma at 1, or use the solver 'gaussian'")
    return published_soft_labels(scores, levels)[0]


SOLVERS = {"gaussian": gaussian_soft_labels, "published": _label_published}  # (scores, levels, sigma) -> [N, K]


def label_score_file(source: Path, out: Path, solver: str = "gaussian", sigma: float = 1.0) -> LabelReport:
    """Write training score records with soft labels on the APDDv2 scale (1 to 10) for a file of mean scores.

    Args:
        source: CSV or JSON list of mean scores, see `artquant.data.score_files.read_score_rows`; the fields of JSON
            records are kept, only their level_probs are replaced.
        out: JSON list of records (id, image, gt_score, level_probs, task_type, conversations), replaced in one step.
            Questions are drawn from the ten published ones; the same source always gives the same file.
        solver: a key of SOLVERS.
        sigma: as in `gaussian_soft_labels`, in score units.

    Raises:
        ArtQuantError: unknown solver, unreadable source, or a bad row (named by file and record number).
    """
    started = time.perf_counter()
    if solver not in SOLVERS:
        raise ArtQuantError(f"solver '{solver}' is unknown: choose one of {', '.join(SOLVERS)}")
    rows = read_score_rows(source, min(APDD_LEVELS), max(APDD_LEVELS))
    scores_N = np.array([row.score for row in rows])
    probs_NK = SOLVERS[solver](scores_N, APDD_LEVELS, sigma)
    draw = random.Random(0)
    records, first_use = [], {}
    for row, probs in zip(rows, probs_NK.tolist(), strict=True):
        record = _training_record(row, probs, draw)
        number = first_use.setdefault(str(record["id"]), row.number)
        if number != row.number:
            raise ArtQuantError(
                f"{source}, record {row.number}: id {record['id']!r} is also record {number}: keep only one of them"
            )
        records.append(record)
    write_json(out, records)
    worst = float(np.abs(probs_NK @ np.array(APDD_LEVELS) - scores_N).max())
    report = LabelReport(count=len(records), worst_error=worst, seconds=time.perf_counter() - started)
    logger.info("%s: %d records, worst error %.1e, %.2f s", out, report.count, report.worst_error, report.seconds)
    return report


def _training_record(row: ScoreRow, probs: list[float], draw: random.Random) -> dict:
    """The row's own fields, the new level_probs, and whatever of a training record the row lacks."""
    # Drawn for every row, so that one row's fields do not shift the others.
    question = draw.choice(SCORE_QUESTIONS)
    defaults = {
        "id": f"{row.image}->{row.score:.10g}",
        "image": row.image,
        "gt_score": row.score,
        "level_probs": probs,
        "task_type": "score",
        "conversations": [
            {"from": "human", "value": f"{question}\n{IMAGE_TOKEN}"},
            {"from": "gpt", "value": f"The quality of the painting is {rating_word(row.score)}."},
        ],
    }
    return {**defaults, **row.fields, "level_probs": probs}

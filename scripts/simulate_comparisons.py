""".venv/bin/python scripts/simulate_comparisons.py [--draws 400] - false alarms and power of `artquant compare`.

Two predictors of the same pictures are drawn again and again: x = truth + noise, a part of the noise common to both.
Without a gap the two are equally good, and every "A better than B" is a false alarm. With it their SRCC differs by .037
over all pictures that could be drawn. The verdicts are the library's, with its defaults. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial

import numpy as np

from artquant.compare.significance import LEVEL, contest
from artquant.files.child_processes import process_pool

SETTINGS = ("normal", "five-step labels", "heavy tails", "noise that differs")
UNLIKE = "unlike noise"  # heavy tails of A's, normal of B's, in their own parts: equally good, but not exchangeable
METRICS = ("SRCC", "PLCC", "MAE")
COMMON = 0.6  # share of the noise's variance that both predictors have
NOISE = 0.75  # its standard deviation; the truth's is 1
GAP = 0.037


def truth_and_noise(setting: str, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The truth [n] as labelled, the truth as it is, and noise [3, n] of unit variance: common, of A, of B."""
    truth = rng.normal(size=n)
    noise = rng.normal(size=(3, n))
    heavy = {"heavy tails": [0, 1, 2], UNLIKE: [1]}.get(setting, [])
    noise[heavy] = rng.standard_t(3, size=(len(heavy), n)) / 3**0.5
    if setting == "noise that differs":  # strong on a fifth of the pictures
        scale = np.where(rng.random(n) < 0.2, 2.0, 0.5)
        noise *= scale / np.sqrt(0.2 * 4 + 0.8 * 0.25)
    labels = np.digitize(truth, (-1.2, -0.4, 0.4, 1.2)) + 1.0 if setting == "five-step labels" else truth
    return labels, truth, noise


def pair(setting: str, rng: np.random.Generator, n: int, noise_of_b: float) -> tuple[np.ndarray, ...]:
    """Labels [n] and both predictors [n]."""
    labels, truth, noise = truth_and_noise(setting, rng, n)
    common, own = COMMON**0.5 * noise[0], (1 - COMMON) ** 0.5 * noise[1:]
    return labels, truth + NOISE * (common + own[0]), truth + noise_of_b * (common + own[1])


def noise_for_gap(setting: str, gap: float) -> float:
    """B's noise with which its SRCC is lower by the gap, over a million pictures."""
    from scipy.optimize import brentq
    from scipy.stats import spearmanr

    def beyond(noise: float) -> float:
        labels, a, b = pair(setting, np.random.default_rng(0), 1_000_000, noise)
        return float(spearmanr(a, labels).statistic - spearmanr(b, labels).statistic) - gap

    return brentq(beyond, NOISE / 2, 2 * NOISE, xtol=1e-3)


def one(seed: int, setting: str, n: int, metric: str, noise_of_b: float) -> tuple[bool, bool, bool]:
    """Of one draw: whether verdict, bootstrap interval and Williams' test each find a difference."""
    labels, a, b = pair(setting, np.random.default_rng([seed, n]), n, noise_of_b)
    [found] = contest({"A": a, "B": b}, labels, metric, seed=seed).differences
    low, high = found.value.low, found.value.high
    is_outside = low is not None and high is not None and not low <= 0 <= high
    return found.better is not None, is_outside, found.p_williams is not None and found.p_williams < LEVEL


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=400, help="of each cell (default %(default)s)")
    parser.add_argument("--metric", choices=METRICS, default="SRCC")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    cells = [(setting, n, 0.0) for setting in (*SETTINGS, UNLIKE) for n in (100, 500)]
    cells += [(setting, 500, GAP) for setting in (*SETTINGS, UNLIKE)]
    print("| setting | n | gap | verdict (permutation) | bootstrap interval | Williams |\n|---|---|---|---|---|---|")
    with process_pool(arguments.workers) as pool:
        for setting, n, gap in cells:
            noise = noise_for_gap(setting, gap) if gap or setting == UNLIKE else NOISE
            draw = partial(one, setting=setting, n=n, metric=arguments.metric, noise_of_b=noise)
            found = []
            for index, result in enumerate(pool.map(draw, range(arguments.draws), chunksize=10), 1):
                found.append(result)
                if sys.stderr.isatty() and index % 20 == 0:
                    print(f"\r{setting}, n {n}: {index}", end="\r", file=sys.stderr)
            shares = " | ".join(f"{share:.3f}".removeprefix("0") for share in np.mean(found, axis=0))
            print(f"| {setting} | {n} | {'.037' if gap else 'none'} | {shares} |", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

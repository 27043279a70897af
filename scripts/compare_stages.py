"""python scripts/compare_stages.py [SEED ...] - the paper's claim in miniature: does describing first help scoring?

For every seed (default 0 1 2) the demo is run with both stages and with the second alone, from the same base model,
on the same pictures, with the same number of second-stage epochs; runs that are done are not repeated. Prints a
Markdown table of SRCC and PLCC on the held-out pictures with 95 % bootstrap intervals, and the paired difference.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from artquant.evaluate.join import join_by_id, read_predictions, read_truth
from artquant.evaluate.metrics import evaluate_scores

RESAMPLES = 1000


def demo_name(seed: int) -> str:
    """The name that scripts/demo.sh gives to a seed's data, base model and run."""
    return "demo" if seed == 0 else f"demo-{seed}"


def held_out(seed: int, variant: str) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true scores of a run's held-out pictures, both [N], ordered by id."""
    name = demo_name(seed)
    predictions = read_predictions(Path("runs") / (name + variant) / "predictions.jsonl")
    truth = read_truth(Path("dataset") / name / "meta" / "test.json")
    joined = join_by_id(predictions, truth)
    order = np.argsort(joined.ids)
    return joined.predicted[order], joined.truth[order]


def correlations(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """SRCC and PLCC."""
    metrics = evaluate_scores(predicted, truth, bootstrap=0)
    return np.array([metrics.SRCC.value, metrics.PLCC.value])


def paired_interval(pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    """95 % interval [2 metrics, 2] of the mean difference; pictures are resampled within each seed.

    Args:
        pairs: for each seed predictions of both stages, of the second alone, and the truth.
    """
    draw = np.random.default_rng(0)
    differences = []
    for _ in range(RESAMPLES):
        per_seed = []
        for both, alone, truth in pairs:
            chosen = draw.integers(0, len(truth), len(truth))
            per_seed.append(correlations(both[chosen], truth[chosen]) - correlations(alone[chosen], truth[chosen]))
        differences.append(np.mean(per_seed, axis=0))
    return np.percentile(differences, [2.5, 97.5], axis=0).T


def row(label: str, predicted: np.ndarray, truth: np.ndarray) -> str:
    """A table row with intervals."""
    metrics = evaluate_scores(predicted, truth, bootstrap=RESAMPLES)
    cells = [f"{m.value:.3f} [{m.low:.3f}, {m.high:.3f}]" for m in (metrics.SRCC, metrics.PLCC)]
    return f"| {label} | {len(truth)} | {cells[0]} | {cells[1]} |"


def main(seeds: list[int]) -> None:
    """Run what is missing and print the table."""
    for seed in seeds:
        for option in ([], ["--scores-only"]):
            subprocess.run(["sh", "scripts/demo.sh", *option, str(seed)], check=True, stdout=sys.stderr)
    print("| seed, stages | held out | SRCC | PLCC |\n| --- | --- | --- | --- |")
    pairs = []
    for seed in seeds:
        (both, truth), (alone, _) = held_out(seed, ""), held_out(seed, "-scores-only")
        pairs.append((both, alone, truth))
        print(row(f"{seed}, descriptions then scores", both, truth))
        print(row(f"{seed}, scores alone", alone, truth))
    gains = [correlations(both, truth) - correlations(alone, truth) for both, alone, truth in pairs]
    mean, interval = np.mean(gains, axis=0), paired_interval(pairs)
    cells = [f"{mean[i]:+.3f} [{interval[i, 0]:+.3f}, {interval[i, 1]:+.3f}]" for i in range(2)]
    print(f"| mean gain of the first stage | | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])

""".venv/bin/python scripts/compare_stages.py [SEED ...] - the paper's claim in miniature: does describing help scoring?

For every seed (default 0 1 2) the demo is run; then the second stage is trained from the described model and from the
base model, on the same pictures, for the same number of epochs: few, and as many as in the demo. Runs that are done
are not repeated. Prints a Markdown table of SRCC on the held-out pictures with 95 % bootstrap intervals, and the mean
paired difference for each number of epochs.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from artquant.config.load import load_config
from artquant.config.run_paths import CONFIG_FILE, PREDICTIONS
from artquant.evaluate.join import join_files
from artquant.evaluate.metrics import evaluate_scores

EPOCHS = (1, 2, 6)  # the last is the demo's
RESAMPLES = 1000


@dataclass(frozen=True)
class Pair:
    """Predictions of the model that described first and of the one that did not, and the truth, all [N]."""

    described: np.ndarray
    alone: np.ndarray
    truth: np.ndarray

    def gain(self, chosen: np.ndarray | slice = slice(None)) -> float:
        """SRCC of the first less that of the second on the chosen pictures."""
        truth = self.truth[chosen]
        first, second = (spearmanr(scores[chosen], truth).statistic for scores in (self.described, self.alone))
        return float(first - second)


def scored_by(config: Path, run: str, start: Path, epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """Train the second stage from a model folder and score; predicted and true scores [N], ordered by id."""
    settings = [f"run={run}", f"stages.scores.start={start}", f"stages.scores.epochs={epochs}"]
    command = [sys.executable, "-m", "artquant"]
    for step in (["train", "--config", str(config), "--stage", "scores"], ["infer", "--config", str(config)]):
        subprocess.run([*command, *step, *settings], check=True, stdout=sys.stderr)
    resolved = load_config(config)
    joined = join_files(resolved.output / run / PREDICTIONS, Path(resolved.infer.records))
    order = np.argsort(joined.ids)
    return joined.predicted[order], joined.truth[order]


def trained_pair(seed: int, epochs: int) -> Pair:
    """Both models of a seed; the demo has been run."""
    name = "demo" if seed == 0 else f"demo-{seed}"
    folder = Path("runs") / name
    config = folder / CONFIG_FILE
    described, truth = scored_by(config, f"{name}-described-{epochs}", folder / "descriptions" / "model", epochs)
    alone, _ = scored_by(config, f"{name}-alone-{epochs}", load_config(config).base, epochs)
    return Pair(described, alone, truth)


def mean_gain(pairs: list[Pair]) -> str:
    """Mean difference over the seeds with its 95 % interval; pictures are resampled within each seed."""
    draw = np.random.default_rng(0)
    resampled = [
        np.mean([pair.gain(draw.integers(0, len(pair.truth), len(pair.truth))) for pair in pairs])
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(resampled, [2.5, 97.5])
    return f"{np.mean([pair.gain() for pair in pairs]):+.3f} [{low:+.3f}, {high:+.3f}]"


def with_interval(predicted: np.ndarray, truth: np.ndarray) -> str:
    """SRCC with its 95 % interval."""
    figure = evaluate_scores(predicted, truth, bootstrap=RESAMPLES).SRCC
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def main(seeds: list[int]) -> None:
    """Run what is missing and print the table."""
    for seed in seeds:
        subprocess.run(["sh", "scripts/demo.sh", str(seed)], check=True, stdout=sys.stderr)
    print("| epochs of scores | seed | descriptions first | scores alone | gain |\n| --- | --- | --- | --- | --- |")
    for epochs in EPOCHS:
        pairs = [trained_pair(seed, epochs) for seed in seeds]
        for seed, pair in zip(seeds, pairs, strict=True):
            figures = [with_interval(scores, pair.truth) for scores in (pair.described, pair.alone)]
            print(f"| {epochs} | {seed} | {figures[0]} | {figures[1]} | {pair.gain():+.3f} |")
        print(f"| {epochs} | mean | | | {mean_gain(pairs)} |", flush=True)


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])

""".venv/bin/python scripts/compare_stages.py [SEED ...] - the paper's claim in miniature: does describing help scoring?

For every seed (default 0 1 2) the demo is run; then scores (total and attributes, no texts beside) are trained from
the described model and from the base, which knows what is there and no grade: on the same pictures, for the same number
of epochs - 1, 2 and 6, and 10 on a tenth of the scores. Runs that are done are not repeated. Prints a Markdown table
of SRCC on the held-out pictures with 95 % bootstrap intervals, and the mean paired difference; of the attributes their
mean SRCC and that within pictures.
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
from artquant.evaluate.join import Joined, join_files
from artquant.evaluate.metrics import evaluate_scores
from artquant.evaluate.within import within_pictures

SETTINGS = ((1, 1.0), (2, 1.0), (6, 1.0), (10, 0.1))  # epochs, share of the score records
RESAMPLES = 1000


@dataclass(frozen=True)
class Pair:
    """Predictions of the model that described first and of the one that did not, and the truth, all [N].

    attributes: of both, mean SRCC over attributes and SRCC within pictures.
    """

    described: np.ndarray
    alone: np.ndarray
    truth: np.ndarray
    attributes: tuple[tuple[float, float], tuple[float, float]]

    def gain(self, chosen: np.ndarray | slice = slice(None)) -> float:
        """SRCC of the first less that of the second on the chosen pictures."""
        truth = self.truth[chosen]
        first, second = (spearmanr(scores[chosen], truth).statistic for scores in (self.described, self.alone))
        return float(first - second)


def scored_by(config: Path, run: str, start: Path, epochs: int, share: float) -> tuple[Joined, tuple[float, float]]:
    """Train scores from a model folder and score; predictions and truth, and the attributes' figures."""
    [score, *_] = load_config(config).chosen_stages(["scores"])[0].data
    data = f"[{{records: {score.records}, images: {score.images}, attributes: true, weight: {share}}}]"
    settings = [f"run={run}", f"stages.scores.start={start}", f"stages.scores.epochs={epochs}"]
    settings += [f"stages.scores.data={data}"]
    command = [sys.executable, "-m", "artquant"]
    for step in (["train", "--config", str(config), "--stage", "scores"], ["infer", "--config", str(config)]):
        subprocess.run([*command, *step, *settings], check=True, stdout=sys.stderr)
    resolved = load_config(config)
    joined = join_files(resolved.output / run / PREDICTIONS, Path(resolved.infer.records))
    within = within_pictures(*joined.table(), joined.predicted, bootstrap=0)
    return joined, (0.0, 0.0) if within is None else (within.over_pictures.value, within.SRCC.value)


def trained_pair(seed: int, epochs: int, share: float) -> Pair:
    """Both models of a seed; the demo has been run."""
    name = "demo" if seed == 0 else f"demo-{seed}"
    folder = Path("runs") / name
    config = folder / CONFIG_FILE
    suffix = f"{epochs}" if share == 1 else f"{epochs}-of-{share:g}"
    described = scored_by(config, f"{name}-described-{suffix}", folder / "descriptions" / "model", epochs, share)
    alone = scored_by(config, f"{name}-alone-{suffix}", load_config(config).base, epochs, share)
    (first, figures), (second, others) = described, alone
    return Pair(first.predicted, second.predicted, first.truth, (figures, others))


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
        subprocess.run([sys.executable, "-m", "artquant", "demo", str(seed)], check=True, stdout=sys.stderr)
    print("| epochs of scores | seed | descriptions first | scores alone | gain | attributes | within pictures |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for epochs, share in SETTINGS:
        pairs = [trained_pair(seed, epochs, share) for seed in seeds]
        said = f"{epochs}" if share == 1 else f"{epochs}, {share:.0%} of them"
        for seed, pair in zip(seeds, pairs, strict=True):
            figures = [with_interval(scores, pair.truth) for scores in (pair.described, pair.alone)]
            each = " | ".join(f"{one:.3f}, {other:.3f}" for one, other in zip(*pair.attributes, strict=True))
            print(f"| {said} | {seed} | {figures[0]} | {figures[1]} | {pair.gain():+.3f} | {each} |")
        means = np.mean([pair.attributes for pair in pairs], axis=0)
        each = " | ".join(f"{one:.3f}, {other:.3f}" for one, other in zip(*means, strict=True))
        print(f"| {said} | mean | | | {mean_gain(pairs)} | {each} |", flush=True)


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])

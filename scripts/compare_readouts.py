""".venv/bin/python scripts/compare_readouts.py [SEED ...] - every readout on two families of networks.

For every seed (default 0 1 2) and family the demo is run (descriptions, then scores by rating words); then score tokens
are trained from the same described model, on the same pictures, for the same number of epochs. Runs that are done are
not repeated. Prints a Markdown table of SRCC and PLCC on the held-out pictures with 95 % bootstrap intervals.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from artquant.config.load import load_config
from artquant.config.run_paths import CONFIG_FILE, PREDICTIONS
from artquant.evaluate.join import join_files
from artquant.evaluate.metrics import Metrics, evaluate_scores

FAMILIES = {"mPLUG-Owl2": ("", []), "InternVL": ("-internvl", ["--internvl"])}  # name of its runs, option of the demo
SCORE_TOKENS = (  # the paper's loss: cross-entropy of the text and smooth L1 of the score
    "readout={kind: score_tokens}",
    "stages.scores.loss={description: 1.0, score_text: 0.05, score: {score_l1: 1.0}}",
)


def figures(config: Path, run: str) -> Metrics:
    """Of a run's predictions."""
    resolved = load_config(config)
    joined = join_files(resolved.output / run / PREDICTIONS, Path(resolved.infer.records))
    return evaluate_scores(joined.predicted, joined.truth)


def score_tokens(config: Path, run: str) -> str:
    """Train score tokens from a run's described model and score; the new run's name."""
    name = f"{run}-score-tokens"
    settings = [f"run={name}", f"stages.scores.start=runs/{run}/descriptions/model", *SCORE_TOKENS]
    command = [sys.executable, "-m", "artquant"]
    for step in (["train", "--config", str(config), "--stage", "scores"], ["infer", "--config", str(config)]):
        subprocess.run([*command, *step, *settings], check=True, stdout=sys.stderr)
    return name


def main(seeds: list[int]) -> None:
    """Run what is missing and print the table."""
    print("| family | readout | seed | SRCC [95 %] | PLCC [95 %] |\n| --- | --- | --- | --- | --- |")
    for family, (suffix, options) in FAMILIES.items():
        rows: dict[str, list[Metrics]] = {"rating words": [], "score tokens": []}
        for seed in seeds:
            subprocess.run(["sh", "scripts/demo.sh", *options, str(seed)], check=True, stdout=sys.stderr)
            run = ("demo" if seed == 0 else f"demo-{seed}") + suffix
            config = Path("runs") / run / CONFIG_FILE
            rows["rating words"].append(figures(config, run))
            rows["score tokens"].append(figures(config, score_tokens(config, run)))
        for readout, found in rows.items():
            for seed, metrics in zip(seeds, found, strict=True):
                shown = (f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in (metrics.SRCC, metrics.PLCC))
                print(f"| {family} | {readout} | {seed} | {' | '.join(shown)} |")
            means = (np.mean([metrics.estimates()[name].value for metrics in found]) for name in ("SRCC", "PLCC"))
            print(f"| {family} | {readout} | mean | {' | '.join(f'{mean:.3f}' for mean in means)} |", flush=True)


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])

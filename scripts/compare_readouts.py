""".venv/bin/python scripts/compare_readouts.py [--internvl] [SEED ...] - the readouts beside each other on the demo.

For every seed (default 0 1 2) the demo is run (descriptions, then scores by rating words). From the same described
model, on the same pictures, score tokens are trained with three sets of losses; and the total with ten attributes, by
rating words (a record for each attribute, read packed) and by score tokens (one text with eleven scores). --internvl:
the first two of these on transformers' InternVL. Runs that are done are not repeated. Prints a Markdown table: SRCC on
the held-out pictures with 95 % bootstrap intervals, and the mean SRCC over the attributes.
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

TOKENS = "readout={kind: score_tokens}"
WORDS_OF_ALL = "loss={description: 1.0, score_text: 0.05, score_distribution: 1.0}"


def losses(text: float, l1: float, ce: float) -> str:
    """A stage's losses of score tokens."""
    return f"loss={{description: 1.0, score_text: {text}, score: {{score_l1: {l1}, score_ce: {ce}}}}}"


def trained(
    config: Path,
    run: str,
    name: str,
    records: list[str],
    *settings: str,
    attributes: bool = False,
    predict: bool = True,
) -> Path:
    """Train a scores stage from a run's described model and predict; the new run's predictions."""
    name = f"{run}-{name}"
    images = load_config(config).infer.images
    data = ", ".join(
        f"{{records: {file}, images: {images}, weight: {weight}}}" for file, weight in map(str.split, records)
    )
    stage = [f"data=[{data}]", f"start=runs/{run}/descriptions/model"]
    stage += [setting for setting in settings if not setting.startswith("readout")]
    overrides = [f"run={name}", *(f"stages.scores.{setting}" for setting in stage)]
    overrides += [setting for setting in settings if setting.startswith("readout")]
    overrides += ["infer.attributes=trained"] if attributes else []
    command = [sys.executable, "-m", "artquant"]
    steps = [["train", "--config", str(config), "--stage", "scores"], ["infer", "--config", str(config)]]
    for step in steps if predict else steps[:1]:
        subprocess.run([*command, *step, *overrides], check=True, stdout=sys.stderr)
    return Path("runs") / name / PREDICTIONS


def one_text(meta: Path) -> Path:
    """The demo's score records with all attributes in one text."""
    out = meta.parent / "score_tokens"
    if not out.exists():
        command = [sys.executable, "-m", "artquant", "prepare", "generic", "--train", str(meta / "score.json")]
        command += ["--out", str(out), "--range", "1,10", "--readout", "score_tokens"]
        command += ["--prompt", "artquant", "--subject", "painting"]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return out / "attributes.json"


def readouts(config: Path, run: str, meta: Path, few: bool) -> dict[str, Path]:
    """Predictions by what made them."""
    score, attributes = f"{meta / 'score.json'} 1", f"{meta / 'attributes.json'} 1"
    found = {
        "rating words": Path("runs") / run / PREDICTIONS,
        "score tokens, smooth L1 1, text 0.05": trained(config, run, "tokens", [score], TOKENS, losses(0.05, 1, 0)),
    }
    if few:
        return found
    thrice, all_in_one = f"{meta / 'score.json'} 3", f"{one_text(meta)} 1"
    words = (WORDS_OF_ALL, "epochs=2")
    return found | {
        "score tokens, paper (smooth L1 1, text 1)": trained(config, run, "paper", [score], TOKENS, losses(1, 1, 0)),
        "score tokens, script (CE 10, text 1)": trained(config, run, "script", [score], TOKENS, losses(1, 0, 10)),
        "rating words, ten attributes packed": trained(
            config, run, "packed", [thrice, attributes], *words, attributes=True
        ),
        "score tokens, ten attributes in one text": trained(
            config, run, "one-text", [score, all_in_one], TOKENS, losses(1, 1, 0), attributes=True
        ),
    }


def figures(predictions: Path, truth: Path) -> tuple[Metrics, float | None]:
    """Of the total, and the mean SRCC over the attributes."""
    joined = join_files(predictions, truth)
    each = [evaluate_scores(*pair, bootstrap=0).SRCC.value for pair in joined.attributes.values()]
    return evaluate_scores(joined.predicted, joined.truth), float(np.mean(each)) if each else None


def main(few: bool, seeds: list[int]) -> None:
    """Run what is missing and print the table."""
    rows: dict[str, list[tuple[Metrics, float | None]]] = {}
    for seed in seeds:
        options = ["--network", "internvl"] if few else []
        subprocess.run(["sh", "scripts/demo.sh", *options, str(seed)], check=True, stdout=sys.stderr)
        name = "demo" if seed == 0 else f"demo-{seed}"
        run = name + ("-internvl" if few else "")
        config = Path("runs") / run / CONFIG_FILE
        meta = load_config(config).infer.records.parent
        for readout, predictions in readouts(config, run, meta, few).items():
            rows.setdefault(readout, []).append(figures(predictions, meta / "test.json"))
    print_table(rows, seeds)


def print_table(rows: dict[str, list[tuple[Metrics, float | None]]], seeds: list[int]) -> None:
    """Figures of each readout, seed by seed, as a Markdown table."""
    print(f"| readout | {' | '.join(f'seed {seed}' for seed in seeds)} | mean SRCC | mean PLCC | attributes |")
    print("| --- |" + " --- |" * (len(seeds) + 3))
    for readout, found in rows.items():
        cells = [f"{one.SRCC.value:.3f} [{one.SRCC.low:.3f}, {one.SRCC.high:.3f}]" for one, _ in found]
        means = [f"{np.mean([one.estimates()[name].value for one, _ in found]):.3f}" for name in ("SRCC", "PLCC")]
        known = [mean for _, mean in found if mean is not None]
        print(
            f"| {readout} | {' | '.join((*cells, *means))} | {f'{np.mean(known):.3f}' if known else ''} |", flush=True
        )


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if argument != "--internvl"]
    main("--internvl" in sys.argv[1:], [int(seed) for seed in given] or [0, 1, 2])

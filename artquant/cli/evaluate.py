"""`artquant eval`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from artquant.config.load import load_config
from artquant.errors import ArtQuantError


def run(arguments: argparse.Namespace) -> int:
    """Evaluate pairs of predictions and truth, given or those of a run's configuration."""
    from artquant.evaluate.report import as_record, format_table, run_evaluation

    pairs, out, bootstrap, logistic, weights = _settings(arguments)
    evaluations = run_evaluation(
        pairs,
        out,
        weights=weights,
        logistic=logistic,
        allow_missing=arguments.allow_missing,
        allow_extra=arguments.allow_extra,
        score_range=_range(arguments.score_range),
        bootstrap=bootstrap,
        seed=arguments.seed,
        plot=out is not None and not arguments.no_plot,
    )
    if arguments.json:
        print(json.dumps([as_record(evaluation) for evaluation in evaluations], indent=1))
    else:
        print(format_table(evaluations))
        if out is not None:
            print(f"written to {out}")
    return 0


def _range(values: list[float] | None) -> tuple[float, float] | None:
    if values is None:
        return None
    if len(values) != 2 or values[0] >= values[1]:
        raise ArtQuantError(f"--score-range takes two rising numbers, got {values}")
    return values[0], values[1]


def _settings(arguments: argparse.Namespace):
    pairs = list(zip(arguments.predictions, arguments.truth, strict=False))
    if len(arguments.predictions) != len(arguments.truth):
        raise ArtQuantError(
            f"give as many --truth as --predictions: {len(arguments.truth)} and {len(arguments.predictions)}"
        )
    bootstrap = 1000 if arguments.bootstrap is None else arguments.bootstrap
    if arguments.config is None:
        if not pairs:
            raise ArtQuantError("give --config, or --predictions and --truth")
        return pairs, arguments.out, bootstrap, arguments.logistic, arguments.weights
    from artquant.config.run_paths import EVALUATION, PREDICTIONS, run_folder

    config = load_config(arguments.config, arguments.overrides)
    folder = run_folder(config)
    pairs = pairs or [(folder / PREDICTIONS, Path(config.evaluate.truth or config.infer.records))]
    if arguments.bootstrap is None:
        bootstrap = config.evaluate.bootstrap
    logistic = arguments.logistic or config.evaluate.logistic
    weights = arguments.weights or dict(zip(config.levels.words, config.levels.weights, strict=True))
    return pairs, arguments.out or folder / EVALUATION, bootstrap, logistic, weights

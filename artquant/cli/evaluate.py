"""`artquant eval`."""

from __future__ import annotations

import argparse
from typing import Any

from artquant.cli import choices
from artquant.cli.arguments import named_scale, range_of, refuse_given
from artquant.cli.report import report_of_run, scored_pair
from artquant.cli.terminal import say, say_json
from artquant.config.load import load_config
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RATING_WORDS


def run(arguments: argparse.Namespace) -> int:
    """Evaluate pairs of predictions and truth, given or those of a run's configuration; or questions with choices."""
    if arguments.choices is not None:
        return choices.run(arguments)
    refuse_given(arguments, choices.ONLY_HERE, "goes with --choices, the file of questions")
    from artquant.evaluate.report import as_record, format_table, run_evaluation

    settings = _settings(arguments)
    evaluations = run_evaluation(
        **settings,
        allow_missing=arguments.allow_missing,
        allow_extra=arguments.allow_extra,
        seed=arguments.seed,
        plot=not arguments.no_plot,
    )
    if arguments.json:
        say_json([as_record(evaluation) for evaluation in evaluations], indent=1)
    else:
        say(format_table(evaluations))
        if settings["out"] is not None:
            say(f"written to {settings['out']}")
    if arguments.config is not None and not (arguments.no_report or arguments.json):
        report_of_run(load_config(arguments.config, arguments.overrides), evaluations, settings["out"], arguments.quiet)
    return 0


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is evaluated and how: from the configuration where there is one, the command line first."""
    truth = arguments.truth * (len(arguments.predictions) if len(arguments.truth) == 1 else 1)
    if len(arguments.predictions) != len(truth):
        raise ArtQuantError(
            f"give one --truth, or as many as --predictions: {len(truth)} and {len(arguments.predictions)}"
        )
    settings: dict[str, Any] = {
        "pairs": list(zip(arguments.predictions, truth, strict=True)),
        "out": arguments.out,
        "score_range": range_of(arguments.score_range, "--score-range"),
        "predicted_range": range_of(arguments.predicted_range, "--predicted-range"),
        "bootstrap": 1000 if arguments.bootstrap is None else arguments.bootstrap,
        "logistic": arguments.logistic,
    }
    words: tuple[str, ...] = RATING_WORDS
    if arguments.config is not None:
        words = _add_configured(settings, arguments)
    if not settings["pairs"]:
        raise ArtQuantError("give --config, or --predictions and --truth")
    if arguments.weights is not None:
        settings["scale"] = named_scale(words, arguments.weights)
    return settings


def _add_configured(settings: dict[str, Any], arguments: argparse.Namespace) -> tuple[str, ...]:
    """Add to the settings what the configuration says and the command line does not; its rating words."""
    from artquant.config.run_paths import EVALUATION, run_folder

    config = load_config(arguments.config, arguments.overrides)
    levels = config.levels.scale
    settings["pairs"] = settings["pairs"] or [scored_pair(config, arguments.config)]
    settings["out"] = arguments.out or run_folder(config) / EVALUATION
    settings["score_range"] = settings["score_range"] or config.infer.score_range or (levels.low, levels.high)
    settings["logistic"] = arguments.logistic or config.evaluate.logistic
    if arguments.bootstrap is None:
        settings["bootstrap"] = config.evaluate.bootstrap
    return levels.words

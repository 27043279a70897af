"""`artquant eval`."""

from __future__ import annotations

import argparse
from itertools import chain
from typing import TYPE_CHECKING, Any

from artquant.cli import choices, described, sets
from artquant.cli.arguments import named_scale, range_of, refuse_given
from artquant.cli.evaluate_options import LIST
from artquant.cli.report import report_of_run, scored_pair
from artquant.cli.terminal import say, say_json
from artquant.config.load import load_config
from artquant.config.schema import RunConfig
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RATING_WORDS

if TYPE_CHECKING:
    from artquant.evaluate.protocols import Protocol

_MODES = {"choices": choices.run, "sets": sets.run, "descriptions": described.run}


def run(arguments: argparse.Namespace) -> int:
    """Evaluate pairs of predictions and truth, given or those of a run's configuration; or one of the other modes."""
    for mode, evaluate in _MODES.items():
        if vars(arguments)[mode]:
            return evaluate(arguments)
    refuse_given(arguments, choices.ONLY_HERE, "goes with --choices, the file of questions")
    refuse_given(arguments, described.ONLY_HERE, "goes with --descriptions, the files of texts")
    if arguments.protocol == LIST:
        return _list_protocols(arguments)
    if arguments.protocol is None:
        refuse_given(arguments, ("mark",), "marks lists that are not a protocol's; name it with --protocol")
    return _evaluate(arguments)


def _evaluate(arguments: argparse.Namespace) -> int:
    from artquant.evaluate.protocols import PROTOCOLS
    from artquant.evaluate.report import as_record, format_table, run_evaluation

    protocol = None if arguments.protocol is None else PROTOCOLS[arguments.protocol]
    _take_settings(arguments)
    config = None if arguments.config is None else load_config(arguments.config, arguments.overrides)
    settings = _settings(arguments, config, protocol)
    evaluations = run_evaluation(
        **settings,
        threshold=arguments.threshold,
        protocol=protocol,
        mark=arguments.mark,
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
    if config is not None and not (arguments.no_report or arguments.json):
        report_of_run(config, evaluations, settings["out"], arguments.quiet)
    return 0


def _list_protocols(arguments: argparse.Namespace) -> int:
    """Every protocol with its figures."""
    from artquant.evaluate.protocols import PROTOCOLS, protocol_record, protocol_rows
    from artquant.evaluate.report import aligned

    refuse_given(arguments, choices.OF_SCORES, "is for predictions; leave it out with --protocol list")
    if arguments.json:
        say_json([protocol_record(one) for one in PROTOCOLS.values()], indent=1)
    else:
        say("\n".join(aligned(protocol_rows())))
    return 0


def _settings(arguments: argparse.Namespace, config: RunConfig | None, protocol: Protocol | None) -> dict[str, Any]:
    """What is evaluated and how: from the configuration where there is one, the command line first."""
    truth = arguments.truth * (len(arguments.predictions) if len(arguments.truth) == 1 else 1)
    if len(arguments.predictions) != len(truth):
        raise ArtQuantError(
            f"give one --truth, or as many as --predictions: {len(truth)} and {len(arguments.predictions)} (a "
            "configuration goes before them, or by --config)"
        )
    settings: dict[str, Any] = {
        "pairs": list(zip(arguments.predictions, truth, strict=True)),
        "out": arguments.out,
        "score_range": range_of(arguments.score_range, "--score-range"),
        "predicted_range": range_of(arguments.predicted_range, "--predicted-range"),
        "bootstrap": 1000 if arguments.bootstrap is None else arguments.bootstrap,
        "fits": [*chain(*arguments.fit), *([4] if arguments.logistic else [])],
    }
    words: tuple[str, ...] = RATING_WORDS
    if config is not None:
        words = _add_configured(settings, arguments, config)
    if not settings["pairs"]:
        raise ArtQuantError("give --config, or --predictions and --truth")
    if protocol is not None and settings["score_range"] is None:
        settings["score_range"] = protocol.forms[0].low, protocol.forms[0].high
    if arguments.weights is not None:
        settings["scale"] = named_scale(words, arguments.weights)
    return settings


def _take_settings(arguments: argparse.Namespace) -> None:
    """Settings (key=value) that stand after files are no files."""
    for files in (arguments.predictions, arguments.truth):
        settings = [file for file in files if "=" in str(file) and not file.exists()]
        if settings and arguments.config is None:
            raise ArtQuantError(
                f"{settings[0]}: no such file; key=value changes a configuration; name one with --config"
            )
        for one in settings:
            files.remove(one)
            arguments.overrides.append(str(one))


def _add_configured(settings: dict[str, Any], arguments: argparse.Namespace, config: RunConfig) -> tuple[str, ...]:
    """Add to the settings what the configuration says and the command line does not; its rating words."""
    from artquant.config.run_paths import EVALUATION, run_folder

    levels = config.levels.scale
    settings["pairs"] = settings["pairs"] or [scored_pair(config, arguments.config)]
    settings["out"] = arguments.out or run_folder(config) / EVALUATION
    settings["score_range"] = settings["score_range"] or config.infer.score_range or (levels.low, levels.high)
    settings["values"] = levels
    settings["fits"] += [4] if config.evaluate.logistic else []
    if arguments.bootstrap is None:
        settings["bootstrap"] = config.evaluate.bootstrap
    return levels.words

"""`artquant check`."""

from __future__ import annotations

import argparse
import os

from artquant.check.check import Options, run_check
from artquant.check.model import check_model
from artquant.check.report import EXAMPLES, as_dict, as_text, verdict
from artquant.check.sources import Inputs, inputs_from_config, inputs_from_files
from artquant.cli.arguments import named_scale, refuse_given
from artquant.cli.runs import load_run
from artquant.cli.terminal import say, say_json
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RATING_WORDS


def run(arguments: argparse.Namespace) -> int:
    """Check what a configuration or the command line names, or a model folder; status 1 if there are errors."""
    if arguments.config is not None and arguments.config.is_dir():
        return _check_model(arguments)
    options = Options(
        pictures=not arguments.no_pictures,
        duplicates=not arguments.no_duplicates,
        workers=(os.cpu_count() or 1) if arguments.workers is None else arguments.workers,
        coarse_side=arguments.small_side,
        progress=not arguments.quiet,
    )
    report = run_check(_inputs(arguments), options)
    if arguments.json:
        say_json(as_dict(report, arguments.strict), indent=1)
    else:
        say(as_text(report, arguments.strict, None if arguments.all else EXAMPLES))
    return 1 if verdict(report, arguments.strict) == "faulty" else 0


def _check_model(arguments: argparse.Namespace) -> int:
    refuse_given(arguments, ("overrides", "records", "test", "images", "weights"), "goes with records only")
    report = check_model(arguments.config)
    if arguments.json:
        say_json({"checked": str(report.folder), "faults": report.faults, "notes": report.notes}, indent=1)
        return 1 if report.faults else 0
    for line in (*report.faults, *(f"{report.folder}: {note}" for note in report.notes)):
        say(line)
    if report.faults:
        return 1
    compared = "" if report.files is None else f"{report.files} files are as they were written, "
    say(f"{report.folder}: {compared}{report.tensors} tensors hold finite numbers")
    return 0


def _inputs(arguments: argparse.Namespace) -> Inputs:
    listed = [*arguments.records, *arguments.test]
    if (arguments.config is None) == (not listed):
        raise ArtQuantError("give a configuration, or --records and --test with --images; not both, not neither")
    if arguments.config is not None:
        for name in ("images", "weights"):
            if vars(arguments)[name] is not None:
                raise ArtQuantError(f"--{name} goes with --records and --test; the configuration says it by itself")
        return inputs_from_config(str(arguments.config), load_run(arguments.config, arguments.overrides))
    scale = None if arguments.weights is None else named_scale(RATING_WORDS, arguments.weights)
    return inputs_from_files(arguments.records, arguments.test, arguments.images, scale)

"""`artquant matrix`."""

from __future__ import annotations

import argparse

from artquant.cli.terminal import say, say_json


def run(arguments: argparse.Namespace) -> int:
    """Compare all models of a folder on all data sets; print the table, draw it where that is asked for."""
    from artquant.compare.comparison import Settings
    from artquant.compare.matrix import run_matrix, truths_of
    from artquant.compare.models import named_files
    from artquant.compare.plot import draw_matrix, require_drawable
    from artquant.compare.tables import FORMATS, matrix_record

    if arguments.plot is not None:
        require_drawable(arguments.plot)
    settings = Settings(arguments.metric.upper(), arguments.bootstrap, arguments.permutations, arguments.seed)
    truths = truths_of(named_files(arguments.truth))
    matrix = run_matrix(arguments.folder, truths, settings, arguments.workers or 0)
    try:
        if arguments.plot is not None:
            draw_matrix(matrix, arguments.plot)
    finally:  # a full disk does not take what was computed
        if arguments.format == "json":
            say_json(matrix_record(matrix), indent=1)
        else:
            say(FORMATS[arguments.format](matrix))
    return 0

"""`artquant compare`."""

from __future__ import annotations

import argparse

from artquant.cli.arguments import range_of
from artquant.cli.terminal import say, say_json
from artquant.files.json_files import write_json


def run(arguments: argparse.Namespace) -> int:
    """Compare prediction files; print tables or JSON, write and draw what is asked for."""
    from artquant.compare.comparison import Settings, run_comparison
    from artquant.compare.models import named_files
    from artquant.compare.plot import draw_differences, require_drawable
    from artquant.compare.report import as_record, format_comparison, require_replaceable

    if arguments.plot is not None:
        require_drawable(arguments.plot)
    if arguments.out is not None:
        require_replaceable(arguments.out)
    comparison = run_comparison(
        named_files(arguments.predictions),
        arguments.truth,
        Settings(arguments.metric.upper(), arguments.bootstrap, arguments.permutations, arguments.seed),
        score_range=range_of(arguments.score_range, "--score-range"),
        by=arguments.by,
        attributes=arguments.attributes,
        groups=arguments.groups,
        most=arguments.most,
    )
    try:
        if arguments.out is not None:
            write_json(arguments.out, as_record(comparison))
        if arguments.plot is not None:
            draw_differences(comparison, arguments.plot)
    finally:  # a full disk does not take what was computed
        if arguments.json:
            say_json(as_record(comparison), indent=1)
        else:
            say(format_comparison(comparison))
    return 0

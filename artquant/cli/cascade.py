"""`artquant shard cascade`."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from artquant.cli.terminal import say, say_json


def run(arguments: argparse.Namespace) -> int:
    """Say what a first pass has cost."""
    from artquant.shards.cascade import as_text, judge_cascade

    found = judge_cascade(
        arguments.first, arguments.second, arguments.only, arguments.truth, arguments.bootstrap, arguments.seed
    )
    if arguments.json:
        say_json(asdict(found), indent=1)
    else:
        say(as_text(found))
    return 0

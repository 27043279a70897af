"""`artquant eval --descriptions`: files of descriptions, side by side."""

from __future__ import annotations

import argparse

from artquant.cli import choices
from artquant.cli.arguments import refuse_given
from artquant.cli.terminal import say, say_json
from artquant.errors import ArtQuantError

ONLY_HERE = ("references", "training")
_OTHER = tuple(name for name in choices.OF_SCORES if name != "truth")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate every file of descriptions."""
    from artquant.evaluate.descriptions import descriptions_record, evaluate_descriptions, format_descriptions

    refuse_given(arguments, (*_OTHER, "protocol", "out", "bootstrap"), "does nothing with --descriptions; leave it out")
    refuse_given(arguments, choices.ONLY_HERE, "goes with --choices, the file of questions")
    if len(arguments.truth) > 1:
        raise ArtQuantError("--descriptions takes one --truth, of all pictures")
    evaluations = evaluate_descriptions(
        arguments.descriptions, arguments.references, arguments.training, next(iter(arguments.truth), None)
    )
    if arguments.json:
        say_json([descriptions_record(one) for one in evaluations], indent=1, ensure_ascii=False)
    else:
        say(format_descriptions(evaluations))
    return 0

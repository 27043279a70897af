"""`artquant eval --sets`: the best and worst of sets of pictures, picked by predicted scores."""

from __future__ import annotations

import argparse

from artquant.cli import choices, described
from artquant.cli.arguments import refuse_given
from artquant.cli.terminal import say, say_json
from artquant.errors import ArtQuantError

_OTHER = tuple(name for name in choices.OF_SCORES if name != "predictions")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate every file of predictions on the sets."""
    from artquant.evaluate.sets import evaluate_sets, format_sets, read_scores, read_sets, sets_record

    refuse_given(arguments, (*_OTHER, "protocol", "out"), "does nothing with --sets; leave it out")
    refuse_given(arguments, choices.ONLY_HERE, "goes with --choices, the file of questions")
    refuse_given(arguments, ("descriptions", *described.ONLY_HERE), "is another evaluation; leave it out with --sets")
    if not arguments.predictions:
        raise ArtQuantError("--sets needs --predictions, the scores by which pictures are picked")
    sets = read_sets(arguments.sets)
    resamples = 1000 if arguments.bootstrap is None else arguments.bootstrap
    evaluations = [
        evaluate_sets(str(file), sets, read_scores(file), resamples, arguments.seed) for file in arguments.predictions
    ]
    if arguments.json:
        say_json([sets_record(one) for one in evaluations], indent=1)
    else:
        say(format_sets(evaluations))
    return 0

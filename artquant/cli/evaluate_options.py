"""Options of `artquant eval`: scores, questions with choices, sets of pictures, descriptions."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from artquant.cli.arguments import (
    AddCommand,
    Arguments,
    Commands,
    add_config,
    add_folder,
    comma_numbers,
    number,
    path,
    text,
    whole,
)
from artquant.config.requirements import LARGEST_BATCH, LARGEST_SEED

LIST = "list"  # in a protocol's place: shows them all
# As artquant.evaluate.protocols has them, which would load numpy for the help; a test holds them together.
PROTOCOL_NAMES = ("apddv2", "ava", "tad66k", "flickr-aes", "para", "koniq", "baid", "artimuse-10k")


def add_eval(commands: Commands, command: AddCommand) -> None:
    """The command; `command` adds it: its name, module and help."""
    parser = command(commands, "eval", "evaluate", "compare predictions with true scores")
    add_config(parser, required=False)
    add_scores(parser)
    _protocols(parser.add_argument_group("published test lists"))
    _choices(parser.add_argument_group("questions with choices A to D, instead of scores"))
    _sets(parser.add_argument_group("best and worst of sets of pictures, instead of scores"))
    _descriptions(parser.add_argument_group("descriptions, instead of scores"))


def add_scores(parser: Arguments) -> None:
    """What is read, how, and what is made of it."""
    add = parser.add_argument
    _files(add, "--predictions", "predictions file (one or several)")
    _files(add, "--truth", "records with gt_score (one for all, or one each)")
    add("--out", type=path, help="folder for metrics.json and plots; of --choices: file for the answered questions")
    add("--weights", type=comma_numbers, metavar="W,W,...", help="other scores of the rating words, best first")
    add(
        "--score-range",
        type=comma_numbers,
        metavar="LO,HI",
        help="range of valid scores (default: of the configuration, or the protocol's)",
    )
    add(
        "--predicted-range",
        type=comma_numbers,
        metavar="LO,HI",
        help="of the predictions, to be mapped onto --score-range",
    )
    add("--bootstrap", type=whole(0), help="resamples for the intervals (default 1000; of --choices: 0, Wilson's)")
    add("--seed", type=whole(0, LARGEST_SEED), default=0, help="of the resamples (default %(default)s)")
    add(
        "--fit",
        type=fits,
        action="extend",
        nargs="+",
        default=[],
        metavar="3|4|5",
        help="also after this logistic fit (or 3,4,5)",
    )
    add("--logistic", action="store_true", help="also after the four-parameter logistic fit (--fit 4)")
    add("--threshold", type=number, metavar="SCORE", help="also how often predictions are on the right side of it")
    add("--allow-missing", action="store_true", help="pictures without a prediction are left out")
    add("--allow-extra", action="store_true", help="predictions without a truth are left out")
    add("--no-plot", action="store_true", help="no scatter plots")
    add("--no-report", action="store_true", help="no page about the run (artquant report)")
    add("--json", action="store_true", help="print JSON instead of a table")


def _protocols(group: Arguments) -> None:
    add = group.add_argument
    add(
        "--protocol",
        choices=(*PROTOCOL_NAMES, LIST),
        metavar="NAME",
        help=f"{', '.join(PROTOCOL_NAMES)}; {LIST} shows their figures",
    )
    add("--mark", action="store_true", help="also a list that is not the protocol's, its figures marked")


def _choices(group: Arguments) -> None:
    add = group.add_argument
    add("--choices", type=path, metavar="JSON", help="list of image, question, answer and answer_NAME, one for a model")
    add(
        "--by",
        type=text,
        action="append",
        default=[],
        metavar="FIELD",
        help="also by this field of the records (repeatable)",
    )
    add_folder(group, required=False)
    add("--images", type=path, metavar="DIR", help="with --model: folder of the pictures")
    add("--batch-size", type=whole(1, LARGEST_BATCH), help="with --model: questions at a time (default 8)")
    add("--workers", type=whole(0, 1024), help="with --model: processes that read pictures (default: 2 beside a GPU)")
    add("--skip-unreadable", action="store_true", help="with --model: go on after a picture that cannot be read")


def _sets(group: Arguments) -> None:
    group.add_argument(
        "--sets", type=path, metavar="FILE", help="JSON lines of id, pictures, best, worst; with --predictions"
    )


def _descriptions(group: Arguments) -> None:
    add = group.add_argument
    _files(add, "--descriptions", "what describe --json wrote, or records with texts; several side by side")
    add("--references", type=path, metavar="FILE", help="people's texts of the pictures, for overlap figures (weak)")
    add("--training", type=path, metavar="FILE", help="texts with scores, from which reading a score is learned")


def _files(add: Callable[..., argparse.Action], flag: str, help: str) -> None:
    """An option that takes one or several files and may be repeated."""
    add(flag, type=path, action="extend", nargs="+", default=[], metavar="FILE", help=help)


def fits(said: str) -> tuple[int, ...]:
    """Numbers of parameters between commas: 3, 4 or 5."""
    return tuple(whole(3, 5)(part) for part in said.split(","))

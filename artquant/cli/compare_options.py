"""Options of `artquant compare` and `artquant matrix`."""

from __future__ import annotations

import argparse

from artquant.cli.arguments import AddCommand, Commands, comma_numbers, path, text, whole
from artquant.config.requirements import LARGEST_SEED


def add_comparisons(commands: Commands, command: AddCommand) -> None:
    """Both commands; `command` adds one: its name, module and help."""
    _compare(command(commands, "compare", "compare", "tell which of several models is better on the same pictures"))
    _matrix(command(commands, "matrix", "matrix", "compare many models on many data sets"))


def _compare(compare: argparse.ArgumentParser) -> None:
    add = compare.add_argument
    add(
        "--predictions",
        type=text,
        action="extend",
        nargs="+",
        required=True,
        metavar="[NAME=]FILE",
        help="predictions files of two models or more (default name: the file's, or its folder's of equal ones)",
    )
    add("--truth", type=path, required=True, metavar="FILE", help="records with gt_score, of just these pictures")
    _figures(compare, ("srcc", "plcc", "krcc", "mae"))
    add("--score-range", type=comma_numbers, metavar="LO,HI", help="refuse scores outside it")
    add("--by", type=text, metavar="KEY", help="also for each value of a key of the truth's records or categories")
    add("--attributes", action="store_true", help="also for each attribute that all predict and the truth rates")
    add(
        "--groups",
        type=text,
        metavar="KEY",
        help="pictures with the same value of a key are drawn and swapped together",
    )
    add("--most", type=whole(0, 1000), default=5, help="pictures listed on which two differ most (default %(default)s)")
    add("--out", type=path, metavar="FILE", help="write everything as JSON")
    add("--plot", type=path, metavar="PNG", help="draw the differences with their intervals")
    add("--json", action="store_true", help="print JSON instead of tables")


def _matrix(matrix: argparse.ArgumentParser) -> None:
    add = matrix.add_argument
    add(
        "folder",
        type=path,
        metavar="FOLDER",
        help="holds MODEL/DATASET.jsonl or MODEL/DATASET/predictions.jsonl",
    )
    add(
        "--truth",
        type=text,
        action="extend",
        nargs="+",
        required=True,
        metavar="[DATASET=]FILE",
        help="records with gt_score of each data set, or a folder of such files",
    )
    _figures(matrix, ("srcc", "plcc", "mae"))
    add("--workers", type=whole(1, 1024), help="processes (default: one per core)")
    add(
        "--format",
        choices=("text", "markdown", "latex", "csv", "json"),
        default="text",
        help="of the table (default %(default)s)",
    )
    add("--plot", type=path, metavar="PNG", help="draw it as a heat map")


def _figures(command: argparse.ArgumentParser, metrics: tuple[str, ...]) -> None:
    add = command.add_argument
    add("--metric", choices=metrics, default="srcc", help="what is compared (default %(default)s)")
    add(
        "--bootstrap",
        type=whole(0),
        metavar="N",
        help="resamples for the intervals (default 1000" + ("; of long krcc fewer)" if "krcc" in metrics else ")"),
    )
    add("--permutations", type=whole(1), metavar="N", help="of a verdict (default: 100 for each pair, 2000 at least)")
    add("--seed", type=whole(0, LARGEST_SEED), default=0, help="of both (default %(default)s)")

"""Options about the pictures of collections, and what is made of them."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING

from artquant.cli.arguments import path, refuse_given, whole
from artquant.config.requirements import DRAFT_SIDES, USUAL_BATCH
from artquant.listing.columns import Columns

if TYPE_CHECKING:
    from artquant.listing.only import Only

BATCH_SIZE = f"pictures per forward pass (default: by a GPU's memory, else {USUAL_BATCH})"
INPUTS = (
    "pictures, folders, patterns ('DIR/**/*.png'), lists (.json .jsonl .txt .csv .tsv .parquet: of paths, or with the "
    "pictures), .tar archives"
)


def add_columns(command: argparse.ArgumentParser) -> None:
    """Which columns of tables are meant."""
    command.add_argument(
        "--columns",
        type=_columns,
        default=Columns(),
        metavar="WHAT=NAME,...",
        help="of tables, where they are not called as usual: path, id, gt_score, picture (that holds the pictures)",
    )


def add_only(command: argparse.ArgumentParser) -> None:
    """Some pictures alone: the second pass of a cascade."""
    add = command.add_argument
    add("--only", type=path, metavar="IDS", help="score these alone: what --where has written (or a table with ids)")
    add("--sample", type=whole(1), metavar="N", help="with --only: also N of the others, drawn at random")


def given_only(arguments: argparse.Namespace) -> Only | None:
    """What `add_only`'s options say. Raises ArtQuantError: the ids cannot be read, or there are none."""
    from artquant.listing.only import Only

    if arguments.only is None:
        refuse_given(arguments, ("sample",), "is drawn of the pictures that --only leaves out; name those to keep")
        return None
    return Only(arguments.only, arguments.sample or 0)


def add_draft(command: argparse.ArgumentParser) -> None:
    """How JPEGs are decoded."""
    help = "decode JPEGs at 1/2, 1/4 or 1/8, no side below so many: faster, scores move a little (default: in full)"
    command.add_argument("--draft-to", type=whole(*DRAFT_SIDES), metavar="PIXELS", help=help)


def add_collection(command: argparse.ArgumentParser) -> None:
    """Inputs, output and what is done about pictures that cannot be read."""
    add = command.add_argument
    add("--records", type=path, nargs="+", action="extend", metavar="INPUT", help=INPUTS)
    add("--images", type=path, help="folder of the lists' pictures (default: each list's own)")
    add_columns(command)
    add_draft(command)
    add("--out", type=path, help="predictions file: .jsonl, .csv or .parquet")
    add("--where", type=str, metavar="CONDITION", help="write the ids alone where it holds, such as 'score > 7'")
    add_only(command)
    unreadable = command.add_mutually_exclusive_group()
    unreadable.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="go on after a picture that cannot be read (default, but for JSON records)",
    )
    unreadable.add_argument("--strict", action="store_true", help="stop at a picture that cannot be read")


def _columns(said: str) -> Columns:
    given: dict[str, str] = {}
    names = [one.name for one in fields(Columns)]
    for part in said.split(","):
        what, _, name = part.partition("=")
        if what.strip() not in names or not name.strip() or what.strip() in given:
            raise argparse.ArgumentTypeError(f"must be WHAT=NAME,... of {', '.join(names)}, each once; got {said!r}")
        given[what.strip()] = name.strip()
    return Columns(**given)

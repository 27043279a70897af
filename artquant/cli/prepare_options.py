"""Options of `artquant prepare`: how annotation files are read, which of their statements count, what answers say."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from artquant.cli.arguments import comma_names, comma_numbers, path, text
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import WORD_RULES

if TYPE_CHECKING:
    from artquant.prepare.annotation import Split
    from artquant.prepare.columns import Columns
    from artquant.prepare.split_lists import Lists
    from artquant.prepare.table_form import TableForm

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def add_choices(command: argparse.ArgumentParser) -> None:
    """The answers' rating word, and statements of the files that are left unused."""
    add = command.add_argument
    add(
        "--word",
        choices=WORD_RULES,
        default=WORD_RULES[0],
        help="rating word of the answers: the target's likeliest (default), or by ArtQuant's published rule",
    )
    add("--ignore-split", action="store_true", help="the files' own splits (columns, published split files) are unused")
    add("--ignore-std", action="store_true", help="the files' standard deviations are unused")


def add_reading(command: argparse.ArgumentParser) -> None:
    """Options about files, columns and ratings."""
    _files(command)
    add = command.add_argument_group("columns (CSV) or keys (JSON)").add_argument
    for name in ("image", "score", "std", "comment", "split"):
        add(f"--{name}-column", type=text, metavar="NAME", help=f"column of the {name}")
    add("--attribute-columns", type=comma_names, metavar="A,B,...", help="columns of attribute scores, or NAME=COLUMN")
    add("--category-columns", type=comma_names, metavar="KIND=A,...", help="columns of form, style, subject, ...")
    add(
        "--vote-columns",
        type=comma_names,
        metavar="A,B,...",
        help="columns that count votes, lowest first; or one that holds lists of them",
    )
    add("--vote-values", type=comma_numbers, metavar="V,V,...", help="their values (default: evenly over the range)")
    add("--image-suffix", type=text, metavar="TEXT", help="added to image names (ava: .jpg)")
    add("--image-name", type=text, metavar="PATTERN", help="names of several columns, such as {folder}/{file}.png")
    add(
        "--clean-names",
        action="store_true",
        help="image names: no blanks around, / for \\, of a URL or absolute path its last part",
    )
    add = command.add_argument_group("what the values mean").add_argument
    add("--lower-is-better", action="store_true", help="as of DMOS: scores are turned over within the range")
    add(
        "--attribute-range",
        type=text,
        action="append",
        default=[],
        metavar="[NAME=]LO,HI",
        help="of an attribute, or of all, mapped onto that of the scores (repeatable; HI,LO: lower is better)",
    )
    add("--score-from-id", action="store_true", help="the score is what follows -> in id, as in Q-Align's records")
    add(
        "--per-rater",
        action="store_true",
        help="a row is one rating; their mean, deviation and votes are made",
    )
    add("--rater-column", type=text, metavar="NAME", help="the same, with the column that says who (repeats go)")
    add("--decimal-comma", action="store_true", help="numbers are written 3,14")
    add("--split-values", type=comma_names, metavar="V=train,...", help="what other values of the split column mean")


def _files(command: argparse.ArgumentParser) -> None:
    add = command.add_argument_group("form of the files").add_argument
    add("--encoding", type=text, help="of text (default: UTF-8; CSV that is not UTF-8: Latin-1)")
    add(
        "--delimiter",
        type=_delimiter,
        metavar="D",
        help="between columns: tab, blank, semicolon, equals, bar, or one character (default: comma)",
    )
    add("--no-header", action="store_true", help="the first row is data; columns are called 1, 2, ...")
    add("--sheet", type=text, metavar="NAME", help="of a workbook (.xlsx)")
    for split in _SPLITS:
        add(f"--{split}-names", type=path, metavar="FILE", help=f"list of the names or ids of the {split} pictures")
    add("--split-names", type=path, metavar="FILE", help='JSON object of such lists: {"train": [...], "test": [...]}')


def _delimiter(given: str) -> str:
    from artquant.prepare.table_form import DELIMITERS

    found = DELIMITERS.get(given.lower(), {"\\t": "\t"}.get(given, given))
    if len(found) != 1 or found in '\r\n"':
        raise argparse.ArgumentTypeError(f"one character, or one of {', '.join(DELIMITERS)}; got {given!r}")
    return found


def table_form(arguments: argparse.Namespace) -> TableForm:
    """The form of the files."""
    from artquant.prepare.table_form import TableForm

    return TableForm(arguments.encoding, arguments.delimiter, not arguments.no_header, arguments.sheet)


def split_lists(arguments: argparse.Namespace) -> Lists:
    """The files that list the pictures of splits."""
    given: list[tuple[Any, Split | None]] = [(vars(arguments)[f"{split}_names"], split) for split in _SPLITS]
    return [(file, split) for file, split in [*given, (arguments.split_names, None)] if file is not None]


def named_columns(arguments: argparse.Namespace, usual: Columns) -> Columns:
    """The importer's columns with those that the user named; what the user names must be there."""
    from dataclasses import replace

    options = vars(arguments)
    roles = ("image", "score", "std", "comment", "split")
    changed: dict[str, Any] = {role: name for role in roles if (name := options[f"{role}_column"]) is not None}
    named = set(changed.values())
    if "score" in changed and "std" not in changed and usual.std and changed["score"] != usual.score:
        changed["std"] = None  # the usual deviation belongs to the usual score
    if arguments.attribute_columns:
        pairs = _pairs(arguments.attribute_columns, "--attribute-columns")
        changed["attributes"] = tuple(pairs)
        changed["attribute_columns"] = {name: column for name, column in pairs.items() if name != column}
    if arguments.vote_columns:
        changed["votes"] = arguments.vote_columns
        changed.setdefault("score", None)  # the mean of the votes
    if arguments.category_columns:
        changed["categories"] = _pairs(arguments.category_columns, "--category-columns")
        changed["joined_categories"] = None
    if arguments.image_suffix is not None:
        changed["suffix"] = arguments.image_suffix
    if arguments.image_name is not None and "{" not in arguments.image_name:
        raise ArtQuantError(f"--image-name names columns in braces, such as {{file}}.png; got {arguments.image_name!r}")
    if arguments.per_rater or arguments.rater_column:
        changed |= {"per_rater": True, "rater": arguments.rater_column}
    return replace(
        usual,
        **changed,
        optional=usual.optional - named,
        image_pattern=arguments.image_name,
        clean_names=arguments.clean_names,
        attribute_ranges=_ranges(arguments.attribute_range),
        lower_is_better=arguments.lower_is_better,
        split_values=_split_values(arguments.split_values or ()),
        score_from_id=arguments.score_from_id,
        decimal_comma=arguments.decimal_comma,
    )


def _pairs(given: Sequence[str], flag: str) -> dict[str, str]:
    """Names and their columns, of NAME=COLUMN or of a column that is called so."""
    split = [part.rpartition("=") for part in given]
    names = [name.strip() or column.strip() for name, _, column in split]
    if len(set(names)) < len(names):
        raise ArtQuantError(f"{flag} names {max(names, key=names.count)!r} twice; keep one")
    return {name: column.strip() for name, (_, _, column) in zip(names, split, strict=True)}


def _ranges(given: Sequence[str]) -> dict[str, tuple[float, float]]:
    ranges: dict[str, tuple[float, float]] = {}
    for entry in given:
        name, _, numbers = entry.rpartition("=")
        try:
            ends = comma_numbers(numbers)
        except argparse.ArgumentTypeError:
            ends = []
        if len(ends) != 2 or ends[0] == ends[1]:
            raise ArtQuantError(f"--attribute-range takes NAME=LO,HI or LO,HI, got {entry!r}")
        if name.strip() in ranges:
            raise ArtQuantError(f"--attribute-range gives {name.strip() or 'all'!r} twice; keep one")
        ranges[name.strip()] = (ends[0], ends[1])
    return ranges


def _split_values(given: Sequence[str]) -> dict[str, Split]:
    values: dict[str, Split] = {}
    for entry in given:
        value, _, name = entry.rpartition("=")
        split = next((split for split in _SPLITS if split == name.strip()), None)
        if split is None:
            raise ArtQuantError(f"--split-values takes VALUE=train, VALUE=validation or VALUE=test, got {entry!r}")
        values[value.strip()] = split
    return values

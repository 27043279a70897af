"""Splits that the files at hand say: published test pictures never become training pictures unnoticed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from artquant.prepare.annotation import PrepareError, Split
from artquant.prepare.columns import SPLIT_NAMES, Columns
from artquant.prepare.tables import Table

_GO_ON = "or go on without it (--ignore-split)"
_PART = r"(train(ing)?|trainval|val(id(ation)?)?|test(ing)?|dev(elopment)?|eval(uation)?|held[\W_]?out|holdout)"
# Usual names, whatever the values are (codes, say): "set", "data_split", "fold_id"; "is_test", "istrain", "test_flag".
_SPLIT_COLUMN = re.compile(r"(.*[\W_])?(split|subset|partition|phase|folds?)([\W_].*)?|set|datasplit")
_FLAG_COLUMN = re.compile(rf"(is|in|for)?[\W_]*{_PART}[\W_]*(set|flag|split)?")
_FLAGS = frozenset(("0", "1", "true", "false", "yes", "no", "y", "n", "t", "f", "x", "0.0", "1.0"))
_SPLIT_VALUE = re.compile(rf"{_PART}[\W_]*(set|split|data|\d+)?")  # "train", "test_set", "test1"
_MOST_CODES = 10  # different values of such a column


def split_files_beside(path: Path, names: Iterable[str]) -> list[Path]:
    """The files of these names in a file's folder and the folders in it (APDDv2's repository: `csvfiles/`)."""
    own = os.path.realpath(path)  # of a link that leads round to itself, too
    return [file for name in names for file in found_in(path.parent, name) if os.path.realpath(file) != own]


def found_in(folder: Path, name: str) -> list[Path]:
    """The files of a name in a folder, in the folders in it and in those in them."""
    inner = (*sorted(folder.glob(f"*/{name}")), *sorted(folder.glob(f"*/*/{name}")))
    return [path for path in (folder / name, *inner) if path.is_file()]


def require_split_files(files: Sequence[tuple[Path, Split | None]], published: Mapping[str, Split]) -> None:
    """Refuse files that are published as another split than they are given for, or whose split files are not used.

    Args:
        files: With the splits that the user names.
        published: Names of split files and which split each is.

    Raises:
        PrepareError: As said; with the option that would be right.
    """
    for path, split in files:
        own = published.get(path.name)
        if own is not None and split != own:
            raise PrepareError(f"{path}: is published as the {own} pictures; give it with --{own} FILE, {_GO_ON}")
        if split is None and not path.is_dir():
            require_none_beside(path, published, [file for file, _ in files])


def require_none_beside(path: Path, published: Mapping[str, Split], used: Sequence[Path] = ()) -> None:
    """Refuse a file of which no split is said while published split files lie there that are not used.

    Raises:
        PrepareError: Names one of them.
    """
    given = {os.path.realpath(file) for file in used}
    unused = [file for file in split_files_beside(path, published) if os.path.realpath(file) not in given]
    if unused:
        first = {published[file.name]: file for file in reversed(unused)}
        options = " ".join(f"--{split} {file}" for split, file in reversed(first.items()))
        raise PrepareError(f"{path}: the published splits lie there and are not used; give them ({options}), {_GO_ON}")


def require_split_columns(table: Table, columns: Columns, split: Split | None) -> None:
    """Refuse a table with a column that says splits and is not used, or says others than the user.

    Args:
        table: What was read.
        columns: Which column says what.
        split: The user's, of every row; None: none is named.

    Raises:
        PrepareError: Names column and record, and the option that would be right.
    """
    for name in table.columns:
        if name == columns.split:
            if split is not None:
                _require_agreement(table, columns, name, split, f"leave the split of the file out, {_GO_ON}")
        elif name not in columns.names and _says_splits(table, name):
            advice = f"use it with --split-column {name}, {_GO_ON}"
            if split is None:
                raise PrepareError(f"{table.path}: column {name!r} says splits and is not used; {advice}")
            _require_agreement(table, columns, name, split, advice)


def _require_agreement(table: Table, columns: Columns, column: str, split: Split, advice: str) -> None:
    meanings = {**SPLIT_NAMES, **{value.lower(): name for value, name in columns.split_values.items()}}
    others = [
        (number, row[column])
        for number, row in enumerate(table.rows, start=1)
        if row.get(column) is not None and meanings.get(_text(row[column])) != split
    ]
    if others:
        number, value = others[0]
        raise PrepareError(
            f"{table.where(number)}: is given for the split {split!r}, but column {column!r} says {str(value)[:100]!r} "
            f"({len(others)} of {table.source.records} records say another); {advice}"
        )


def _says_splits(table: Table, column: str) -> bool:
    values = (text for row in table.rows if row.get(column) is not None and (text := _text(row[column])))
    name = column.strip().lower()
    if _SPLIT_COLUMN.fullmatch(name):
        different = set(values)
        return 1 < len(different) <= _MOST_CODES or (bool(different) and all(map(_SPLIT_VALUE.fullmatch, different)))
    if _FLAG_COLUMN.fullmatch(name):
        return all(value in _FLAGS for value in values)
    first = next(values, None)
    return first is not None and bool(_SPLIT_VALUE.fullmatch(first)) and all(map(_SPLIT_VALUE.fullmatch, values))


def _text(value: object) -> str:
    return str(value).strip().lower()

"""Text with columns: CSV, other delimiters, no header, and AVA's columns between blanks."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from artquant.prepare.annotation import PrepareError
from artquant.prepare.table_form import BLANKS, TableForm, fields, hint_of_form

Rows = Callable[[], Iterator[dict[str, Any]]]  # the records from the first on, each time anew
AVA_COUNTS = tuple(str(value) for value in range(1, 11))  # names given to AVA's ten columns of counts
_SEEN = 20  # lines that a hint is made of


def delimited(path: Path, text: Callable[[], TextIO], form: TableForm) -> tuple[tuple[str, ...], Rows]:
    """Columns and records of a text.

    Args:
        path: For messages.
        text: The text from its start, each time anew; without translation of line ends.
        form: Delimiter, and whether the first row is a header.

    Raises:
        PrepareError: No row has columns. The records raise it where one has another number of columns than the first,
            or is not valid CSV.
    """

    def lines() -> Iterator[list[str]]:
        for number, line in enumerate(_lines(path, text(), form), start=0 if form.header else 1):
            if number == 0:
                continue
            if len(line) != len(columns):
                what = "the header has" if form.header else "the first has"
                raise PrepareError(
                    f"{path} record {number}: {len(line)} columns where {what} {len(columns)}; "
                    f"{text_hint(text, form) or 'correct the row'}"
                )
            yield line

    first = next(_lines(path, text(), form), None)
    if first is None:
        raise PrepareError(f"{path}: holds no records; check that this is the right file")
    columns = distinct(first) if form.header else tuple(str(place) for place in range(1, len(first) + 1))
    return columns, lambda: (dict(zip(columns, line, strict=True)) for line in lines())


def _lines(path: Path, text: TextIO, form: TableForm) -> Iterator[list[str]]:
    """The rows that are not empty, split into columns."""
    if form.delimiter == BLANKS:
        yield from filter(None, (fields(line, BLANKS) for line in text))
        return
    number = 0 if form.header else 1
    try:
        for line in csv.reader(text, delimiter=form.delimiter or ",", strict=True):
            if line:
                number += 1
                yield line
    except csv.Error as error:
        raise PrepareError(f"{path} record {number}: not valid CSV ({error}); correct the file") from None


def distinct(names: list[str]) -> tuple[str, ...]:
    """The names of columns; those that stand more than once with their places: "Brightness#3", "Brightness#20"."""
    count = Counter(names)
    return tuple(name if count[name] == 1 else f"{name}#{place}" for place, name in enumerate(names, start=1))


def text_hint(text: Callable[[], TextIO], form: TableForm) -> str:
    """As `hint_of_form`, of a text."""
    return hint_of_form([line for line, _ in zip(text(), range(_SEEN), strict=False)], form)


def is_ava(text: TextIO) -> bool:
    """Whether a text's first line with something in it has no comma."""
    return "," not in next((line for line in text if line.strip()), "")


def ava(path: Path, text: Callable[[], TextIO]) -> tuple[tuple[str, ...], Rows]:
    """Columns and records of AVA's form: index, image id, ten counts and any number of tags between blanks."""

    def rows() -> Iterator[dict[str, Any]]:
        for number, values in enumerate(filter(None, map(str.split, text())), start=1):
            if len(values) != len(columns):
                raise PrepareError(
                    f"{path} record {number}: {len(values)} columns between blanks instead of {len(columns)} (index, "
                    "image id, ten counts, tags); correct the row"
                )
            yield dict(zip(columns, values, strict=True))

    first = next(filter(None, map(str.split, text())), [])
    tags = len(first) - 2 - len(AVA_COUNTS)
    columns = tuple(chain(("index", "image_id"), AVA_COUNTS, (f"tag_{number}" for number in range(1, tags + 1))))
    return columns, rows

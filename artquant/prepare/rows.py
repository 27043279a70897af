"""From the records of a table to annotations."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace

from artquant.prepare.annotation import Annotation, PrepareError, Split
from artquant.prepare.columns import Columns
from artquant.prepare.image_names import has_suffix
from artquant.prepare.row import Row, listed_values
from artquant.prepare.tables import Table


def annotations_of(
    table: Table, columns: Columns, split: Split | None = None, vote_values: tuple[float, ...] | None = None
) -> Iterator[Annotation]:
    """The table's rows as annotations, one after the other.

    Args:
        table: What was read.
        columns: Which column says what.
        split: Of every row; None: what the split column says, if there is one.
        vote_values: The value of each vote column.

    Raises:
        PrepareError: A column is missing, or a value cannot be used; names file and record.
    """
    columns = _found_columns(table, columns)
    nested = table.is_typed and columns.records
    for number, row in enumerate(table.rows, start=1):
        yield Row(table.where(number), row, columns, nested).annotation(split, vote_values)


def require_decimal_commas(tables: Sequence[Table], columns: Columns) -> None:
    """Refuse `decimal_comma` where no number of the tables is written with one."""
    if not columns.decimal_comma:
        return
    named = (columns.score, columns.std, *map(columns.attribute_column, columns.attributes), *columns.votes)
    numbers = [name for name in named if name]
    if not any("," in str(row.get(name)) for table in tables for row in table.rows for name in numbers):
        raise PrepareError(f"{tables[0].path}: no number is written with a comma; leave out --decimal-comma")


def number_of_votes(table: Table, columns: Columns) -> int:
    """How many counts of votes the table has: its columns, or the length of the first list where one holds them."""
    if len(columns.votes) > 1:
        return len(columns.votes)
    nested = table.is_typed and columns.records and "votes" in table.columns
    listed = (listed_values(row.get(name)) for name in columns.votes or ("votes",) * nested for row in table.rows)
    return len(next(filter(None, listed), ()))


def _votes_alone(table: Table, columns: Columns) -> bool:
    """Whether records hold votes and, unasked, no score."""
    nested = table.is_typed and columns.records and "votes" in table.columns
    return nested and columns.score in columns.optional and columns.score not in table.columns


def _found_columns(table: Table, columns: Columns) -> Columns:
    """The columns as they are in the table: where it has votes and no score, the votes say it.

    Raises:
        PrepareError: One is missing.
    """
    if columns.score_from_id or _votes_alone(table, columns):
        columns = replace(columns, score=None)
    for name in columns.names:
        if name not in table.columns and (name not in columns.optional or name == columns.score):
            raise PrepareError(f"{table.path}: {_missing(name, table, columns)}")
    return columns


def _missing(name: str, table: Table, columns: Columns) -> str:
    """What is wrong where a column is not there, and what to do."""
    twice = [there for there in table.columns if there.rpartition("#")[0] == name]
    if twice:
        return f"{len(twice)} columns are called {name!r}; name the one that is meant by its place: {', '.join(twice)}"
    there = ", ".join(map(repr, table.columns))
    said = f"no column {name!r}; there are {there[:500]}"
    if table.hint:
        return f"{said}; {table.hint}"
    first = next(table.rows, {})
    if name == columns.score and "->" in str(first.get("id")):
        return f"{said}; the ids end in scores: --score-from-id takes them"
    if name in columns.votes:
        return f"{said}; name those that count votes with --vote-columns, lowest first"
    pictures = [there for there, value in first.items() if isinstance(value, str) and has_suffix(value.strip())]
    if name in columns.image_columns:
        if not pictures:
            return f"{said}; none holds names of pictures: is it the right file? if so, add --image-column NAME"
        return f"{said}; name the one of the pictures: --image-column {shlex.quote(pictures[0])}"
    same = [there for there in table.columns if there.strip().lower() == name.lower()]
    near = next(iter(difflib.get_close_matches(name, table.columns, n=1) or same), None)
    hint = f"did you mean {near!r}? " if near else ""
    return f"{said}; {hint}correct the file, or name the column with --score-column, --std-column, ..."

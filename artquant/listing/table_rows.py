"""Rows of tables: JSON, CSV with a header (commas, semicolons or tabs), parquet."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from artquant.data.fields import Fields, RecordError
from artquant.files.file_kinds import START
from artquant.files.json_files import decoded, lines_of
from artquant.files.json_stream import iterate_records
from artquant.files.opened import opened
from artquant.listing.columns import require_once
from artquant.listing.given import Kind, kind_of
from artquant.listing.parquet_files import open_table

DELIMITERS = ",;\t"
_BATCH = 4096  # rows that are held


def first_line(file: Path) -> str:
    """Of a text, without its end. Raises ArtQuantError: it is no UTF-8, or its lines end in carriage returns alone."""
    with opened(file) as stream:
        first = decoded(next(lines_of(stream, file), b""), file).strip("\r\n")
    if "\r" in first:
        raise RecordError(f"{file}: its lines end in carriage returns alone; save it with usual ends of lines (LF)")
    return first


def split_header(line: str, delimiter: str) -> list[str]:
    """The columns of a header; none, where it cannot be one."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a column of more than 128 KiB, or ends of lines in it
        return []


def csv_rows(file: Path, delimiter: str) -> Iterator[list[str]]:
    """The header of a CSV file, then its rows, each with as many columns; blank lines are passed over.

    Raises:
        ArtQuantError: a row has other columns or is no CSV, or there are none.
    """
    number = 0
    with opened(file) as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
        try:
            rows = csv.reader(text, delimiter=delimiter, strict=True)
            names = next(rows, [])
            yield names
            for number, row in enumerate((row for row in rows if row), start=1):
                if len(row) != len(names):
                    raise RecordError(
                        f"{file} record {number}: {len(row)} columns where the header has {len(names)}; correct the row"
                    )
                yield row
        except csv.Error as error:
            raise RecordError(f"{file} record {number + 1}: not valid CSV ({error}); correct the file") from None
        except UnicodeDecodeError:
            raise RecordError(f"{file} after record {number}: not UTF-8 text; save the file as UTF-8") from None
    if number == 0:
        raise RecordError(f"{file}: holds no records; check that it is complete")


def present(row: dict[str, Any]) -> dict[str, Any]:
    """A table's row, in which what is empty or no number is None."""
    return {name: None if _is_missing(value) else value for name, value in row.items()}


def _is_missing(value: Any) -> bool:
    return value == "" or (isinstance(value, float) and math.isnan(value))


def column_rows(file: Path, columns: Sequence[str]) -> Iterator[Fields]:
    """Some columns of a table, row by row; of JSON the records with all that they have.

    Raises:
        ArtQuantError: it is no table, is damaged, holds no rows or lacks a column.
    """
    kind = kind_of(file)
    if kind is Kind.JSON:
        for source, item in iterate_records(file):
            yield Fields(item, source)
    elif kind is Kind.PARQUET:
        with open_table(file) as table:
            _require(columns, table.names, file)
            for number, row in enumerate(table.rows(list(columns), _BATCH), start=1):
                yield Fields(present(row), f"{file} record {number}")
    else:
        delimiter = _delimiter(file, columns[0]) if kind is Kind.TEXT else None
        if delimiter is None:
            raise RecordError(f"{file}: no table with a column {columns[0]!r} (.jsonl, .csv, .parquet); name another")
        rows = csv_rows(file, delimiter)
        names = next(rows)
        _require(columns, names, file)
        for number, cells in enumerate(rows, start=1):
            yield Fields(present(dict(zip(names, cells, strict=True))), f"{file} record {number}")


def listed_ids(file: Path) -> Iterator[str]:
    """The ids of a list as `--where` writes it: a text of them, a line each, or a table with a column "id".

    Raises:
        ArtQuantError: as `column_rows`.
    """
    kind = kind_of(file)
    is_text = kind is Kind.TEXT or (kind is Kind.JSON and not _holds_objects(file))  # an id may begin with [ or {, too
    if not is_text or _delimiter(file, "id") is not None:
        for fields in column_rows(file, ("id",)):
            identity = fields.id()
            fields.refuse()
            yield identity
        return
    with opened(file) as stream:
        for number, line in enumerate(lines_of(stream, file), start=1):
            if line.strip():
                yield decoded(line, file, number).rstrip("\r\n")


def _holds_objects(file: Path) -> bool:
    """Whether JSON can be records: they begin with an object or a list of them."""
    with opened(file) as stream:
        start = stream.read(START).removeprefix(b"\xef\xbb\xbf")
    return re.match(rb"\s*(\[\s*)?\{\s*[\"}]", start) is not None


def _delimiter(file: Path, column: str) -> str | None:
    """Between the columns of a text; None: its first line names no such column."""
    line = first_line(file)
    return next((one for one in DELIMITERS if column in split_header(line, one)), None)


def _require(columns: Sequence[str], names: Sequence[str], file: Path) -> None:
    for name in columns:
        if name not in names:
            raise RecordError(f"{file}: no column {name!r} among {', '.join(map(repr, names))[:300]}; name another")
    require_once(names, columns, file)

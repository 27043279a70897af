"""Tables of pictures: CSV with a header, with commas, semicolons or tabs; parquet with paths or with the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from artquant.data.fields import Fields, RecordError
from artquant.data.images import has_picture_ending
from artquant.errors import visible
from artquant.listing.columns import Columns, require_once
from artquant.listing.entry import Entry
from artquant.listing.given import Reading
from artquant.listing.lists import Place, text_entries
from artquant.listing.parquet_files import open_table, path_within, picture_column
from artquant.listing.table_rows import DELIMITERS, csv_rows, first_line, present, split_header

_BATCH = 4096  # rows of names that are held


def text_or_table_entries(file: Path, reading: Reading) -> Iterator[Entry]:
    """A text that is a table, where its first line names a column of pictures; else names, one a line.

    Raises:
        ArtQuantError: it is not as described; or its columns have no names.
    """
    first = first_line(file)
    delimiter = _delimiter(first, reading.columns, file)
    return text_entries(file, reading) if delimiter is None else _csv_entries(file, reading, delimiter)


def _delimiter(line: str, columns: Columns, file: Path) -> str | None:
    """Between the columns of a header; None: it is none."""
    for delimiter in DELIMITERS:
        names = split_header(line, delimiter)
        if columns.path in names or (columns.path is None and columns.path_among(names, file) is not None):
            return delimiter
    if columns.path is not None:
        columns.path_among(split_header(line, DELIMITERS[0]), file)
    if any(delimiter in line for delimiter in DELIMITERS) and not has_picture_ending(line):
        raise RecordError(
            f"{file}: its first line names no column of pictures (image, path, ...): name it with --columns path=NAME; "
            "a list without columns holds names alone, one a line"
        )
    return None


def _csv_entries(file: Path, reading: Reading, delimiter: str) -> Iterator[Entry]:
    place, rows = Place(file, reading.images), csv_rows(file, delimiter)
    names = next(rows)
    read = _Row(names, reading.columns, file)
    for number, row in enumerate(rows, start=1):
        yield read.entry(dict(zip(names, row, strict=True)), number, place)


class _Row:
    """What the columns of a table say."""

    def __init__(self, names: list[str], columns: Columns, file: Path):
        self.file = file
        self.path = columns.path_among(names, file)
        self.id, self.gt_score = columns.id_among(names, file), columns.score_among(names, file)
        require_once(names, self.columns, file)

    @property
    def columns(self) -> list[str]:
        """Those that are read."""
        return [name for name in (self.path, self.id, self.gt_score) if name is not None]

    def entry(self, row: dict[str, Any], number: int, place: Place) -> Entry:
        """Of a row that names a picture's file."""
        fields, identity, gt_score = self.told(row, number)
        name = fields.text(self.path or "")
        fields.refuse()
        return place.entry(name, number, identity, gt_score)

    def told(self, row: dict[str, Any], number: int) -> tuple[Fields, str | None, float | None]:
        """Checked access to a row; its id and true score, where it has them."""
        item = present(row)
        fields = Fields(item, f"{self.file} record {number}")
        gt_score = None if self.gt_score is None else fields.number(self.gt_score)
        value = None if self.id is None else item[self.id]
        named = Fields({"id": value}, fields.source)
        identity = None if value is None else named.id()
        fields.refuse()
        named.refuse()
        return fields, identity, gt_score


def parquet_entries(file: Path, reading: Reading) -> Iterator[Entry]:
    """The rows of a parquet table: pictures in a column of bytes (or as `datasets` writes them), else their paths.

    Raises:
        ArtQuantError: pyarrow is not installed, the table is damaged, or which column is meant cannot be told.
    """
    with open_table(file) as table:
        picture = picture_column(table, reading.columns, file)
        read = _Row(table.plain, reading.columns, file)
        if picture is None and read.path is None:
            listed = ", ".join(map(repr, table.names))[:300]
            raise RecordError(
                f"{file}: no column of pictures or of their paths among {listed}; name it: --columns picture=NAME or "
                "path=NAME"
            )
        place = Place(file, reading.images)
        within = path_within(table, picture)
        wanted = read.columns + ([within] if within is not None and read.path is None else [])
        for number, row in enumerate(table.rows(wanted, _BATCH), start=1):
            if picture is None:
                yield read.entry(row, number, place)
                continue
            _, identity, gt_score = read.told(row, number)
            value = row.get(read.path) if read.path else (row.get(picture) or {}).get("path") if within else None
            path = visible(value) if isinstance(value, str) and value else f"{visible(file)}#{number}"
            yield Entry(identity or path, path, str(file), number - 1, None, gt_score)
    if not table.count:
        raise RecordError(f"{file}: holds no records; check that it is complete")

"""Parquet tables, read a part at a time. The library that reads them is optional."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

from artquant.data.fields import RecordError
from artquant.data.images import ImageError
from artquant.errors import ArtQuantError, one_line
from artquant.files.opened import opened
from artquant.listing.columns import Columns, require_once

EXTRA = "pip install 'artquant[tables]'"
_LARGEST_GROUP = 1 << 31  # bytes of pictures that are held at a time


class Table:
    """A parquet file that is open."""

    def __init__(self, file: Path, reader: Any):
        self._file, self._reader = file, reader
        self.count: int = reader.metadata.num_rows
        groups = range(reader.metadata.num_row_groups)
        self._ends = list(accumulate(reader.metadata.row_group(group).num_rows for group in groups))

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return list(self._reader.schema_arrow.names)

    @property
    def plain(self) -> list[str]:
        """Of the columns that hold one text or number a row."""
        import pyarrow.types as kinds

        def is_plain(kind: Any) -> bool:
            return not (kinds.is_nested(kind) or _is_bytes(kind))

        return [name for name in self.names if is_plain(self.type_of(name))]

    def type_of(self, name: str) -> Any:
        """A column's type, as pyarrow has it."""
        return self._reader.schema_arrow.field(name).type

    def rows(self, columns: list[str], batch: int) -> Iterator[dict[str, Any]]:
        """The values of some columns; of a struct's part, "COLUMN.PART"."""
        if not columns:
            yield from ({} for _ in range(self.count))
            return
        with _errors_named(self._file):
            for part in self._reader.iter_batches(batch, columns=columns, use_threads=False):
                yield from part.to_pylist()

    def group_of(self, row: int) -> tuple[int, int]:
        """Which group a row is in, and which of its rows it is."""
        group = bisect_right(self._ends, row)
        if group == len(self._ends):
            raise ArtQuantError(f"{self._file}: is shorter than it was when it was listed; start again")
        return group, row - (self._ends[group - 1] if group else 0)

    def group(self, number: int, column: str) -> Any:
        """The bytes of a group of rows, as an array of pyarrow's."""
        with _errors_named(self._file):
            described = self._reader.metadata.row_group(number)
            parts = [described.column(place) for place in range(described.num_columns)]
            held = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] == column)
            if held > _LARGEST_GROUP:
                raise ImageError(
                    f"{self._file}: a group of its rows holds {held >> 20} MiB of pictures; write it anew with smaller "
                    "ones (row_group_size=100)"
                )
            import pyarrow

            is_struct = pyarrow.types.is_struct(self.type_of(column))
            name = f"{column}.bytes" if is_struct else column
            found = self._reader.read_row_group(number, columns=[name], use_threads=False).column(column)
            found = found.combine_chunks()
            if len(found) != described.num_rows:
                raise ValueError(f"{len(found)} rows of a group of {described.num_rows}")
            return found.field("bytes") if is_struct else found


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


@contextmanager
def open_table(file: Path) -> Iterator[Table]:
    """A parquet file.

    Raises:
        RecordError: pyarrow is not installed, or the file is damaged.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise RecordError(f"{file}: is a parquet table, which takes pyarrow to read: {EXTRA}") from None
    with opened(file) as stream:
        with _errors_named(file):
            table = Table(file, parquet.ParquetFile(stream))
        require_once(table.names, table.names, file)
        yield table


@contextmanager
def _errors_named(file: Path) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, NotImplementedError) as error:
        raise RecordError(f"{file}: is a damaged parquet table ({one_line(error)}); download it again") from None


def picture_column(table: Table, columns: Columns, file: Path) -> str | None:
    """The column that holds pictures: the one whose type is that of `datasets`' images, else the one of bytes.

    Raises:
        RecordError: there are several, or the one that is named holds no bytes.
    """
    import pyarrow

    def holds(name: str, is_struct: bool) -> bool:
        kind = table.type_of(name)
        if is_struct and pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
        elif is_struct:
            return False
        return _is_bytes(kind)

    if columns.picture is not None:
        if columns.picture not in table.names or not any(holds(columns.picture, one) for one in (True, False)):
            raise RecordError(f"{file}: no column {columns.picture!r} of pictures; correct --columns picture=NAME")
        return columns.picture
    if columns.path is not None:
        return None
    for is_struct in (True, False):
        found = [name for name in table.names if holds(name, is_struct)]
        if len(found) > 1:
            listed = ", ".join(map(repr, found))
            raise RecordError(f"{file}: the columns {listed} may all hold pictures; say which: --columns picture=NAME")
        if found:
            return found[0]
    return None


def path_within(table: Table, picture: str | None) -> str | None:
    """The part of a column of pictures that holds their paths; None: it has none."""
    import pyarrow

    if picture is None or not pyarrow.types.is_struct(kind := table.type_of(picture)):
        return None
    return f"{picture}.path" if kind.get_field_index("path") >= 0 else None

"""The pictures of entries, read from wherever they lie."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from artquant.data.images import ImageError, load_image, read_image
from artquant.errors import ArtQuantError
from artquant.files.opened import WHOLE, read_whole
from artquant.listing.archives import member_bytes
from artquant.listing.columns import Columns
from artquant.listing.entry import Entry
from artquant.listing.parquet_files import open_table, picture_column

_GROUPS = 2  # of a table's rows that are held: a batch may begin in one and end in the next


def drafted(draft_to: int | None) -> dict[str, object]:
    """What is noted beside results of how their pictures were read; nothing where they were decoded in full."""
    return {} if draft_to is None else {"draft_to": draft_to}


class EntryReader:
    """A context that reads pictures, in any order, best in that of the entries; it holds parts of tables meanwhile.

    It may be used from several threads, and be sent to other processes.

    Args:
        columns: as `artquant.listing.entries.entries` was given them.
        draft_to: as of `artquant.data.images.load_image`.
    """

    def __init__(self, columns: Columns | None = None, draft_to: int | None = None):
        self._columns, self._draft_to = columns or Columns(), draft_to
        self._lock = threading.Lock()
        self._groups: dict[tuple[str, int], tuple[int, Any]] = {}  # first row and pictures, by table and group

    def __reduce__(self) -> tuple[type[EntryReader], tuple[Columns, int | None]]:
        return EntryReader, (self._columns, self._draft_to)

    def __enter__(self) -> EntryReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what is held."""
        self._groups.clear()

    def read(self, entry: Entry) -> Image.Image:
        """The picture, with the limits and messages of `artquant.data.images.load_image`.

        Raises:
            ImageError: it cannot be read in full; names the entry.
        """
        if entry.offset is None:
            record = None if entry.source is None else f"{entry.source} id {entry.id!r}"
            return load_image(entry.file, record, draft_to=self._draft_to)
        return read_image(self.read_bytes(entry), entry.name, draft_to=self._draft_to)

    def read_bytes(self, entry: Entry) -> bytes:
        """The picture's file as it is, of 256 MiB at most.

        Raises:
            ImageError: it cannot be read.
        """
        try:
            if entry.offset is None:
                return read_whole(entry.file)
            return self._row(entry) if entry.size is None else member_bytes(entry, WHOLE)
        except ImageError:
            raise
        except ArtQuantError as error:
            raise ImageError(f"cannot read picture {entry.name}: {error}") from None

    def _row(self, entry: Entry) -> bytes:
        with self._lock:
            value = self._value(entry)
            size = 0 if not value.is_valid else value.as_buffer().size
            if size > WHOLE:
                raise ImageError(f"cannot read picture {entry.name}: it has more than {WHOLE >> 20} MiB")
            if not size:
                raise ImageError(f"cannot read picture {entry.name}: the table holds nothing for it")
            return bytes(value.as_buffer())

    def _value(self, entry: Entry) -> Any:
        assert entry.offset is not None
        for (file, _), (first, held) in self._groups.items():
            if file == entry.file and first <= entry.offset < first + len(held):
                return held[entry.offset - first]
        with open_table(Path(entry.file)) as table:
            number, place = table.group_of(entry.offset)
            column = picture_column(table, self._columns, Path(entry.file))
            if column is None:
                raise ImageError(f"{entry.file}: holds no pictures any more; start again")
            while len(self._groups) >= _GROUPS:
                del self._groups[next(iter(self._groups))]
            held = table.group(number, column)
            self._groups[entry.file, number] = entry.offset - place, held
            return held[place]

"""Any inputs as one stream of pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from artquant.data.fields import RecordError
from artquant.errors import visible
from artquant.listing.archives import archive_entries
from artquant.listing.columns import Columns
from artquant.listing.entry import Entry
from artquant.listing.folders import folder_entries
from artquant.listing.given import Kind, Reading, expanded, kind_of
from artquant.listing.lists import json_entries
from artquant.listing.tables import parquet_entries, text_or_table_entries


def entries(
    given: Sequence[str | Path],
    images: Path | None = None,
    recursive: bool = True,
    columns: Columns | None = None,
    unique: bool = True,
) -> Iterator[Entry]:
    """The pictures of files, folders, patterns, lists, tables and archives, one after the other.

    What a file is, its content says. Of a folder and of an archive the id is the name within, where it is the only
    input; else the path with that of the input before it. Nothing is held but what tells ids apart.

    Args:
        given: names of files and folders, and patterns ("renders/**/*.png").
        images: what relative names in lists are relative to; None: the folder of each list.
        recursive: of folders also those in them.
        columns: names of a table's columns, where they are not the usual ones.
        unique: refuse an id that came before: about 80 bytes of memory for each picture. False: the caller sees to it.

    Raises:
        ArtQuantError: an input is missing, cannot be read, holds no picture or is not as described, where it is met;
            an id comes twice.
    """
    reading = Reading(images, recursive, columns or Columns(), alone=_is_alone(given))
    found = (entry for one in given for path in expanded(one) for entry in _of(path, reading))
    yield from _unique(found) if unique else found


def _is_alone(given: Sequence[str | Path]) -> bool:
    return len(given) == 1 and os.path.lexists(given[0])


def _of(path: Path, reading: Reading) -> Iterator[Entry]:
    kind = kind_of(path)
    if kind is Kind.PICTURE:
        name = visible(path)
        return iter([Entry(name, name, os.fspath(path))])
    return _READERS[kind](path, reading)


_READERS: dict[Kind, Callable[[Path, Reading], Iterator[Entry]]] = {
    Kind.FOLDER: folder_entries,
    Kind.JSON: json_entries,
    Kind.TEXT: text_or_table_entries,
    Kind.PARQUET: parquet_entries,
    Kind.TAR: archive_entries,
}


def _unique(found: Iterator[Entry]) -> Iterator[Entry]:
    seen: set[int] = set()
    for entry in found:
        digest = id_digest(entry.id)
        if digest in seen:
            where = entry.name if entry.source is None else f"{entry.source} (id {entry.id!r})"
            raise RecordError(f"{where}: the same id as a picture before it; give each its own, and each input once")
        seen.add(digest)
        yield entry


def id_digest(identity: str) -> int:
    """64 bits that stand for an id: of a hundred million ids, two agree with a probability of 0.03 %."""
    return int.from_bytes(hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")

"""Some pictures of a collection, by a file of ids such as `--where` writes, and a random sample of the others."""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from artquant.data.fields import RecordError
from artquant.errors import visible
from artquant.listing.entries import id_digest
from artquant.listing.entry import Entry
from artquant.listing.result_tables import unmarked
from artquant.listing.table_rows import listed_ids

_DRAW = b"artquant sample"  # the key: the same sample on every machine


def id_key(identity: str) -> int:
    """64 bits that stand for an id, whichever output it was written to: escaped, or with a ' before it."""
    return id_digest(visible(unmarked(identity)))


def draw_of(key: int) -> int:
    """The lot of a picture, of 64 random bits: a sample takes the smallest, so that a larger one holds a smaller."""
    return int.from_bytes(hashlib.blake2b(key.to_bytes(8, "big"), digest_size=8, key=_DRAW).digest(), "big")


def read_keys(file: Path) -> np.ndarray:
    """Keys of a file of ids, sorted, each once; 8 bytes an id.

    Raises:
        ArtQuantError: it cannot be read, or holds no ids.
    """
    keys = np.unique(np.fromiter(map(id_key, listed_ids(file)), np.uint64))
    if not len(keys):
        raise RecordError(f"{file}: holds no ids; no picture would be left")
    return keys


def unknown_ids(file: Path, unknown: np.ndarray, where: object) -> RecordError:
    """About ids of a file, by their keys, that are nowhere in a list; names the first."""
    keys = set(unknown.tolist())
    first = next(one for one in listed_ids(file) if id_key(one) in keys)
    count = f"{len(keys)} of its ids are" if len(keys) > 1 else "one of its ids is"
    return RecordError(f"{file}: {count} nowhere in {where} (first: {first!r}); name the inputs as they were then")


class Only:
    """Which pictures of a collection are wanted.

    Args:
        file: ids, which may come twice. sample: so many of the others, too, drawn at random.

    Raises:
        ArtQuantError: as `read_keys`.
    """

    def __init__(self, file: Path, sample: int = 0):
        self._file, self._sample = file, sample
        self._keys = read_keys(file)

    def of(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Those of the ids as they come; then the sample, which is held until the end, in the list's order as well.

        Raises:
            RecordError: at the end: an id is nowhere among them; or stands for two.
        """
        keys, met = self._keys.data, bytearray(len(self._keys))
        drawn: list[tuple[int, int, Entry]] = []  # a heap: the first is the next to go
        for number, entry in enumerate(entries):
            key = id_key(entry.id)
            place = bisect_left(keys, key)
            if place == len(keys) or keys[place] != key:
                if self._sample:
                    heapq.heappush(drawn, (-draw_of(key), -number, entry))
                    if len(drawn) > self._sample:
                        heapq.heappop(drawn)
                continue
            if met[place]:
                raise RecordError(f"{entry.name}: another picture of the list has this id; give each its own")
            met[place] = 1
            yield entry
        if not all(met):
            raise unknown_ids(self._file, self._keys[~np.frombuffer(met, bool)], "the list")
        yield from (entry for _, _, entry in sorted(drawn, key=lambda one: -one[1]))

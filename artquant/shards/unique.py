"""Whether every id of a collection is there once, in little memory: hashes on the disk, compared part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree
from types import TracebackType

import numpy as np

from artquant.errors import ArtQuantError

_PARTS = 128  # files, by the hash: any system opens as many at once; of 100 million ids each holds 6 MiB
_BUFFER = 1 << 9  # bytes, of each: little, but all of it is written or an error


class Seen:
    """A context: the ids of a collection; its folder goes when the block ends."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._opened = ExitStack()

    def __enter__(self) -> Seen:
        self._folder.mkdir()
        files = (self._folder / str(part) for part in range(_PARTS))
        self._parts = [self._opened.enter_context(file.open("w+b", buffering=_BUFFER)) for file in files]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()
        rmtree(self._folder, ignore_errors=True)

    def add(self, ids: Sequence[str]) -> None:
        """Take note of ids. Raises OSError: the disk is full."""
        hashes = np.fromiter(map(hash, ids), np.int64, len(ids))
        hashes = hashes[np.argsort(hashes % _PARTS, kind="stable")]
        ends = np.searchsorted(hashes % _PARTS, np.arange(1, _PARTS))
        for stream, part in zip(self._parts, np.split(hashes, ends), strict=True):
            stream.write(part.tobytes())

    def require_unique(self, again: Callable[[], Iterable[str]]) -> None:
        """Raise an ArtQuantError where an id was added twice; again: all of them once more, to tell equal hashes."""
        twice: set[int] = set()
        for stream in self._parts:
            stream.seek(0)
            hashes = np.fromfile(stream, np.int64)
            hashes.sort()
            twice.update(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        if not twice:
            return
        places: dict[str, int] = {}
        for place, id in enumerate(again(), 1):
            if hash(id) in twice and places.setdefault(id, place) != place:
                raise ArtQuantError(
                    f"pictures {places[id]} and {place} of the list have the same id {id!r}; give each its own"
                )

"""Whether every id of a collection is there once, in little memory: hashes on the disk, compared part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree
from types import TracebackType

import numpy as np

from artquant.errors import ArtQuantError

_PARTS = 64  # files, by the hash; of 100 million ids each holds 12 MiB


class Seen:
    """A context: the ids of a collection; its folder goes when the block ends."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._opened = ExitStack()

    def __enter__(self) -> Seen:
        self._folder.mkdir()
        self._parts = [
            self._opened.enter_context((self._folder / str(part)).open("w+b", buffering=0)) for part in range(_PARTS)
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()
        rmtree(self._folder, ignore_errors=True)

    def add(self, ids: Sequence[str]) -> None:
        """Take note of ids. Raises OSError: the disk is full."""
        hashes = np.fromiter(map(hash, ids), np.int64, len(ids))
        parts = hashes % _PARTS
        for part in np.unique(parts):
            self._parts[part].write(hashes[parts == part].tobytes())

    def require_unique(self, again: Callable[[], Iterable[str]]) -> None:
        """Raise an ArtQuantError where an id was added twice; again: all of them once more, to tell equal hashes."""
        twice: set[int] = set()
        for stream in self._parts:
            stream.seek(0)
            hashes = np.sort(np.frombuffer(stream.read(), np.int64))
            twice.update(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        if not twice:
            return
        places: dict[str, int] = {}
        for place, id in enumerate(again(), 1):
            if hash(id) in twice and places.setdefault(id, place) != place:
                raise ArtQuantError(
                    f"pictures {places[id]} and {place} of the list have the same id {id!r}; give each its own"
                )

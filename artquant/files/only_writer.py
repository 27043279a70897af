"""One process at a time on an output."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from artquant.errors import ArtQuantError


@contextmanager
def only_writer(path: Path | str) -> Iterator[None]:
    """Keep other processes that ask for the same away from a path until the block ends, or this process does.

    The lock is on a hidden file beside the path. It is the process's own: processes that it started to read pictures do
    not keep it when it is killed.

    Raises:
        ArtQuantError: another process has it, or its folder cannot be written.
    """
    path = Path(path)
    lock = path.with_name(f".{path.name}.lock")
    with _taken(lock, path):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _taken(lock: Path, path: Path) -> BinaryIO:
    """The lock's file, opened and locked; closing it, however that comes about, gives it back."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        stream = lock.open("wb")
    except OSError as error:
        raise ArtQuantError(f"{path}: cannot be written: {error.strerror}; check the folder") from None
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # One that ended between the two lines before has removed the file, and another may have made it anew.
        if os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
            return stream
    except (BlockingIOError, PermissionError, FileNotFoundError):  # the first two: another process has it
        pass
    except OSError as error:
        stream.close()
        raise ArtQuantError(f"{path}: cannot be locked: {error.strerror}; name an output on another disk") from None
    stream.close()
    raise ArtQuantError(f"{path}: another process is writing it; wait for that, or name another output file")

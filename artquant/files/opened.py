"""Opening a file that a user names: the one place, whatever is read of it.

Only regular files are opened: a pipe is waited for without end, and a device such as /dev/zero has none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from artquant.errors import ArtQuantError
from artquant.files.file_kinds import kind_of_file

WHOLE = 1 << 28  # bytes: the largest file that is read whole


class FileUnreadable(ArtQuantError):
    """A file that cannot be opened or read."""


@contextmanager
def opened(path: Path | str) -> Iterator[BinaryIO]:
    """A regular file, open for reading; what fails while it is read is an error that names it.

    Raises:
        FileUnreadable: It is missing, a folder, a pipe or a device, or not readable.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise FileUnreadable(f"{path}: cannot be read: it is a pipe or a device; name a regular file")
            yield stream
    except OSError as error:
        raise FileUnreadable(f"{path}: cannot be read: {error.strerror}; check the path") from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # else opening a pipe waits for somebody who writes


def read_whole(path: Path | str, most: int = WHOLE) -> bytes:
    """All of a file.

    Raises:
        FileUnreadable: As :func:`opened`, or it has more than so many bytes.
    """
    with opened(path) as stream:
        # With a number, so much is claimed at once, however small the file is.
        data = b"" if (is_large := os.fstat(stream.fileno()).st_size > most) else stream.read()
    if is_large or len(data) > most:
        raise FileUnreadable(f"{path}: has more than {most >> 10} KiB; check that it is the right file")
    return data


def looks_like(start: bytes) -> str:
    """What a file is, by how it begins, where it is one of those that are taken for text; else nothing."""
    kind = kind_of_file(start)
    return kind.name if kind else ""

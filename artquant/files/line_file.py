"""A JSON-lines file that a run appends to, through one descriptor, and goes on with after it was killed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from artquant.errors import ArtQuantError
from artquant.files.json_files import JsonError, decoded, json_text, parse_json
from artquant.files.unwritten import errors_named
from artquant.files.whole_folder import force_to_disk


class LineFile:
    """A context: what is there is read, looked at and only then changed; what is appended is on the disk at once.

    Args:
        path: the file; it is made with the first lines.
        first: key that every line begins with. A last line that is cut off and begins otherwise is not of a killed run.

    Raises:
        ArtQuantError: it is no regular file, or cannot be opened to be written.
    """

    def __init__(self, path: Path, first: str):
        self.path = path
        self._begin = f'{{"{first}": '.encode()
        self._handle = -1
        self._size = self._lines = self._cut = 0
        self._ending = b""  # that the last line lacks
        with errors_named(path), suppress(FileNotFoundError):
            self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK)
        if self._handle >= 0:
            if not stat.S_ISREG(os.fstat(self._handle).st_mode):
                self.close()
                raise ArtQuantError(f"{path}: is no regular file; name another output file")
            self._size = os.fstat(self._handle).st_size

    def __enter__(self) -> LineFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is there."""
        return self._size == 0

    def read(self) -> Iterator[tuple[int, Any]]:
        """Number (from 1) and value of each line; changes nothing. The last one may be cut off: it is passed over.

        Raises:
            ArtQuantError: a line is no JSON, or the last one is not of a killed run.
        """
        if self._handle < 0:
            return
        self._lines = self._cut = 0
        with os.fdopen(os.dup(self._handle), "rb") as stream:
            stream.seek(0)
            for number, line in enumerate(stream, start=1):
                try:
                    value = parse_json(decoded(line, self.path, number).rstrip("\r\n"), self.path, number)
                except JsonError as error:
                    begins = line.startswith(self._begin) or self._begin.startswith(line)
                    if line.endswith(b"\n") or not begins:
                        raise ArtQuantError(f"{error}, or name another output file") from None
                    self._cut = len(line)
                    return
                self._lines += 1
                self._ending = b"" if line.endswith(b"\n") else b"\n"
                yield number, value

    def mend(self) -> None:
        """After all lines were read: take the one away that a killed run was at, so that lines can follow."""
        with errors_named(self.path):
            if self._cut:
                self._require_unchanged()
                self._size -= self._cut
                os.ftruncate(self._handle, self._size)
            if self._ending:
                self._write(self._ending)
        self._cut, self._ending = 0, b""

    def clear(self) -> None:
        """Take all lines away."""
        if self._handle >= 0:
            with errors_named(self.path):
                os.ftruncate(self._handle, 0)
        self._size = self._lines = self._cut = 0
        self._ending = b""

    def append(self, values: Iterable[Any]) -> None:
        """Write values as whole lines.

        Raises:
            ArtQuantError: it cannot be written, or is not what was written before any more.
        """
        lines = [json_text(self.path, value).encode() + b"\n" for value in values]
        if lines:
            with errors_named(self.path):
                if self._handle < 0:
                    self._make()
                self._write(b"".join(lines))
            self._lines += len(lines)

    def finish(self) -> None:
        """See that the file holds what was read and written.

        Raises:
            ArtQuantError: it does not.
        """
        if self._handle < 0:
            return
        with errors_named(self.path):
            self._require_unchanged()
            found = place = 0
            while block := os.pread(self._handle, 1 << 20, place):
                found, place = found + block.count(b"\n"), place + len(block)
        if found != self._lines:
            raise self._changed()

    def _make(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._handle = os.open(self.path, flags, 0o666)
        except FileExistsError:
            raise self._changed() from None
        force_to_disk(self.path.parent)

    def _write(self, data: bytes) -> None:
        self._require_unchanged()
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._handle, left) :]
            os.fsync(self._handle)
        except OSError:  # a full disk took a part
            with suppress(OSError):
                os.ftruncate(self._handle, self._size)
            raise
        self._size += len(data)

    def _require_unchanged(self) -> None:
        held = os.fstat(self._handle)
        try:
            is_there = os.path.samestat(held, os.stat(self.path))
        except OSError:
            is_there = False
        if not is_there or held.st_size != self._size:
            raise self._changed()

    def _changed(self) -> ArtQuantError:
        return ArtQuantError(
            f"{self.path}: was deleted, emptied or changed by something else while it was written; see to that, then "
            "run the same command: it goes on with what is there"
        )

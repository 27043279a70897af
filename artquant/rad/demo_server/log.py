"""What became of every request, one JSON line each: written before the answer is sent, and kept if the server dies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from artquant.errors import ArtQuantError


class RequestLog:
    """Appends lines to a file; without one it does nothing."""

    def __init__(self, path: Path | None) -> None:
        """Raises ArtQuantError: the file cannot be written."""
        self._handle = None if path is None else _opened(path)

    def write(self, **fields: Any) -> None:
        """One line, in one write: a killed process leaves it whole. Raises ArtQuantError: it cannot be written."""
        if self._handle is None:
            return
        try:
            os.write(self._handle, json.dumps(fields).encode() + b"\n")
        except OSError as error:
            raise ArtQuantError(f"the server's log cannot be written: {error.strerror}") from None

    def __enter__(self) -> RequestLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)


def _opened(path: Path) -> int:
    if path.exists() and not path.is_file():
        raise ArtQuantError(f"{path}: is no file; name another for the log")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise ArtQuantError(f"{path}: cannot be written ({error.strerror}); name another file for the log") from None

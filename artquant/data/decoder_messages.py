"""What a picture library written in C says on standard error by itself, without a file's name; our error has it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class _StandardError:
    """Lets the process's standard error lead nowhere while pictures are decoded, in however many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_progress = 0
        self._kept: int | None = None

    @contextmanager
    def silenced(self) -> Iterator[None]:
        with self._lock:
            if self._in_progress == 0:
                self._kept = _led_nowhere()
            self._in_progress += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_progress -= 1
                if self._in_progress == 0 and self._kept is not None:
                    os.dup2(self._kept, 2)
                    os.close(self._kept)
                    self._kept = None


def _led_nowhere() -> int | None:
    """A copy of what standard error was; None where there is none."""
    with suppress(OSError):
        kept = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        return kept
    return None


STANDARD_ERROR = _StandardError()

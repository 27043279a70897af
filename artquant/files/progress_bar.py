"""How far a long piece of work has come, on stderr."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_SECONDS_IN_LOGS = 30.0  # between two states of a bar that are kept, where there is no terminal to paint them over


class _Progress(io.TextIOBase):
    """Standard error, as it is when it is written to; a bar that cannot be written ends no work."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()

    def fileno(self) -> int:
        return sys.stderr.fileno()  # whose width is the terminal's

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def progress_bar(
    name: str,
    unit: str,
    shown: bool = True,
    total: int | None = None,
    initial: int = 0,
    of: Iterable[Any] | None = None,
    leave: bool = True,
    delay: float = 0.0,
) -> tqdm:
    """A named bar; in a log, which keeps every state, a state each half minute.

    Args:
        unit: of what is counted, such as "image". total, initial: how many there are, and were done before.
        of: what is gone through, where the bar is to count by itself. leave: whether it stays when it is done. delay:
            seconds before it shows.
    """
    seconds = 0.1 if sys.stderr is not None and sys.stderr.isatty() else _SECONDS_IN_LOGS
    return tqdm(
        of,
        desc=name,
        unit=unit,
        disable=not shown,
        total=total,
        initial=initial,
        leave=leave,
        delay=delay,
        mininterval=seconds,
        maxinterval=max(10.0, seconds),
        file=_Progress(),
    )

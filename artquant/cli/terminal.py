"""The one place where commands write to the terminal."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import threading
import warnings
from typing import Any

from artquant.errors import ArtQuantError, one_line, visible


class OutputClosed(Exception):
    """Whoever read the output has seen enough, such as `head`."""


class VisibleFormatter(logging.Formatter):
    """Log lines as `say` writes."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, nothing in it that a terminal obeys."""
        return visible(super().format(record), keep="\n\t")


def set_up_streams() -> None:
    """Streams that were closed before the start lead nowhere; what the terminal's encoding lacks is escaped.

    Log lines that cannot be written end no work, and what Pillow wonders at in a file is not said without its name.
    """
    logging.raiseExceptions = False
    threading.excepthook = _say_of_thread
    warnings.filterwarnings("ignore", module=r"PIL\.")
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say_of_thread(failed: threading.ExceptHookArgs) -> None:
    """Of a library's thread that ended by itself, such as TensorBoard's writer on a full disk: the work goes on."""
    complain(f"artquant: warning: {type(failed.exc_value).__name__} in the background: {failed.exc_value}")


def say(*texts: object, flush: bool = False) -> None:
    """Write to standard output, a line for each text; control characters in names and texts are escaped.

    Raises:
        ArtQuantError: it cannot be written, such as to a full disk.
        OutputClosed: nobody reads it any more.
    """
    _write("".join(visible(text, keep="\n\t") + "\n" for text in texts), flush)


def say_json(value: Any, indent: int | None = None, ensure_ascii: bool = True, flush: bool = False) -> None:
    """Write a value as JSON; raises as `say`."""
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
    _write("".join(one if one in "\n" or one.isprintable() else f"\\u{ord(one):04x}" for one in text) + "\n", flush)


def finish() -> None:
    """Write what is still to be written; raises as `say`."""
    _write("", flush=True)


def complain(message: object) -> None:
    """Write a line to standard error; where that cannot be written, there is nobody to tell."""
    try:
        print(one_line(message, most=None), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _give_up("stderr")


def _write(text: str, flush: bool) -> None:
    try:
        sys.stdout.write(text)
        if flush:
            sys.stdout.flush()
    except BrokenPipeError:
        _give_up("stdout")
        raise OutputClosed from None
    except OSError as error:
        _give_up("stdout")
        raise ArtQuantError(f"standard output: cannot be written: {error.strerror}; check where it leads") from None


def _give_up(name: str) -> None:
    """Let a stream lead nowhere, so that nothing is left to be written when the process ends."""
    with contextlib.suppress(OSError, ValueError):  # it is none of the operating system's
        os.dup2(os.open(os.devnull, os.O_WRONLY), getattr(sys, name).fileno())

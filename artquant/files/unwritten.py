"""What goes wrong with writing, in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from artquant.errors import ArtQuantError, one_line


class Unwritten(ArtQuantError):
    """A file or folder that cannot be written."""


@contextmanager
def errors_named(path: Path | str, *kinds: type[Exception]) -> Iterator[None]:
    """Errors of the file system become one line about what is written, or about the file that the system names.

    Args:
        path: what is written.
        kinds: also what a library raises instead of an OSError.

    Raises:
        Unwritten: an OSError, or one of these.
    """
    caught: tuple[type[Exception], ...] = (OSError, *kinds)
    try:
        yield
    except ArtQuantError:
        raise
    except caught as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        named = error.filename if isinstance(error, OSError) else None
        if isinstance(named, str | bytes) and not _is_beside(Path(os.fsdecode(named)), Path(path)):
            raise Unwritten(f"{os.fsdecode(named)}: {reason}; check the file and its permissions") from error
        raise Unwritten(f"{path}: cannot be written: {reason}; check the folder and the free space") from error


def _is_beside(named: Path, path: Path) -> bool:
    """Whether a file lies where the path does, or on the way to it."""
    absolute, folder = Path(os.path.realpath(named)), Path(os.path.realpath(path)).parent
    return absolute.is_relative_to(folder) or folder.is_relative_to(absolute)

"""A folder that appears at once, when everything is in it and on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from artquant.errors import ArtQuantError
from artquant.files.only_writer import only_writer
from artquant.files.unwritten import errors_named


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder to write into, beside the target; it gets the target's name when the block ends without an error.

    Whatever an earlier writer left unfinished there is deleted first.

    Raises:
        ArtQuantError: the target is there already and not empty, another process is writing it, or it cannot be
            written.
    """
    real = Path(os.path.realpath(target))  # an empty folder that a link leads to is filled there
    partial = real.parent / f".{real.name}.partial"
    with only_writer(target), errors_named(target, SafetensorError):
        if os.path.lexists(real) and (not real.is_dir() or any(real.iterdir())):
            raise ArtQuantError(f"{target}: is there already; name a new folder or delete it")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            for file in partial.rglob("*"):
                force_to_disk(file)
            if real.exists():
                real.rmdir()
            os.replace(partial, real)
            force_to_disk(real.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def force_to_disk(path: Path) -> None:
    """Wait until a file's or folder's content is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""A folder that appears at once, when everything is in it and on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from artquant.errors import ArtQuantError


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder to write into, beside the target; it gets the target's name when the block ends without an error.

    Whatever an earlier writer left unfinished there is deleted first.

    Raises:
        ArtQuantError: the target is there already and not empty.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ArtQuantError(f"{target}: is there already; name a new folder or delete it")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for file in partial.rglob("*"):
            force_to_disk(file)
        if target.exists():
            target.rmdir()
        os.replace(partial, target)
        force_to_disk(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def force_to_disk(path: Path) -> None:
    """Wait until a file's or folder's content is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

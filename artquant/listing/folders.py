"""The pictures of a folder, in the order of their paths, a folder at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from artquant.data.images import ImageError, list_pictures, names_a_picture
from artquant.errors import visible
from artquant.listing.entry import Entry
from artquant.listing.given import Reading


def folder_entries(folder: Path, reading: Reading) -> Iterator[Entry]:
    """Pictures by their ending, hidden ones and links to folders left out, sorted by path.

    Raises:
        ImageError: it cannot be listed, or holds none.
    """
    found = False
    for name in _names(os.fspath(folder), "", reading.recursive):
        found = True
        path = os.path.join(folder, name)
        yield Entry(visible(name if reading.alone else path), visible(path), path)
    if not found:
        list_pictures(folder, reading.recursive)  # says so
        raise ImageError(f"{folder}: changed while it was listed; start again")


def _names(root: str, below: str, recursive: bool) -> Iterator[str]:
    """Paths within the root. Folders sort as their paths do, with the slash, so that no more than one level is held."""
    try:
        with os.scandir(os.path.join(root, below)) as listed:
            held = [(f"{one.name}/" if one.is_dir(follow_symlinks=False) else one.name) for one in listed]
    except OSError as error:
        raise ImageError(f"cannot list pictures in {error.filename}: {error.strerror}; check permissions") from None
    for name in sorted(held):
        if name.endswith("/"):
            if recursive and not name.startswith("."):
                yield from _names(root, below + name, recursive)
        elif names_a_picture(name):
            yield below + name

"""What a missing picture may be called instead."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from artquant.data.images import SUFFIXES


class SimilarNames:
    """Pictures beside a missing one whose names differ in capitals, the form of accents or the suffix.

    Each folder is listed once.
    """

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, str]] = {}

    def of(self, path: Path) -> str | None:
        """The name of such a picture in the same folder, if there is one."""
        if path.parent not in self._folders:
            self._folders[path.parent] = _listed(path.parent)
        return self._folders[path.parent].get(_plain(path.name))


def _listed(folder: Path) -> dict[str, str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    return {_plain(name): name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES}


def _plain(name: str) -> str:
    """A name without its suffix, if that is a picture's, and without what file systems treat differently."""
    stem, suffix = os.path.splitext(name)
    return unicodedata.normalize("NFC", stem if suffix.lower() in SUFFIXES else name).casefold()

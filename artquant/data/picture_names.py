"""What a folder calls a picture that a record names in another form.

Accents have two forms in Unicode, composed and decomposed, and copying between systems changes one into the other: the
same name. Other capitals or another suffix may be another picture: such a name is said, not taken.
"""

from __future__ import annotations

import os
import unicodedata
from itertools import islice
from pathlib import Path

from artquant.data.images import has_picture_ending

_MOST = 500_000  # files that are looked at for a hint


class PictureNames:
    """Looks names up in folders; a folder is listed once, and only when something is not there as it is named."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[str]]] = {}
        self._trees: dict[Path, list[Path]] = {}

    def path(self, folder: Path, name: str) -> Path:
        """Path of a file: as it is named, or as the one of this name whose accents are in the other form."""
        path = folder / name
        if not _has_forms(name) or os.path.exists(path):
            return path
        path = folder
        for part in Path(name).parts:
            path /= self._form(path, part)
        return path

    def _form(self, folder: Path, name: str) -> str:
        if not _has_forms(name) or os.path.exists(folder / name):
            return name
        same = [other for other in self._like(folder, name) if _composed(other) == _composed(name)]
        return same[0] if len(same) == 1 else name

    def hint(self, path: Path, root: Path | None = None) -> str:
        """The end of an error about a missing picture: one whose name is other in capitals, accents or suffix.

        Where there is none, and `root` is the folder of the pictures: one of such a name anywhere in it.
        """
        pictures = [name for name in self._like(path.parent, path.name) if has_picture_ending(name)]
        if pictures:
            return f"; there is {pictures[0]!r}"
        wanted = _plain(path.name)
        found = [] if root is None else [other for other in self._inside(root) if _plain(other.name) == wanted]
        if not found:
            return ""
        found.sort(key=lambda other: (other.name != path.name, other))
        return f"; there is {str(found[0])!r}: is {str(found[0].parent)!r} the folder of the pictures?"

    def _inside(self, root: Path) -> list[Path]:
        """The pictures in a folder and the folders in it."""
        if root not in self._trees:
            files = (Path(folder) / name for folder, _, names in os.walk(root) for name in names)
            self._trees[root] = [file for file in islice(files, _MOST) if has_picture_ending(file.name)]
        return self._trees[root]

    def _like(self, folder: Path, name: str) -> list[str]:
        if folder not in self._folders:
            listed: dict[str, list[str]] = {}
            try:
                for other in sorted(os.listdir(folder)):
                    listed.setdefault(_plain(other), []).append(other)
            except OSError:  # no such folder: nothing is in it
                pass
            self._folders[folder] = listed
        return self._folders[folder].get(_plain(name), [])


def _has_forms(name: str) -> bool:
    return not (unicodedata.is_normalized("NFC", name) and unicodedata.is_normalized("NFD", name))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _plain(name: str) -> str:
    """A name without its suffix, if that is a picture's, and without what file systems treat differently."""
    return _composed(os.path.splitext(name)[0] if has_picture_ending(name) else name).casefold()

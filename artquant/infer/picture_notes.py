"""Which content of its pictures an output is about, so that one that is replaced under its name is noticed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from artquant.data.fields import Fields
from artquant.errors import ArtQuantError
from artquant.files.line_file import LineFile
from artquant.files.opened import FileUnreadable, opened


@dataclass(frozen=True)
class PictureNote:
    """A picture's file as it was read."""

    size: int  # bytes
    modified: int  # nanoseconds
    blake2b: str  # of its content, 16 bytes in hexadecimal digits

    @classmethod
    def of(cls, path: Path) -> PictureNote | None:
        """Of a file as it is; None where it cannot be read."""
        try:
            state = os.stat(path)
            found = hashlib.blake2b(digest_size=16)
            with opened(path) as stream:
                while block := stream.read(1 << 20):
                    found.update(block)
        except (OSError, FileUnreadable):
            return None
        return cls(state.st_size, state.st_mtime_ns, found.hexdigest())

    def is_of(self, path: Path) -> bool:
        """Whether a file holds this still; contents are compared where size or time have changed."""
        try:
            state = os.stat(path)
        except OSError:  # no longer there, so it has no other content
            return True
        if (state.st_size, state.st_mtime_ns) == (self.size, self.modified):
            return True
        now = PictureNote.of(path)
        return now is None or now.blake2b == self.blake2b


def notes_file(out: Path) -> Path:
    """Where an output's notes lie."""
    return out.parent / (out.name + ".pictures.jsonl")


def read_notes(lines: LineFile) -> dict[str, PictureNote]:
    """The notes of earlier runs, by picture.

    Raises:
        ArtQuantError: the file holds something else.
    """
    notes = {}
    for number, line in lines.read():
        fields = Fields(line, f"{lines.path} line {number}")
        name = fields.text("picture")
        fields.refuse()
        try:
            notes[name] = PictureNote(**{key: value for key, value in line.items() if key != "picture"})
        except TypeError:
            raise ArtQuantError(f"{fields.name}: no note of a picture; name another output file") from None
    return notes


def note_lines(notes: Mapping[str, PictureNote | None]) -> list[dict[str, object]]:
    """As they are stored."""
    return [{"picture": name, **asdict(note)} for name, note in notes.items() if note is not None]


def require_same_pictures(out: Path, notes: Mapping[str, PictureNote], done: Mapping[str, Path]) -> None:
    """Refuse to go on where pictures (paths by the names of the notes) hold something else than when they were read.

    Raises:
        ArtQuantError: names the first of them.
    """
    other = [path for name, path in done.items() if name in notes and not notes[name].is_of(path)]
    if other:
        raise ArtQuantError(
            f"{out}: {len(other)} pictures were replaced since they were read (first: {other[0]}); name another "
            "output file or delete it"
        )

"""Which content of its pictures an output is about, so that one that is replaced under its name is noticed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from artquant.data.fields import Fields
from artquant.errors import ArtQuantError
from artquant.files.line_file import LineFile
from artquant.files.opened import opened
from artquant.listing.entry import Entry
from artquant.listing.open_entry import EntryReader


@dataclass(frozen=True)
class PictureNote:
    """A picture as it was read."""

    size: int  # bytes
    modified: int  # nanoseconds; of an archive's or a table's: the file that holds it
    blake2b: str  # of its content, 16 bytes in hexadecimal digits

    @classmethod
    def of(cls, entry: Entry, reader: EntryReader) -> PictureNote | None:
        """Of a picture as it is; None where it cannot be read."""
        found = hashlib.blake2b(digest_size=16)
        try:
            state = os.stat(entry.file)
            if entry.offset is not None:
                data = reader.read_bytes(entry)
                found.update(data)
                return cls(len(data), state.st_mtime_ns, found.hexdigest())
            with opened(entry.file) as stream:
                while block := stream.read(1 << 20):
                    found.update(block)
        except (OSError, ArtQuantError):
            return None
        return cls(state.st_size, state.st_mtime_ns, found.hexdigest())

    def is_of(self, entry: Entry, reader: EntryReader) -> bool:
        """Whether a picture holds this still; contents are compared where size or time of its file have changed."""
        try:
            state = os.stat(entry.file)
        except OSError:  # no longer there, so it has no other content
            return True
        if state.st_mtime_ns == self.modified and (entry.offset is not None or state.st_size == self.size):
            return True
        now = PictureNote.of(entry, reader)
        return now is None or now.blake2b == self.blake2b


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


def require_same_pictures(
    out: Path, notes: Mapping[str, PictureNote], done: Iterable[Entry], reader: EntryReader
) -> int:
    """Refuse to go on where pictures hold something else than when they were read; notes go by their ids.

    Returns:
        How many there are.

    Raises:
        ArtQuantError: names the first of them.
    """
    count, other, first = 0, 0, ""
    for entry in done:
        count += 1
        if entry.id in notes and not notes[entry.id].is_of(entry, reader):
            other, first = other + 1, first or entry.name
    if other:
        raise ArtQuantError(
            f"{out}: {other} pictures were replaced since they were read (first: {first}); name another output file "
            "or delete it"
        )
    return count

"""WebDataset's archives: pictures in tar files, beside JSON that tells about them. Nothing is unpacked."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from artquant.data.fields import Fields, RecordError
from artquant.data.images import ImageError, names_a_picture
from artquant.errors import ArtQuantError, one_line, visible
from artquant.files.opened import opened
from artquant.listing.entry import Entry
from artquant.listing.given import Reading

_BLOCK = tarfile.BLOCKSIZE
_LARGEST_TEXT = 1 << 20  # bytes of JSON about a picture


def archive_entries(file: Path, reading: Reading) -> Iterator[Entry]:
    """The pictures of a tar archive, by their ending, in the order in which they lie there.

    As WebDataset has it, members one after the other whose names agree up to the first dot are one sample: `id` and
    `gt_score` of its .json are taken where it has one picture. Captions (.txt) are left alone. Links are pictures that
    cannot be read.

    Raises:
        ArtQuantError: the archive is damaged or cut off (at the member where it is), or holds no pictures.
    """
    found = False
    with opened(file) as stream:
        for _, members in groupby(_members(stream, file), key=lambda member: _key(member.name)):
            for entry in _sample(list(members), stream, file, reading):
                found = True
                yield entry
    if not found:
        raise ImageError(f"{file}: holds no member whose name ends as a picture's; check the archive")


def _members(stream: BinaryIO, file: Path) -> Iterator[tarfile.TarInfo]:
    """Pictures, links that are called so, and JSON, by their headers alone."""
    size, end = os.fstat(stream.fileno()).st_size, 0
    try:
        with tarfile.open(fileobj=stream, mode="r:", errors="surrogateescape") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it keeps all that it has read
                end = archive.offset  # where the next one begins, of sparse ones too
                if end > size or member.size < 0:
                    raise RecordError(f"{file}: is cut off in {visible(member.name)!r}; download it again")
                if _is_wanted(member):
                    yield member
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise RecordError(f"{file}: is damaged or cut off ({one_line(error)}); download it again") from None
    _require_end(stream, end, file)


def _require_end(stream: BinaryIO, end: int, file: Path) -> None:
    """What `tarfile` takes for an end: a header that is damaged, too. Raises RecordError: members may follow."""
    stream.seek(end)
    if len(block := stream.read(_BLOCK)) < _BLOCK:
        raise RecordError(f"{file}: is cut off: it has no end mark; download it again")
    if any(block):
        raise RecordError(f"{file}: is damaged at byte {end}, what follows cannot be read; download it again")
    while block := stream.read(1 << 20):
        if block.strip(b"\0"):
            raise RecordError(f"{file}: more follows its end mark, as where archives were joined; name each by itself")


def _is_wanted(member: tarfile.TarInfo) -> bool:
    name = member.name.rpartition("/")[2]
    if names_a_picture(name):
        return member.isreg() or member.issym() or member.islnk()
    return member.isreg() and name.endswith(".json") and not name.startswith(".")


def _key(name: str) -> str:
    """What a sample's members have in common."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _sample(members: list[tarfile.TarInfo], stream: BinaryIO, file: Path, reading: Reading) -> Iterator[Entry]:
    pictures = [member for member in members if not member.name.endswith(".json")]
    told = [member for member in members if member.name.endswith(".json")]
    identity, gt_score = _told(told[0], stream, file) if len(told) == len(pictures) == 1 else (None, None)
    for member in pictures:
        name = visible(member.name)
        usual = name if reading.alone else f"{visible(file)}/{name}"
        size = member.size if member.isreg() and not member.issparse() else 0  # what is no plain file holds nothing
        yield Entry(identity or usual, name, os.fspath(file), member.offset_data, size, gt_score)


def _told(member: tarfile.TarInfo, stream: BinaryIO, file: Path) -> tuple[str | None, float | None]:
    """Id and true score in JSON about a picture, as far as it has them."""
    place, source = stream.tell(), f"{file}: {visible(member.name)}"
    stream.seek(member.offset_data)
    text = stream.read(min(member.size, _LARGEST_TEXT + 1))
    stream.seek(place)
    fields = Fields(_object(text), source)
    identity = None if fields.item.get("id") is None else fields.id()
    gt_score = fields.number("gt_score")
    fields.refuse()
    return identity, gt_score


def _object(text: bytes) -> Any:
    """JSON, where pandas may have written NaN; None: it is none."""
    try:
        return None if len(text) > _LARGEST_TEXT else json.loads(text)
    except (ValueError, RecursionError):
        return None


def member_bytes(entry: Entry, most: int) -> bytes:
    """What an archive's member holds.

    Raises:
        ArtQuantError: it is a link, larger than so many bytes, or no longer there.
    """
    assert entry.offset is not None and entry.size is not None
    if not entry.size:
        raise ImageError(f"cannot read picture {entry.name}: it is empty, or a link; pack the picture itself")
    if entry.size > most:
        raise ImageError(f"cannot read picture {entry.name}: it has more than {most >> 20} MiB; make it smaller first")
    with opened(entry.file) as stream:
        stream.seek(entry.offset)
        data = stream.read(entry.size)
    if len(data) < entry.size:
        raise ArtQuantError(f"{entry.file}: is shorter than it was when it was listed; start again")
    return data

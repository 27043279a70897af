"""What a user names as input: a file, a folder, a pattern; and what a file is, by its content."""

from __future__ import annotations

import glob
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from artquant.data.images import ImageError, has_picture_ending, is_picture_start
from artquant.data.predictions import is_note, is_planned_run, origin_file, part_file
from artquant.errors import ArtQuantError
from artquant.files.file_kinds import PARQUET, START, binary_kind, kind_of_file
from artquant.files.opened import opened
from artquant.listing.columns import Columns


@dataclass(frozen=True)
class Reading:
    """How inputs are read."""

    images: Path | None = None  # what relative names of lists are relative to; None: the list's folder
    recursive: bool = True  # also the folders in folders
    columns: Columns = field(default_factory=Columns)
    alone: bool = True  # the only input: names within a folder or an archive tell pictures apart


class Kind(Enum):
    """What an input is."""

    FOLDER = auto()
    PICTURE = auto()
    TEXT = auto()
    JSON = auto()
    PARQUET = auto()
    TAR = auto()


def expanded(given: str | Path) -> Iterator[Path]:
    """The files and folders of a pattern, sorted; of any other name itself.

    Raises:
        ArtQuantError: there is none.
    """
    if os.path.lexists(given) or not glob.has_magic(str(given)):
        yield Path(given)
        return
    found = [Path(one) for one in sorted(glob.glob(str(given), recursive=True))]
    found = [path for path in found if not _is_own(path)]
    if not found:
        raise ArtQuantError(f"{given}: nothing of this pattern is there; check it")
    yield from found


def _is_own(path: Path) -> bool:
    """Whether a file was written by scoring: what it wrote is no input where nobody has named it."""
    is_of_run = any(map(is_planned_run, (path, *path.parents[:2])))
    return is_of_run or is_note(path) or any(origin_file(one).exists() for one in (path, part_file(path)))


def kind_of(path: Path) -> Kind:
    """What a file or folder is; of a file that is neither list nor archive: a picture, whatever is wrong with it.

    Raises:
        ArtQuantError: it cannot be read, or is a file of a kind that holds no pictures as far as can be read here.
    """
    if path.is_dir():
        return Kind.FOLDER
    if not path.exists() or not stat.S_ISREG(path.stat().st_mode):
        if has_picture_ending(path.name):
            return Kind.PICTURE  # a vanished picture is one that cannot be read
        with opened(path):
            pass
    with opened(path) as stream:
        start = stream.read(START)
    return _kind_of_start(path, start)


def _kind_of_start(path: Path, start: bytes) -> Kind:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(PARQUET) and binary_kind(start) is not None:
        return Kind.PARQUET
    if _is_tar(start):
        return Kind.TAR
    if is_picture_start(start) or has_picture_ending(path.name):
        return Kind.PICTURE
    kind = kind_of_file(start)
    if kind is not None:
        advice = kind.advice.replace("FILE", str(path))
        raise ImageError(f"{path}: neither pictures nor a list of them: it is {kind.name}; {advice}")
    if binary_kind(start) is not None:
        return Kind.PICTURE
    first_line = text.partition(b"\n")[0].strip().decode("utf-8", "replace")
    return Kind.JSON if text[:1] in (b"[", b"{") and not has_picture_ending(first_line) else Kind.TEXT


def _is_tar(start: bytes) -> bool:
    """Whether a file's first block is the header of an archive's member, whose checksum is right."""
    try:
        tarfile.TarInfo.frombuf(start[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True

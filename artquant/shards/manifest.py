"""A run over a collection: its folder, and what was planned."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from typing import Any

from artquant.data.predictions import MANIFEST, RESULTS
from artquant.errors import ArtQuantError
from artquant.files.json_files import parse_json, read_text, write_json
from artquant.files.opened import opened, read_whole
from artquant.listing.entry import Entry

FORM = "artquant shards 1"
LISTS, CLAIMS = "lists", "claims"  # folders of a run, beside that of the results
LARGEST = 1 << 40  # bytes of a list or result, which are as they were written


def digest(data: bytes) -> str:
    """BLAKE2b, 16 bytes in hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def shard_name(number: int) -> str:
    """Of a shard, from 0; as it sorts."""
    return f"{number:06d}"


def shard_file(number: int) -> str:
    """What its list and its result are called."""
    return f"{shard_name(number)}.jsonl"


def state_of(file: str) -> list[int]:
    """Size and time of change. Raises ArtQuantError: it cannot be read."""
    with opened(file) as stream:
        state = os.fstat(stream.fileno())
    return [state.st_size, state.st_mtime_ns]


def _digest_of(values: dict[str, Any]) -> str:
    return digest(json.dumps(values, sort_keys=True).encode())


def fingerprint_of(origin: dict[str, Any]) -> str:
    """Of all that a score depends on beside its picture; not of the model's name."""
    return _digest_of({name: value for name, value in origin.items() if name != "model"})


class ListDigest:
    """Of the pictures of a list: what they are called, where they lie."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, part: Iterable[Entry], inside: str) -> None:
        """The next pictures; inside: folder that relative names of files begin at."""
        lines = (f"{one.id}\0{os.path.join(inside, one.file)}\0{one.offset}\n" for one in part)
        self._digest.update("".join(lines).encode("utf-8", "surrogatepass"))

    def __str__(self) -> str:
        return self._digest.hexdigest()


@dataclass(frozen=True)
class Manifest:
    """What was planned.

    pictures: how many. size: of a shard. lists: digest of each shard's list. whole: that of all of it, however it is
    cut. origin: what the scores are made with. how: how that is loaded, by the names of the command line. inside:
    folder that relative names of files begin at. containers: size in bytes and time of change in nanoseconds of the
    files that hold several pictures.
    """

    pictures: int
    size: int
    lists: tuple[str, ...]
    whole: str
    origin: dict[str, Any]
    how: dict[str, Any]
    inside: str
    containers: dict[str, list[int]]

    @cached_property
    def fingerprint(self) -> str:
        """As `fingerprint_of` what its scores are made with."""
        return fingerprint_of(self.origin)

    def count(self, number: int) -> int:
        """How many pictures a shard has."""
        return min(self.size, self.pictures - number * self.size)

    def write(self, folder: Path) -> None:
        """Into a run's folder."""
        values = asdict(self)
        write_json(folder / MANIFEST, {"form": FORM, "blake2b": _digest_of(values)} | values)


@dataclass(frozen=True)
class Run:
    """A planned run's folder: `manifest.json`, `lists/`, `results/` and `claims/`."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Raises ArtQuantError: it is none, or its manifest was changed."""
        file = folder / MANIFEST
        if not file.is_file():
            raise ArtQuantError(f"{folder}: is no planned run; plan one: artquant shard plan INPUT --model M --out RUN")
        found = parse_json(read_text(file, LARGEST), file)
        try:
            if found.pop("form") != FORM or found.pop("blake2b") != _digest_of(found):
                raise ValueError
            manifest = Manifest(**found | {"lists": tuple(found["lists"])})
            whole = len(manifest.lists) == -(-manifest.pictures // manifest.size)
        except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError):
            whole = False
        if not whole:
            raise ArtQuantError(f"{file}: is no manifest of this release, or was changed; plan the run anew")
        return cls(folder, manifest)

    def __len__(self) -> int:
        return len(self.manifest.lists)

    @property
    def claims(self) -> Path:
        """Their folder."""
        return self.folder / CLAIMS

    def result_file(self, number: int) -> Path:
        """What was made of a shard."""
        return self.folder / RESULTS / shard_file(number)

    def clear(self) -> None:
        """Take the run away, and its folder if nobody has put something else into it."""
        for name in (LISTS, RESULTS, CLAIMS):
            rmtree(self.folder / name, ignore_errors=True)
        (self.folder / MANIFEST).unlink()  # the last: until then it is known as a run
        with suppress(OSError):
            self.folder.rmdir()

    def pictures_done(self) -> int:
        """How many are in shards that have a result."""
        return sum(self.manifest.count(number) for number in range(len(self)) if self.result_file(number).exists())

    def entries(self, number: int) -> list[Entry]:
        """The pictures of a shard, in order.

        Raises:
            ArtQuantError: its list was changed since it was planned.
        """
        inside = self.manifest.inside
        found = map(Entry.from_dict, self._stored(number))
        return [replace(entry, file=os.path.join(inside, entry.file)) for entry in found]

    def ids(self, number: int) -> list[str]:
        """Of the pictures of a shard; raises as `entries`."""
        return [stored["id"] for stored in self._stored(number)]

    def _stored(self, number: int) -> Iterator[dict[str, Any]]:
        file = self.folder / LISTS / shard_file(number)
        data = read_whole(file, LARGEST)
        if digest(data) != self.manifest.lists[number]:
            raise ArtQuantError(f"{file}: was changed since the run was planned; plan it anew, under another name")
        return map(json.loads, data.decode().split("\n")[:-1])

    def require_planned(self, origin: dict[str, Any]) -> None:
        """Raise an ArtQuantError where scores are made with something else than the run was planned with."""
        planned = self.manifest.origin
        if fingerprint_of(origin) != self.manifest.fingerprint:
            names = sorted({*planned, *origin} - {"model"})
            other = ", ".join(name for name in names if planned.get(name) != origin.get(name))
            raise ArtQuantError(
                f"{self.folder}: was planned with {planned['model']}; what is here has other {other}: take the model "
                "and release that it was planned with, or plan anew under another name"
            )

    def require_inputs(self, entries: Sequence[Entry]) -> None:
        """Look at a shard's inputs; a single picture that is gone is none of this, but one that cannot be read.

        Raises:
            ArtQuantError: a file that holds several of the pictures is gone or was changed, or every folder is gone.
        """
        folders = {os.path.dirname(entry.file): None for entry in entries}
        if not any(map(os.path.isdir, folders)):
            raise ArtQuantError(
                f"{next(iter(folders))}: is gone, with all pictures of a shard; put it back, then go on"
            )
        for file in dict.fromkeys(entry.file for entry in entries if entry.offset is not None):
            size, time = self.manifest.containers[file]
            if (found := state_of(file)) != [size, time]:
                same = f"; if it is only a copy: touch -d @{time // 10**9}.{time % 10**9:09d} FILE" * (found[0] == size)
                raise ArtQuantError(
                    f"{file}: was changed since the run was planned; plan it anew, under another name{same}"
                )

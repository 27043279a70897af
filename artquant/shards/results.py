"""What was made of a shard: a line for each picture, and one at the end that says what they are made with."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant.errors import ArtQuantError
from artquant.files.json_files import json_text
from artquant.files.opened import opened, read_whole
from artquant.files.unwritten import errors_named
from artquant.files.whole_folder import force_to_disk
from artquant.listing.result_tables import columns_of, flat
from artquant.shards.manifest import LARGEST, Run, digest

_ENDS = (1 << 12, 1 << 20)  # bytes: the last line is shorter than the first of them, or than the second for sure


@dataclass(frozen=True)
class Ending:
    """The last line of a result.

    fingerprint: the manifest's. pictures, errors: how many lines, and how many of them have no score. columns: of a
    table of them, names and types ("float" or "str"). blake2b: of the lines.
    """

    fingerprint: str
    pictures: int
    errors: int
    columns: dict[str, str]
    blake2b: str


def write_result(run: Run, number: int, rows: Sequence[dict[str, Any]]) -> None:
    """Put a shard's rows on the disk, then in their place, whole or not at all.

    Under a name of this process's own until then: another may write the same, after this one was stopped for long.

    Raises:
        ArtQuantError: it cannot be written, such as on a full disk.
    """
    file = run.result_file(number)
    lines = "".join(json_text(file, row) + "\n" for row in rows).encode()
    errors = sum("error" in row for row in rows)
    columns = {name: kind.__name__ for name, kind in columns_of(map(flat, rows)).items()}
    ending = Ending(run.manifest.fingerprint, len(rows), errors, columns, digest(lines))
    part = file.parent / f".{file.name}.{uuid.uuid4().hex}.part"
    with errors_named(file):
        try:
            part.write_bytes(lines + json.dumps(vars(ending)).encode() + b"\n")
            force_to_disk(part)
            with suppress(FileNotFoundError):  # whoever took the shard over has cleared it away
                os.replace(part, file)
            force_to_disk(file.parent)
        finally:
            part.unlink(missing_ok=True)


def clear_parts(run: Run, number: int) -> None:
    """Take away what processes that were killed while they wrote a shard's result have left."""
    file = run.result_file(number)
    for part in file.parent.glob(f".{file.name}.*.part"):
        part.unlink(missing_ok=True)


def ending_of(run: Run, number: int) -> Ending | None:
    """The last line of a shard's result; None: there is no result yet.

    Raises:
        ArtQuantError: it is of another model or plan, or no result.
    """
    file = run.result_file(number)
    if not file.exists():
        return None
    with opened(file) as stream:
        for size in _ENDS:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
            _, found, last = stream.read(size)[:-1].rpartition(b"\n")
            if found:
                break
    return _ending(run, number, last)


def without_score(run: Run) -> int:
    """How many of the pictures that are done have no score; raises as `ending_of`."""
    endings = (ending_of(run, number) for number in range(len(run)))
    return sum(ending.errors for ending in endings if ending is not None)


def read_result(run: Run, number: int) -> list[str] | None:
    """The lines of a shard's result, which are as they were written; None: there is no result yet.

    Raises:
        ArtQuantError: as `ending_of`; or they were changed.
    """
    file = run.result_file(number)
    if not file.exists():
        return None
    data = read_whole(file, LARGEST)
    end = data.rfind(b"\n", 0, -1) + 1
    ending = _ending(run, number, data[end:])
    lines = data[:end]
    if digest(lines) != ending.blake2b:
        raise _foreign(file, "was changed since it was written")
    return lines.decode().split("\n")[:-1]


def _ending(run: Run, number: int, line: bytes) -> Ending:
    file = run.result_file(number)
    try:
        ending = Ending(**json.loads(line))
        is_whole = type(ending.errors) is type(ending.pictures) is int and {*ending.columns.values()} <= {
            "float",
            "str",
        }
    except (AttributeError, TypeError, ValueError):
        is_whole = False
    if not is_whole:
        raise _foreign(file, "is no whole result")
    if ending.fingerprint != run.manifest.fingerprint:
        raise _foreign(file, "is of another model, or made with other settings")
    if ending.pictures != run.manifest.count(number):
        raise _foreign(file, f"has {ending.pictures} pictures, {run.manifest.count(number)} were planned")
    return ending


def _foreign(file: Path, what: str) -> ArtQuantError:
    return ArtQuantError(f"{file}: {what}; delete it, then artquant shard run makes it anew")

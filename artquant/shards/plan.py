"""A list of pictures cut into shards, in memory that does not grow with the list."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from artquant.data.predictions import RESULTS
from artquant.errors import ArtQuantError
from artquant.files.progress_bar import progress_bar
from artquant.files.whole_folder import whole_folder
from artquant.listing.entry import Entry
from artquant.shards.manifest import CLAIMS, LISTS, ListDigest, Manifest, Run, digest, shard_file, state_of
from artquant.shards.unique import Seen

_PART = 4096  # pictures of a list that are looked at together


def write_plan(
    entries: Iterable[Entry], out: Path, size: int, origin: dict[str, Any], how: dict[str, Any], progress: bool = False
) -> Manifest:
    """Cut a list into shards of a size, in a new folder that appears when all of it is on the disk.

    Args:
        origin, how: as in `Manifest`.

    Raises:
        ArtQuantError: the list is empty, cannot be read or has an id twice; the folder is there or cannot be written.
    """
    with whole_folder(out) as folder, progress_bar("planning", "image", progress) as bar:
        for name in (LISTS, RESULTS, CLAIMS):
            (folder / name).mkdir()
        containers: dict[str, list[int]] = {}
        lists, whole = list[str](), ListDigest()
        pictures, inside = 0, os.getcwd()
        with Seen(folder / "seen") as seen:
            for part in _parts(entries, size):
                lists.append(_write_list(folder / LISTS / shard_file(len(lists)), part))
                seen.add([entry.id for entry in part])
                whole.add(part, inside)
                held = {os.path.join(inside, entry.file) for entry in part if entry.offset is not None}
                containers |= {file: state_of(file) for file in held - containers.keys()}
                pictures += len(part)
                bar.update(len(part))
            manifest = Manifest(pictures, size, tuple(lists), str(whole), origin, how, inside, containers)
            run = Run(folder, manifest)
            seen.require_unique(lambda: (id for number in range(len(run)) for id in run.ids(number)))
        if not pictures:
            raise ArtQuantError("no pictures in what was given; name files, folders or lists that hold some")
        manifest.write(folder)
    return manifest


def list_digest(entries: Iterable[Entry]) -> tuple[str, int]:
    """What a manifest would say of the whole list, and how many pictures it has."""
    whole, inside, pictures = ListDigest(), os.getcwd(), 0
    for part in _parts(entries, _PART):
        whole.add(part, inside)
        pictures += len(part)
    return str(whole), pictures


def _parts(entries: Iterable[Entry], size: int) -> Iterator[list[Entry]]:
    left = iter(entries)
    while part := list(islice(left, size)):
        yield part


def _write_list(file: Path, part: Sequence[Entry]) -> str:
    """Returns its digest."""
    data = "".join(json.dumps(entry.to_dict()) + "\n" for entry in part).encode()
    file.write_bytes(data)
    return digest(data)

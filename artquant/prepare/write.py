"""The prepared folder: record files and the card. Only what an earlier run for the same data set made is replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from artquant.data.prepared import DATA_CARD
from artquant.errors import ArtQuantError
from artquant.files.json_files import json_text, read_json, write_json
from artquant.files.whole_files import whole_files
from artquant.prepare.annotation import PrepareError

# Every file of records that a prepared folder may hold.
FILES = ("score.json", "attributes.json", "comments.json", "validation.json", "test.json")


def write_folder(
    out: Path, records: Mapping[str, Iterable[Mapping[str, Any]]], card: Mapping[str, Any], overwrite: bool = False
) -> dict[str, Any]:
    """Write the record files that have records, then the card.

    The files change together, one record a line. Other files in the folder (descriptions) are left alone.

    Args:
        out: The folder; made if need be.
        records: By file name, of FILES; each is gone through once, and written as it comes.
        card: What `artquant.prepare.data_card.make_card` gives; "files" with counts and checksums is added.
        overwrite: Also replace files that no run of ours wrote or that were changed since, or another data set, and
            remove record files for which there are no records.

    Returns:
        The card as written.

    Raises:
        ArtQuantError: The folder holds files that would be overwritten (it stays as it is then), or cannot be written;
            or what the records are made of cannot be used.
    """
    begun = {name: iter(held) for name, held in records.items()}
    found = {name: (first, rest) for name, rest in begun.items() if (first := next(rest, None)) is not None}
    with whole_files(out, removed=[name for name in FILES if name not in found]) as new:
        listed = {name: _write(new / name, chain([first], rest)) for name, (first, rest) in found.items()}
        if not overwrite:
            _check_folder(out, {name: entry["sha256"] for name, entry in listed.items()}, card["name"])
        whole = {**card, "files": listed}
        write_json(new / DATA_CARD, whole)
    return whole


def _write(path: Path, records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Write a JSON list, one record a line: a third of the size and a quarter of the time of an indented one.

    Returns:
        Their number and the checksum.
    """
    digest, count = hashlib.sha256(), 0
    with open(path, "wb") as stream:
        for count, record in enumerate(records, start=1):
            line = f"{',' if count > 1 else '['}\n{json_text(path, record)}".encode()
            digest.update(line)
            stream.write(line)
        digest.update(b"\n]\n")
        stream.write(b"\n]\n")
    return {"records": count, "sha256": digest.hexdigest()}


def _check_folder(out: Path, digests: Mapping[str, str], name: str) -> None:
    """Refuse what an earlier run did not write, or wrote and would now lose."""
    earlier_name, earlier = _earlier(out / DATA_CARD)
    if earlier and earlier_name != name:
        raise PrepareError(
            f"{out}: holds the data set {earlier_name!r}; name another folder, or --overwrite to replace it"
        )
    for file in FILES:
        path = out / file
        if not path.exists():
            continue
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise PrepareError(f"{path}: cannot be read: {error.strerror}; name another folder") from None
        if found not in (earlier.get(file), digests.get(file)):
            raise PrepareError(
                f"{path}: is there, and not as `artquant prepare` wrote it; name another folder, or --overwrite to "
                "replace it"
            )
        if file not in digests:
            raise PrepareError(
                f"{path}: is there, and this run has no records for it; give the files of all splits in one command, "
                "or --overwrite to remove it"
            )


def _earlier(path: Path) -> tuple[str, dict[str, str]]:
    """Name and checksums by file name, of the card of an earlier run; empty where there is none."""
    if not path.exists():
        return "", {}
    try:
        card = read_json(path)
        return card["name"], {name: entry["sha256"] for name, entry in card["files"].items()}
    except (ArtQuantError, KeyError, TypeError, AttributeError):
        raise PrepareError(
            f"{path}: is no card of a prepared data set; name another folder, or --overwrite to replace it"
        ) from None

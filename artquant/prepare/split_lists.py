"""Splits that stand in files of their own: lists of the names or ids of pictures (AVA's, DeQA-Score's split.json)."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from artquant.files.json_files import JsonError, read_json
from artquant.files.opened import looks_like, read_whole
from artquant.prepare.annotation import Annotation, PrepareError, Split
from artquant.prepare.columns import SPLIT_NAMES
from artquant.prepare.image_names import has_suffix

Lists = Sequence[tuple[Path, "Split | None"]]  # None: one JSON object of lists, by the names of splits
_MOST = 1 << 28  # bytes of a list


def split_by_lists(
    annotations: list[Annotation], lists: Lists, image: str = "image", split_values: Mapping[str, Split] | None = None
) -> tuple[list[Annotation], list[str]]:
    """The annotations with the splits that lists of names say, and notes.

    A name is a picture's path, or its last part, with or without its ending. Pictures in none of the lists are for
    training, unless there is a list of training pictures: then they are left out.

    Args:
        annotations: Of unique pictures, without splits.
        lists: Files of names: a JSON list of them, or of records; otherwise a name at the start of each line.
        image: The key of the name in records; where it is not there, "image".
        split_values: What keys of a JSON object of lists mean, beside those of SPLIT_NAMES.

    Raises:
        ArtQuantError: A file cannot be read or names no splits; most of its names, or those of a split, are not there;
            a picture is in two lists; or the files say splits already.
    """
    if not lists:
        return annotations, []
    said = next((annotation for annotation in annotations if annotation.split), None)
    if said is not None:
        raise PrepareError(f"{said.source}: is said to be of the split {said.split!r}; leave out the lists of splits")
    places = _places(annotations)
    splits: dict[int, tuple[Split, Path]] = {}
    notes = []
    for path, split, names in _all_names(lists, image, split_values or {}):
        unknown = []
        for name in names:
            found = places.get(_key(name), places.get(_key(posixpath.basename(name)), []))
            if len(found) > 1:
                raise PrepareError(f"{path}: {name!r} is the name of {len(found)} pictures; give paths")
            if not found:
                unknown.append(name)
                continue
            other, where = splits.setdefault(found[0], (split, path))
            if other != split:
                raise PrepareError(f"{path}: {name!r} is for {split}, but in {where} for {other}; keep one of them")
        if 2 * len(unknown) >= len(names):
            raise PrepareError(
                f"{path}: {len(unknown)} of its {len(names)} names for {split} are no pictures of the files, such as "
                f"{unknown[0]!r} (theirs are like {annotations[0].image!r}); check that it belongs to them"
            )
        if unknown:
            notes.append(
                f"{path}: {len(unknown)} of its {len(names)} names for {split} are not in the files, such as "
                f"{unknown[0]!r}"
            )
    rest: Split | None = None if any(split == "train" for split, _ in splits.values()) else "train"
    chosen = [
        (annotation, splits[place][0] if place in splits else rest) for place, annotation in enumerate(annotations)
    ]
    made = [replace(annotation, split=split) for annotation, split in chosen if split is not None]
    if len(made) < len(annotations):
        notes.append(f"{len(annotations) - len(made)} pictures are in none of the lists and left out")
    return made, notes


def _key(name: str) -> str:
    name = posixpath.normpath(name.strip().replace("\\", "/"))
    return os.path.splitext(name)[0] if has_suffix(name) else name


def _places(annotations: Iterable[Annotation]) -> dict[str, list[int]]:
    """Where the pictures of a name are, by path and by its last part."""
    places: dict[str, list[int]] = {}
    for place, annotation in enumerate(annotations):
        path = _key(annotation.image)
        for name in {path, posixpath.basename(path)}:
            places.setdefault(name, []).append(place)
    return places


def _all_names(lists: Lists, image: str, split_values: Mapping[str, Split]) -> Iterable[tuple[Path, Split, list[str]]]:
    for path, split in lists:
        content = read_whole(path, _MOST)
        if what := looks_like(content[:4096]):
            raise PrepareError(f"{path}: is {what}; name a list of names")
        is_json = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{")
        held: Any = read_json(path) if is_json else _lines(path, content)
        if split is not None:
            yield path, split, _names(path, held, image)
            continue
        if not isinstance(held, dict):
            raise PrepareError(f"{path}: is no JSON object of lists; name its split: --test-names FILE")
        for key, names in held.items():
            named = split_values.get(key) or SPLIT_NAMES.get(key.lower())
            if named is None:
                raise PrepareError(f"{path}: {key[:100]!r} is no split; say what it is: --split-values {key[:50]}=test")
            yield path, named, _names(path, names, image)


def _lines(path: Path, content: bytes) -> list[str]:
    """What stands before the first comma, tab or, where it has no ending of a picture's, blank of each line."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise JsonError(f"{path}: not UTF-8 text; save the file as UTF-8") from None
    names = (line.partition(",")[0].partition("\t")[0].strip().strip('"') for line in lines if line.strip())
    return [name if has_suffix(name) else name.split()[0] for name in names if name]


def _names(path: Path, held: Any, image: str) -> list[str]:
    entries = held if isinstance(held, list) else []
    names = [entry.get(image, entry.get("image")) if isinstance(entry, dict) else entry for entry in entries]
    if not names or not all(isinstance(name, (str, int)) and not isinstance(name, bool) for name in names):
        raise PrepareError(f"{path}: is no list of names, or of records with {image!r}; correct it")
    return [str(name) for name in names]

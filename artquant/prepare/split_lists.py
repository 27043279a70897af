"""Splits that stand in files of their own: lists of the names or ids of pictures (AVA's, DeQA-Score's split.json)."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from artquant.files.file_kinds import START, kind_of_file
from artquant.files.json_files import JsonError, read_json
from artquant.files.json_stream import iterate_json
from artquant.files.opened import read_whole
from artquant.prepare.annotation import Annotation, PrepareError, Split
from artquant.prepare.columns import SPLIT_NAMES
from artquant.prepare.image_names import has_suffix
from artquant.prepare.table_form import fields

Lists = Sequence[tuple[Path, "Split | None"]]  # None: one JSON object of lists, by the names of splits
_MOST = 1 << 28  # bytes of a list
_TITLES = ("image", "image_id", "image_name", "img", "file_name", "filename", "file", "name", "id")  # in first lines


def split_by_lists(
    annotations: list[Annotation], lists: Lists, image: str = "image", split_values: Mapping[str, Split] | None = None
) -> tuple[list[Annotation], list[str]]:
    """The annotations with the splits that lists of names say, and notes.

    A name is a picture's path, or its last part, with or without its ending. Pictures in none of the lists are for
    training, unless there is a list of training pictures: then they are left out.

    Args:
        annotations: Of unique pictures, without splits.
        lists: Files of names: a JSON list of them, or of records, or JSON lines; otherwise a name in each line. One
            file of several splits: a JSON object of lists, or of each name's split.
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
            found = places.get(_key(name), places.get(posixpath.basename(_key(name)), []))
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
        if kind := kind_of_file(content[:START]):
            raise PrepareError(f"{path}: is {kind.name}; {kind.advice.replace('FILE', str(path))}")
        is_json = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{")
        if split is not None:
            held = [value for _, _, value in iterate_json(path)] if is_json else _lines(path, content, image)
            yield path, split, _names(path, held, image)
            continue
        found = read_json(path) if is_json else None
        if not isinstance(found, dict):
            raise PrepareError(f"{path}: is no JSON object of lists; name its split: --test-names FILE")
        for key, names in _lists_of(found).items():
            named = split_values.get(key) or SPLIT_NAMES.get(key.lower())
            if named is None:
                raise PrepareError(f"{path}: {key[:100]!r} is no split; say what it is: --split-values {key[:50]}=test")
            yield path, named, _names(path, names, image)


def _lists_of(held: dict[str, Any]) -> dict[str, Any]:
    """Lists by split; an object that says the split of each name is turned over."""
    if not all(isinstance(value, (str, int)) for value in held.values()):
        return held
    lists: dict[str, Any] = {}
    for name, split in held.items():
        lists.setdefault(str(split), []).append(name)
    return lists


def _lines(path: Path, content: bytes, image: str) -> list[str]:
    """The names in lines of text: of several columns the one that the header calls so, or that holds pictures' names.

    Raises:
        PrepareError: It is not UTF-8, or the first column is a running number and nothing says which holds the names.
    """
    try:
        lines = [line for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise JsonError(f"{path}: not UTF-8 text; save the file as UTF-8") from None
    mark = next((mark for mark in ",;\t" if lines and mark in lines[0]), None)
    if mark is None:
        rows = [[line.strip()] if has_suffix(line.strip()) else line.split() for line in lines]
    else:
        rows = [[cell.strip() for cell in fields(line, mark)] for line in lines]
    header = [cell.lower() for cell in rows[0]] if rows else []
    titles = (image.lower(), *_TITLES)
    place = next((header.index(title) for title in titles if title in header), None)
    if place is not None:
        return [row[place] for row in rows[1:] if place < len(row)]
    if (
        all(len(row) > 1 for row in rows)
        and _is_running([row[0] for row in rows])
        and not any(map(has_suffix, rows[0]))
    ):
        raise PrepareError(
            f"{path}: of its columns the first is a running number and none is said to hold the names; leave only "
            f"these, or name the column {image!r} in a first line"
        )
    return [next(filter(has_suffix, row), row[0]) for row in rows]


def _is_running(cells: Sequence[str]) -> bool:
    return any(list(cells) == [str(number) for number in range(first, first + len(cells))] for first in (0, 1))


def _names(path: Path, held: Any, image: str) -> list[str]:
    entries = held if isinstance(held, list) else []
    names = [entry.get(image, entry.get("image")) if isinstance(entry, dict) else entry for entry in entries]
    if not names or not all(isinstance(name, (str, int)) and not isinstance(name, bool) for name in names):
        raise PrepareError(f"{path}: is no list of names, or of records with {image!r}; correct it")
    return [str(name) for name in names]

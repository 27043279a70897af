"""What is said of pictures: descriptions of a file, and texts that predictions bring along."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artquant.data.fields import Fields, RecordError
from artquant.data.predictions import PredictedPicture
from artquant.errors import ArtQuantError
from artquant.files.json_stream import iterate_records
from artquant.texts.descriptions import SEPARATOR, description_texts


def read_spoken(path: Path) -> dict[str, str]:
    """Texts by picture: lines of `artquant describe --json` or `{"id" or "image", "text"}`, description records or
    structured records.

    Of a picture with several levels the highest counts.

    Raises:
        ArtQuantError: the file holds something else, or two texts of a picture and level.
    """
    found: dict[str, tuple[int, str]] = {}
    for source, item in iterate_records(path):
        level, text = _text_of(item, source)
        if not text:
            continue
        fields = Fields(item, source)
        by_id = fields.item.get("image") is None and fields.item.get("id") is not None
        image = posixpath.normpath(fields.id() if by_id else fields.text("image"))
        fields.refuse()
        if image in found and found[image][0] == level:
            raise RecordError(f"{source}: a second description of {image!r}; keep one of each picture and level")
        if image not in found or found[image][0] < level:
            found[image] = level, text
    return {image: text for image, (_, text) in found.items()}


def _text_of(item: Any, source: str) -> tuple[int, str]:
    """Level (0: not said) and text; empty of a record that asks for a score."""
    fields = Fields(item, source)
    if isinstance(fields.item.get("descriptions"), dict) and fields.item["descriptions"]:
        level, text = max(fields.item["descriptions"].items())
        return int(level) if level.isdigit() else 0, fields.text_of("descriptions", text)
    level = int(fields.number("level") or 0)
    if said := [fields.item[key] for key in ("description", "text") if key in fields.item]:
        return level, said[0] if isinstance(said[0], str) else ""
    return level, SEPARATOR.join(text for _, text in description_texts(item, source))


def spoken_of(pictures: Sequence[str], texts: Mapping[str, str]) -> list[str]:
    """The text of each picture [N], by its name, or by the last part of it where that is there once on both sides.

    Raises:
        ArtQuantError: there are texts, and none of a picture.
    """
    ends = Counter(map(posixpath.basename, texts))
    last = {posixpath.basename(name): text for name, text in texts.items() if ends[posixpath.basename(name)] == 1}
    ours = Counter(map(posixpath.basename, pictures))
    found = []
    for name in pictures:
        end = posixpath.basename(name)
        found.append(texts.get(posixpath.normpath(name)) or (last.get(end, "") if ours[end] == 1 else ""))
    if texts and not any(found):
        raise ArtQuantError(
            f"none of the descriptions is of a picture that was scored: they are of ones such as {next(iter(texts))!r},"
            f" the predictions of {pictures[0]!r}"
        )
    return found


def brought_along(picture: PredictedPicture) -> str:
    """Texts in a predictions line (`artquant analyse --out`), each under its aspect."""
    said = picture.prediction.columns.get("texts")
    return "\n".join(f"{aspect}: {text}" for aspect, text in said.items()) if isinstance(said, dict) else ""

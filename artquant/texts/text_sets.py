"""Descriptions of pictures as a set that can be measured: a collection's, or a file's of any origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from artquant.data.fields import Fields, RecordError
from artquant.errors import ArtQuantError
from artquant.files.json_stream import iterate_records
from artquant.texts.descriptions import PARTS, SEPARATOR, description_texts

WHOLE = "whole"  # a picture's parts, one after the other


@dataclass
class TextSet:
    """One description of each picture."""

    name: str
    images: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)  # people's; NaN: not known
    texts: list[dict[str, str]] = field(default_factory=list)  # by part; {WHOLE: ...} where the parts are not known

    def add(self, image: str, score: float, texts: Mapping[str, str]) -> None:
        """Another picture."""
        self.images.append(image)
        self.scores.append(score)
        self.texts.append(dict(texts))

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that any picture has."""
        return tuple(part for part in PARTS if any(part in texts for texts in self.texts))

    def whole(self, place: int) -> str:
        """All that is said of a picture."""
        return SEPARATOR.join(self.texts[place].values())

    def human_scores(self) -> np.ndarray:
        """[N], NaN where unknown."""
        return np.array(self.scores, np.float64)


def read_text_set(path: Path, scores: Mapping[str, float] | None = None) -> TextSet:
    """A file of description records (a level's, or anyone's), of structured records, or of what models said.

    The last are what `artquant describe --json` writes, and `{"id" or "image", "text"}`; JSON list or lines. Of a
    picture with several levels the highest counts. Records that ask for a score are passed over.

    Args:
        scores: by picture, where records have no "gt_score".

    Raises:
        ArtQuantError: as :func:`artquant.texts.descriptions.description_texts`; a record without a picture, a picture
            with two descriptions of a level, or no description at all.
    """
    found: dict[str, tuple[int, float, dict[str, str]]] = {}
    for source, item in iterate_records(path):
        level, texts = _said(item) or (None, dict(description_texts(item, source)))
        if texts:
            _take(found, Fields(item, source), level, texts, scores or {})
    if not found:
        raise ArtQuantError(f"{path}: holds no descriptions; name a file of description or structured records")
    one = TextSet(f"{path.parent.name}/{path.name}")
    for image, (_, score, texts_of_image) in found.items():
        one.add(image, score, texts_of_image)
    return one


def _said(item: Any) -> tuple[int | None, dict[str, Any]] | None:
    """Level (None: as the record says) and text of a line about what a model said; None: it is no such line."""
    if not isinstance(item, dict) or "conversations" in item:
        return None
    levels = item.get("descriptions")
    if isinstance(levels, dict) and levels and all(level.isdecimal() for level in levels):
        highest = max(levels, key=int)
        return int(highest), {"description": levels[highest]}
    return next(((None, {"description": item[key]}) for key in ("description", "text") if key in item), None)


def _take(
    found: dict[str, tuple[int, float, dict[str, str]]],
    fields: Fields,
    level: int | None,
    texts: Mapping[str, Any],
    scores: Mapping[str, float],
) -> None:
    item, source = fields.item, fields.source
    image = fields.id() if item.get("image") is None and item.get("id") is not None else fields.text("image")
    score = fields.number("gt_score")
    level = int(fields.number("level") or 0) if level is None else level
    for name, text in texts.items():
        fields.text_of(name, text)
    fields.refuse()
    before = found.get(image)
    if before is not None and before[0] == level:
        raise RecordError(f"{source}: a second description of {image!r}; keep one of each picture and level")
    if before is None or before[0] < level:
        kept = {WHOLE: texts["description"]} if "description" in texts else dict(texts)
        found[image] = level, scores.get(image, float("nan")) if score is None else score, kept

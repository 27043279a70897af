"""The scored pictures of a collection, and the statistics that writer and judge are told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from artquant.data.fields import Fields, RecordError
from artquant.errors import ArtQuantError
from artquant.files.json_stream import iterate_records
from artquant.rad.outcome import Entry
from artquant.rad.settings import SourceSettings
from artquant.texts.descriptions import description_texts

_PERCENTILES = (5, 25, 50, 75, 95)
_LONGEST_COMMENT = 4_000  # characters that are told
_MOST_CATEGORIES = 200


def read_entries(settings: SourceSettings) -> list[Entry]:
    """All pictures of the data set, in the order of the file.

    Raises:
        ArtQuantError: a record without image or score, a score beyond the range, a picture named twice, or no record.
    """
    places: dict[str, str] = {}
    entries: list[Entry] = []
    comments = {} if settings.comments is None else _comments(settings.comments)
    for source, item in iterate_records(settings.records):
        entry = _entry(item, source, settings, comments)
        name = os.path.normpath(entry.image)
        if name in places:
            where = places[name]
            raise RecordError(f"{source}: the same image {entry.image!r} as {where}; keep one record of each picture")
        places[name] = source
        entries.append(entry)
    if not entries:
        raise ArtQuantError(f"{settings.records}: no records in it; name a file of scored pictures")
    if settings.comments is not None and all(entry.comment is None for entry in entries):
        raise ArtQuantError(f"{settings.comments}: no text on a picture of {settings.records}; correct source.comments")
    return entries


def drawn(entries: Sequence[Entry], limit: int | None, seed: int) -> list[Entry]:
    """The pictures to describe, in their order; with a limit, drawn by the seed."""
    chosen = np.random.default_rng(seed).permutation(len(entries))[:limit]
    return [entries[place] for place in sorted(chosen)]


def _entry(item: Any, source: str, settings: SourceSettings, comments: dict[str, str]) -> Entry:
    fields = Fields(item, source)
    image = fields.text("image")
    if Path(image).is_absolute() or ".." in Path(image).parts:
        fields.fault("image", f'"image" {image!r} leads out of the folder of the pictures; name one in it')
    score = fields.number("gt_score")
    if score is None:
        fields.fault("gt_score", '"gt_score" is missing; descriptions are judged by the score that people gave')
    attributes = fields.named_numbers("attributes")
    category = None if settings.category is None else _category(fields, settings.category)
    low, high = settings.range
    for name, value in (("gt_score", score), *attributes.items()):
        if value is not None and not low <= value <= high:
            fields.fault(name, f'"{name}" {value:g} is beyond {low:g} to {high:g}; correct it, or source.range')
    fields.refuse()
    return Entry(image, score or 0.0, attributes, category, comments.get(image))


def _category(fields: Fields, kind: str) -> str:
    """A picture's category of a kind, as `prepare` keeps them, or in a key of that name."""
    kinds = fields.object("categories")
    return Fields(kinds, f"{fields.name} categories").text(kind) if kind in kinds else fields.text(kind)


def _comments(file: Path) -> dict[str, str]:
    """What people wrote, by picture; several comments are lines of one."""
    found: dict[str, list[str]] = {}
    for source, item in iterate_records(file):
        fields = Fields(item, source)
        image, texts = fields.text("image"), description_texts(item, source)
        for name, text in texts:
            fields.is_unicode(name, text)
        fields.refuse()
        found.setdefault(image, []).extend(text for _, text in texts if text.strip())
    return {image: "\n".join(texts)[:_LONGEST_COMMENT] for image, texts in found.items() if texts}


def statistics(entries: Sequence[Entry]) -> dict[str, Any]:
    """Mean, standard deviation, percentiles and number of all scores, of each attribute's and of each category's.

    Raises:
        ArtQuantError: more than 200 categories: the key names something else.
    """
    found = _figures([entry.score for entry in entries])
    attributes = sorted({name for entry in entries for name in entry.attributes})
    if attributes:
        found["attributes"] = {
            name: _figures([entry.attributes[name] for entry in entries if name in entry.attributes], brief=True)
            for name in attributes
        }
    categories = sorted({entry.category for entry in entries if entry.category is not None})
    if len(categories) > _MOST_CATEGORIES:
        raise ArtQuantError(
            f"source.category: {len(categories)} categories, at most {_MOST_CATEGORIES}; name another key"
        )
    if categories:
        found["categories"] = {
            name: _figures([entry.score for entry in entries if entry.category == name]) for name in categories
        }
    return found


def _figures(scores: Sequence[float], brief: bool = False) -> dict[str, Any]:
    values = np.asarray(scores)
    figures: dict[str, Any] = {"mean": round(float(values.mean()), 2), "std": round(float(values.std()), 2)}
    if not brief:
        points = np.percentile(values, _PERCENTILES)
        figures["percentiles"] = {
            str(at): round(float(value), 2) for at, value in zip(_PERCENTILES, points, strict=True)
        }
        figures["pictures"] = len(values)
    return figures


def facts_of(entry: Entry, told: dict[str, Any], settings: SourceSettings, hidden: bool = False) -> dict[str, Any]:
    """What writer and judge are told of a picture and its data set (ArtQuant, section 3.1).

    Args:
        told: statistics of the data set.
        hidden: a tone instead of the picture's scores: low, middle or high, with borders at .4 and .7 of the range.
    """
    low, high = settings.range
    data_set = {key: value for key, value in told.items() if key != "categories"}
    facts: dict[str, Any] = {"scale": [low, high], "statistics": data_set}
    if entry.category is not None:
        facts["category"] = {"name": entry.category, **told["categories"][entry.category]}
    if hidden:
        share = (entry.score - low) / (high - low)
        facts["tone"] = "low" if share < 0.4 else "middle" if share <= 0.7 else "high"
    else:
        facts["score"] = entry.score
        if entry.attributes:
            facts["attributes"] = entry.attributes
    if entry.comment is not None:
        facts["comment"] = entry.comment
    return facts

"""The list of all pictures: data for the page's script, and the elements that it fills."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from artquant.errors import visible
from artquant.files.json_files import json_text
from artquant.pages.html import Markup, data_block, element
from artquant.report.judged import Gathered
from artquant.report.part import Part
from artquant.report.pictures import Pictures, spread_places
from artquant.report.sheets import apart

_TEXT_ROOM, _ROW_ROOM = 8_000_000, 12_000_000  # bytes of the list for texts; for rows without pictures
_DIGITS = 2


@dataclass(frozen=True)
class Column:
    """Numbers [N] of a column, NaN where there is none."""

    title: str
    values: np.ndarray
    is_attribute: bool = False


def columns_of(found: Gathered, names: Sequence[str]) -> list[Column]:
    """Scores, how far they are off, deviation or distance, then the attributes."""
    several = len(names) > 1
    columns = [
        Column(name if several else "Predicted", scores) for name, scores in zip(names, found.scores, strict=True)
    ]
    if np.isfinite(found.truth).any():
        columns += [Column("True", found.truth), Column(f"Off, {names[0]}" if several else "Off", found.off)]
    if several:
        columns.append(Column("Apart, %", 100 * apart(found.scores)))
    elif np.isfinite(found.deviations[0]).any():
        columns.append(Column("± Deviation", found.deviations[0]))
    for name, predicted, rated in zip(found.attributes, found.predicted.T, found.rated.T, strict=True):
        columns.append(Column(name, predicted, True))
        if np.isfinite(rated).any():
            columns.append(Column(f"{name}, true", rated, True))
    return columns


def list_part(
    found: Gathered,
    names: Sequence[str],
    texts: Sequence[str],
    pictures: Pictures,
    room: int,
    most: int | None,
    progress: bool,
) -> Part:
    """The part of the page. room: bytes that it may take. most: small pictures in it; None: as many as fit."""
    columns = columns_of(found, names)
    texts = _that_fit(texts)
    rows = [_row(place, found, columns, texts) for place in range(len(found.ids))]
    sizes = [_size(json_text("", row)) for row in rows]
    shown = _shown(sizes)
    room -= sum(sizes[place] for place in shown)
    wanted = shown if most is None else sorted(shown[at] for at in _first(spread_places(len(shown)), most))
    small = pictures.listed([found.images[place] for place in wanted], room, progress)
    by_place = {wanted[at]: data for at, data in small.items()}
    data: dict[str, Any] = {
        "form": f"image/{pictures.form.lower()}",
        "columns": [[visible(one.title), one.is_attribute, _digits(one.values)] for one in columns],
        "rows": [rows[place] for place in shown],
        "small": [by_place.get(place, "") for place in shown],
    }
    about = " ".join(_about(len(rows), len(shown), len(by_place), texts, pictures))
    without = element("noscript", element("p", "This list needs scripts; the parts above do not.", class_="note"))
    block = data_block("list-data", json_text("", data))
    return Part("All pictures", about, (without, _controls(data["columns"]), block))


def _row(place: int, found: Gathered, columns: Sequence[Column], texts: Sequence[str]) -> list[Any]:
    """Name, id where it says more, text, and the numbers."""
    numbers = [float(one.values[place]) for one in columns]
    image, identity = visible(found.images[place]), visible(found.ids[place])
    kept = [round(number, _DIGITS + 1) if math.isfinite(number) else None for number in numbers]
    return [image, "" if identity == image else identity, visible(texts[place], keep="\n\t"), *kept]


def _that_fit(texts: Sequence[str]) -> Sequence[str]:
    """Texts, shortened to the same length where all of them have no room."""
    length = max(map(len, texts), default=0)
    while sum(_size(text[:length]) for text in texts) > _TEXT_ROOM:
        length = length * 3 // 4
    return [text if len(text) <= length else text[:length] + " …" for text in texts]


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _shown(sizes: Sequence[int]) -> list[int]:
    """Places of the rows that there is room for, spread over all."""
    if sum(sizes) <= _ROW_ROOM:
        return list(range(len(sizes)))
    return sorted(_first(spread_places(len(sizes)), int(len(sizes) * _ROW_ROOM / sum(sizes))))


def _first(places: Iterator[int], most: int) -> list[int]:
    return list(islice(places, most))


def _digits(values: np.ndarray) -> int:
    """As many as tell numbers of this size apart."""
    known = values[np.isfinite(values)]
    reach = float(np.ptp(known)) if known.size else 1.0
    return _DIGITS + 1 if reach < 0.2 else _DIGITS if reach < 20 else _DIGITS - 1


def _about(count: int, shown: int, small: int, texts: Sequence[str], pictures: Pictures) -> list[str]:
    said = [
        f"{count:,} pictures."
        if shown == count
        else f"{shown:,} of {count:,} pictures, evenly drawn: all of them would make the page too large."
    ]
    said.append("Choose a column's head to sort by it; filter by words of names and descriptions, and by range.")
    if pictures.are_known and small < shown:
        said.append(f"{small:,} of them are shown small.")
    if any(text.endswith(" …") for text in texts):
        said.append("Descriptions are shortened.")
    return said


def _controls(columns: Sequence[Sequence[Any]]) -> Markup:
    """Fields and buttons, which the script brings to life; hidden before."""
    options = [element("option", title, value=str(place)) for place, (title, _, _) in enumerate(columns)]
    fields = [
        element("label", "Words ", element("input", id="words", type="search", autocomplete="off")),
        element("label", "Column ", element("select", *options, id="column")),
        element("label", "from ", element("input", id="least", type="number", step="any")),
        element("label", "to ", element("input", id="most", type="number", step="any")),
    ]
    if any(is_attribute for _, is_attribute, _ in columns):
        box = element("input", id="attributes", type="checkbox")
        fields.append(element("label", box, " Attributes", class_="check"))
    fields.append(element("button", "Reset", id="reset", type="button"))
    turning = [element("button", said, id=name, type="button") for name, said in (("back", "Back"), ("on", "On"))]
    whole = element(
        "table",
        element("caption", "Pictures with their scores"),
        element("thead", element("tr", id="heads")),
        element("tbody", id="rows"),
        class_="list",
    )
    return element(
        "div",
        element("div", *fields, class_="fields"),
        element("div", element("p", id="count", role="status"), *turning, class_="turning"),
        element("div", whole, class_="wide", tabindex="0", role="region", aria_label="Pictures with their scores"),
        id="list",
        hidden="",
    )

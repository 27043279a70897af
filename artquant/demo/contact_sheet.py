"""Held-out pictures with what is true of them beside what a model says, as one picture."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from artquant.demo.attributes import ATTRIBUTES
from artquant.demo.reader import SEEN, read_text

PICTURE = 240  # pixels of the longer side
TEXT = 330  # pixels beside it
_HEIGHT, _LINE, _MARGIN, _SIZE, _CHARACTERS = 330, 16, 12, 13, 92
_COLOURS = {"right": "#1a7f37", "wrong": "#c0362c", "plain": "#1f2328", "unsaid": "#8c959f"}


@dataclass(frozen=True)
class Shown:
    """One picture: true and predicted score, true and said text."""

    name: str
    picture: Image.Image
    true_score: float
    score: float
    true_text: str
    said: str


def statements(shown: Shown) -> Iterator[tuple[str, str]]:
    """Lines about one picture: what is said of it beside what is true, and how to colour it."""
    true, said = read_text(shown.true_text), read_text(shown.said)
    for kind in SEEN:
        if kind in said and kind not in true:
            yield f"{kind}: {said[kind]} (not in the true text)", "plain"
        elif kind in said:
            right = said[kind] == true[kind]
            yield f"{kind}: {said[kind]}" + ("" if right else f", is {true[kind]}"), "right" if right else "wrong"
        elif kind in true:
            yield f"{kind}: unsaid, is {true[kind]}", "unsaid"
    offs = [abs(int(said[name]) - int(true[name])) for name in ATTRIBUTES if name in said and name in true]
    near = sum(off <= 1 for off in offs)
    yield f"attributes: {offs.count(0)} of {len(ATTRIBUTES)} grades right, {near} at most one off", "plain"


def contact_sheet(shown: Sequence[Shown], columns: int = 2) -> Image.Image:
    """Pictures in rows, each with its scores, the statements about it (right green, wrong red) and the said text."""
    rows = -(-len(shown) // columns)
    width = PICTURE + TEXT + 3 * _MARGIN
    sheet = Image.new("RGB", (columns * width, rows * _HEIGHT), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_SIZE)
    for number, one in enumerate(shown):
        left, top = number % columns * width + _MARGIN, number // columns * _HEIGHT + _MARGIN
        picture = one.picture.convert("RGB")
        picture.thumbnail((PICTURE, PICTURE))
        sheet.paste(picture, (left, top))
        lines = [(one.name, "plain"), (f"score {one.score:.1f}, true {one.true_score:.1f}", "plain"), *statements(one)]
        for line, (text, colour) in enumerate(lines):
            pen.text((left + PICTURE + _MARGIN, top + line * _LINE), text, _COLOURS[colour], font)
        below = textwrap.wrap(one.said, _CHARACTERS, max_lines=4, placeholder=" ...")
        for line, text in enumerate(below):
            pen.text((left, top + PICTURE + 4 + line * _LINE), text, _COLOURS["plain"], font)
    return sheet

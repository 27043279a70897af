"""Aesthetic attributes: how they are named in data, how they are said in an answer, and which level they belong to.

The ten are APDDv2's (Jin et al., NeurIPS 2024). Each belongs to one level of ArtQuant's descriptions (section 3.1):
perception is what is seen, cognition what is understood of it, emotion what is felt. Neither paper assigns them; the
assignment here follows what APDD's raters were asked about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Attribute:
    """One attribute: the data set's name for it, the words for "quality" in the answer, the level of description."""

    name: str
    phrase: str
    aspect: Literal["perception", "cognition", "emotion"]


APDD_ATTRIBUTES = (
    Attribute("Theme and logic", "theme and logic", "cognition"),
    Attribute("Creativity", "creativity", "cognition"),
    Attribute("Layout and composition", "layout and composition", "perception"),
    Attribute("Space and perspective", "space and perspective", "perception"),
    Attribute("The sense of order", "sense of order", "perception"),
    Attribute("Light and shadow", "light and shadow", "perception"),
    Attribute("Color", "color", "perception"),
    Attribute("Details and texture", "details and texture", "perception"),
    Attribute("The overall", "overall impression", "cognition"),
    Attribute("Mood", "mood", "emotion"),
)
_PHRASES = {attribute.name: attribute.phrase for attribute in APDD_ATTRIBUTES}


def attribute_phrase(name: str) -> str:
    """What stands for "quality" in the answer about an attribute: APDD's as listed, any other in small letters.

    Words written together come apart ("RuleOfThirds": "rule of thirds"); abbreviations stay ("DoF").
    """
    words = " ".join(name.split())
    return _PHRASES.get(name, re.sub(r"[^\W\d_]+", lambda found: _small(found[0]), words))


def _small(word: str) -> str:
    parts = re.findall(r"[A-Z][a-z]+", word)
    if len(parts) > 1 and "".join(parts) == word and min(map(len, parts)) > 1:
        return " ".join(parts).lower()
    return word if any(letter.isupper() for letter in word[1:]) else word.lower()

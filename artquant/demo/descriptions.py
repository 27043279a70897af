"""Descriptions of a demo painting on three levels, composed from what was drawn (ArtQuant, section 3.1).

Level 1 tells what is perceived, level 2 adds cognition, level 3 adds emotion; each begins with the one before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artquant.demo.attributes import ATTRIBUTES
from artquant.demo.phrases import (
    CAPTIONS,
    ENDINGS,
    FEATURES,
    GRADES,
    HUES,
    LEVELS,
    MAIN_FORMS,
    PHRASES,
    QUESTIONS,
    SUBJECTS,
)
from artquant.demo.plan import Plan

ACCENT = 0.48  # turns from the leading hue to the accent, as in `plan.ROLES`
SHOWS = {  # what a caption names only of a picture in which it can be seen: by which attribute, from which value on
    "hue": ("Color", 0.2),
    "feature": ("Creativity", 0.5),
    "mood": ("Mood", 0.3),
}


def grade(value: float) -> int:
    """The grade of phrase, 0 to GRADES - 1, of an attribute value in 0 to 1."""
    return min(GRADES - 1, int(value * GRADES))


@dataclass(frozen=True)
class Described:
    """What is said of one picture: texts of level 1, 2 and 3, and the sentence about each attribute."""

    levels: tuple[str, str, str]
    attributes: dict[str, str]


def facts(plan: Plan) -> dict[str, str]:
    """What phrases name, by the name of its place in them."""
    return {
        "form": MAIN_FORMS[plan.composition],
        "side": "left" if plan.side > 0 else "right",
        "light": "right" if plan.side > 0 else "left",
        "hue": _hue_name(plan.hue),
        "accent": _hue_name(plan.hue + ACCENT),
        "feature": FEATURES[plan.feature],
        "mood": plan.mood,
    }


def describe(plan: Plan, values: np.ndarray, rng: np.random.Generator) -> Described:
    """Composes the three descriptions of one picture.

    Args:
        plan: what the picture shows.
        values: [10] true attributes on the 0-1 scale, in the order of `ATTRIBUTES`.
        rng: chooses among the wordings.
    """
    words = facts(plan)
    by_name = dict(zip(ATTRIBUTES, values, strict=True))
    sentences = [str(rng.choice(SUBJECTS[plan.composition]))]
    texts, said = [], {}
    for level in LEVELS:
        for name in level:
            wording = str(rng.choice(PHRASES[name][grade(by_name[name])]))
            said[name] = wording.format(**words)
            sentences.append(said[name])
        texts.append(" ".join(sentences))
    ending = str(rng.choice(ENDINGS[grade((by_name["Mood"] + by_name["The overall"]) / 2)]))
    return Described((texts[0], texts[1], f"{texts[2]} {ending}"), said)


def caption(plan: Plan, values: np.ndarray, rng: np.random.Generator) -> str:
    """What is there in one picture, without a word on how well it is made; arguments as of `describe`."""
    by_name = dict(zip(ATTRIBUTES, values, strict=True))
    shown = [place for place in CAPTIONS if place not in SHOWS or by_name[SHOWS[place][0]] >= SHOWS[place][1]]
    sentences = [str(rng.choice(CAPTIONS[place])).format(**facts(plan)) for place in rng.permutation(shown)]
    return " ".join([str(rng.choice(SUBJECTS[plan.composition])), *sentences])


def draw_questions(rng: np.random.Generator) -> tuple[str, str, str]:
    """Draws one question for each level."""
    first, second, third = (str(rng.choice(wordings)) for wordings in QUESTIONS)
    return first, second, third


def _hue_name(hue: float) -> str:
    return HUES[round(hue * len(HUES)) % len(HUES)]

"""Writes descriptions of demo pictures from what people said of them, at times wrongly, and corrects them."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from artquant.demo.attributes import ATTRIBUTES
from artquant.demo.descriptions import describe
from artquant.demo.phrases import LEVELS
from artquant.demo.plan import COMPOSITIONS, FEATURES, MOODS, Plan
from artquant.rad.demo_server.request import PARTS

MISTAKES = ("grades", "statement", "leak")
_AGAIN = 0.5  # of the share of mistakes, when a text is written again


def write(plan: Plan, values: dict[str, float], part: str, draw: random.Random) -> str:
    """One part of a description.

    Args:
        plan: What the picture shows.
        values: Of each attribute, 0 to 1.
        part: One of `PARTS`.
        draw: Chooses among the wordings.
    """
    level = PARTS.index(part)
    rng = np.random.default_rng(draw.getrandbits(64))
    levels = describe(plan, np.array([values[name] for name in ATTRIBUTES]), rng).levels
    return levels[level].removeprefix(levels[level - 1] if level else "").strip()


def write_with_mistake(plan: Plan, values: dict[str, float], part: str, draw: random.Random, leaked: str) -> str:
    """The same with one mistake: grades far off, something that is not in the picture, or the score given away.

    leaked: how a text gives the score away.
    """
    kind, wordings = draw.choice(MISTAKES), draw.getrandbits(64)
    right = write(plan, values, part, random.Random(wordings))
    if kind == "leak":
        return f"{right} {leaked}"
    wrong = write(_another(plan, draw), values, part, random.Random(wordings))
    if kind == "statement" and wrong != right:  # weak pictures are described without naming what they show
        return wrong
    off = {name: values[name] + (0.5 if values[name] < 0.5 else -0.5) for name in LEVELS[PARTS.index(part)]}
    return write(plan, values | off, part, random.Random(wordings))


def is_mistaken(share: float, again: bool, draw: random.Random) -> bool:
    """Whether a part is written with a mistake."""
    return draw.random() < share * (_AGAIN if again else 1)


def _another(plan: Plan, draw: random.Random) -> Plan:
    """A plan of which everything that texts name is another."""
    return replace(
        plan,
        composition=_other(COMPOSITIONS, plan.composition, draw),
        mood=_other(tuple(MOODS), plan.mood, draw),
        hue=(plan.hue + 0.5) % 1,
        side=-plan.side,
        feature=_other(FEATURES, plan.feature, draw),
    )


def _other(choices: tuple[str, ...], than: str, draw: random.Random) -> str:
    return draw.choice([one for one in choices if one != than])

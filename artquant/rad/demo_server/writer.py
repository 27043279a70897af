"""Writes descriptions of demo pictures from what people said of them, at times wrongly, and corrects them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np

from artquant.demo.attributes import ATTRIBUTES
from artquant.demo.descriptions import describe
from artquant.demo.phrases import LEVELS
from artquant.demo.plan import COMPOSITIONS, FEATURES, MOODS, Plan
from artquant.texts.descriptions import PARTS

MISTAKES = ("grades", "statement", "leak")
_AGAIN = 0.5  # of the share of mistakes, when a text is written again


@dataclass(frozen=True)
class Subject:
    """What is to be described."""

    plan: Plan  # what the picture shows
    values: dict[str, float]  # of each attribute, 0 to 1, as people said
    wordings: int  # seed of the choice among wordings
    leaked: str  # how a text would give the score away

    def write(self) -> dict[str, str]:
        """The text of each part."""
        values = np.array([self.values[name] for name in ATTRIBUTES])
        first, second, third = describe(self.plan, values, np.random.default_rng(self.wordings)).levels
        texts = (first, second.removeprefix(first).strip(), third.removeprefix(second).strip())
        return dict(zip(PARTS, texts, strict=True))


def with_mistake(right: str, subject: Subject, part: str, draw: random.Random) -> str:
    """A part of a description with one mistake.

    Grades are far off, or something is said that is not in the picture, or the score is given away.
    """
    kind = draw.choice(MISTAKES)
    if kind == "leak":
        return f"{right} {subject.leaked}"
    if kind == "statement":
        wrong = replace(subject, plan=_another(subject.plan, draw)).write()[part]
        if wrong != right:  # weak pictures are described without naming what they show
            return wrong
    values = subject.values
    off = {name: values[name] + (0.5 if values[name] < 0.5 else -0.5) for name in LEVELS[PARTS.index(part)]}
    return replace(subject, values=values | off).write()[part]


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

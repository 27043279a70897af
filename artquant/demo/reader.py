"""Reads sentences about demo paintings, and judges them by what was drawn.

The vocabulary of the descriptions is closed (`phrases.PHRASES`), so a sentence says one grade of one attribute, and
some of them name what can be seen: a form, its side, where the light comes from, colours, an element, the mood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from artquant.demo.attributes import ATTRIBUTES
from artquant.demo.descriptions import facts, grade
from artquant.demo.phrases import PHRASES
from artquant.demo.plan import Plan
from artquant.texts.attributes import attribute_phrase


@dataclass(frozen=True)
class Statement:
    """What a sentence says of an attribute: a grade from 0 (weakest) to 4, and what it names."""

    grade: int
    names: dict[str, str]


@dataclass(frozen=True)
class Judgement:
    """Shares from 0 to 1 over sentences about held-out pictures.

    readable: sentences of the vocabulary about the attribute that was asked for. right, near: of all sentences, those
    of the true grade, and those at most one off. named: of all that the readable ones name, what is there.
    """

    sentences: int
    readable: float
    right: float
    near: float
    named: float


def read_statement(attribute: str, text: str) -> Statement | None:
    """What a sentence says of an attribute (by the data set's name); None: it is none of the vocabulary's about it."""
    for number, wordings in enumerate(PHRASES[attribute]):
        for wording in wordings:
            found = re.fullmatch(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(wording)), text.strip())
            if found is not None:
                return Statement(number, found.groupdict())
    return None


def judge(pictures: Iterable[tuple[Plan, np.ndarray, Mapping[str, str]]]) -> Judgement:
    """Judge sentences, by the attribute's words, about pictures given by plan and true attributes [10] on 0 to 1."""
    offs, named = list[int | None](), list[bool]()
    for plan, values, texts in pictures:
        true = facts(plan)
        for name, value in zip(ATTRIBUTES, values, strict=True):
            said = read_statement(name, texts[attribute_phrase(name)])
            offs.append(None if said is None else abs(said.grade - grade(value)))
            named += [] if said is None else [true[place] == word for place, word in said.names.items()]
    known = [off for off in offs if off is not None]
    readable, right, near = (
        count / len(offs) for count in (len(known), known.count(0), sum(off <= 1 for off in known))
    )
    return Judgement(len(offs), readable, right, near, float(np.mean(named)) if named else 0.0)

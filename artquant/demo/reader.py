"""Reads sentences about demo paintings, and judges them by what was drawn.

The vocabulary of descriptions and captions is closed (`phrases`), so a sentence says one grade of one attribute, or
what is there; some of them name what can be seen: a form, its side, where the light comes from, colours, an element,
the mood. So texts can be judged exactly, statement by statement.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from artquant.demo.attributes import ATTRIBUTES
from artquant.demo.descriptions import facts, grade
from artquant.demo.phrases import CAPTIONS, ENDINGS, LEVELS, PHRASES, SUBJECTS
from artquant.demo.plan import Plan
from artquant.texts.attributes import attribute_phrase

SUBJECT, ENDING = "subject", "ending"
SEEN = (SUBJECT, "side", "light", "hue", "accent", "feature", "mood")  # what a text names of a picture


@dataclass(frozen=True)
class Statement:
    """What a sentence says: of which attribute (or `SUBJECT`, `ENDING`, a place of a caption), and what it names.

    grade: from 0 (weakest) to 4; None of what is no grade.
    """

    about: str
    grade: int | None
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


@dataclass(frozen=True)
class Share:
    """How often one kind of statement is right, from 0 to 1.

    n: pictures whose true text makes it. right: of those, texts that say the same; unsaid is wrong. of_said: of the
    texts that say anything of the kind. usual: what the most frequent true answer would reach. chance: what guessing
    among all answers would. spoken: texts that say something, of those n.
    """

    n: int
    right: float
    of_said: float
    usual: float
    chance: float
    spoken: float

    @property
    def way(self) -> float:
        """How far from the most frequent answer (0) to all right (1)."""
        return (self.right - self.usual) / (1 - self.usual) if self.usual < 1 else float(self.right == 1)


@cache
def _wordings() -> tuple[tuple[re.Pattern[str], str, int | None, str | None], ...]:
    """Every wording: its pattern, what it is about, its grade, the subject that it stands for."""
    listed: list[tuple[str, str, int | None, str | None]] = []
    for about, grades in {**PHRASES, ENDING: ENDINGS}.items():
        listed += [(wording, about, number, None) for number, some in enumerate(grades) for wording in some]
    listed += [(wording, SUBJECT, None, kind) for kind, some in SUBJECTS.items() for wording in some]
    listed += [(wording, place, None, None) for place, some in CAPTIONS.items() for wording in some]
    return tuple(
        (re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(wording))), about, number, kind)
        for wording, about, number, kind in listed
    )


@lru_cache(maxsize=8192)
def read_sentence(text: str) -> Statement | None:
    """What a sentence says; None: it is none of the vocabulary's."""
    for pattern, about, number, kind in _wordings():
        found = pattern.fullmatch(text.strip())
        if found is not None:
            return Statement(about, number, found.groupdict() if kind is None else {SUBJECT: kind})
    return None


def read_statement(attribute: str, text: str) -> Statement | None:
    """What a sentence says of an attribute (by the data set's name); None: it is none of the vocabulary's about it."""
    found = read_sentence(text)
    return found if found is not None and found.about == attribute else None


def read_text(text: str) -> dict[str, str | int]:
    """All that a text says: what it names (by `SEEN`) and the grade of each attribute (by the data set's name).

    Of what is said twice the first counts; sentences that are none of the vocabulary's say nothing.
    """
    said: dict[str, str | int] = {}
    for _, found in read_sentences(text):
        said = {**found.names, **said}
        if found.grade is not None and found.about != ENDING:
            said.setdefault(found.about, found.grade)
    return said


def read_level(text: str) -> int | None:
    """The level of a description, 1 to 3, by the highest attribute that it speaks of; None: it speaks of none."""
    about = {found.about for _, found in read_sentences(text)}
    spoken = [level for level, names in enumerate(LEVELS, 1) if about.intersection(names)]
    return len(LEVELS) if ENDING in about else max(spoken, default=None)


def read_sentences(text: str) -> list[tuple[str, Statement]]:
    """The sentences that are of the vocabulary, each with what it says."""
    sentences = [sentence.strip() for sentence in re.findall(r"[^.]+\.", text)]
    return [(sentence, found) for sentence in sentences if (found := read_sentence(sentence)) is not None]


def judge_texts(pairs: Sequence[tuple[str, str]]) -> dict[str, Share]:
    """How often texts are right, by kind of statement. pairs: the true text and what is said, of each picture."""
    both = [(read_text(true), read_text(said)) for true, said in pairs]
    shares = {}
    for kind in (*SEEN, *ATTRIBUTES):
        asked = [(true[kind], said.get(kind)) for true, said in both if kind in true]
        if not asked:
            continue
        answers, right = Counter(true for true, _ in asked), sum(true == said for true, said in asked)
        spoken = sum(said is not None for _, said in asked)
        shares[kind] = Share(
            n=len(asked),
            right=right / len(asked),
            of_said=right / spoken if spoken else 0.0,
            usual=answers.most_common(1)[0][1] / len(asked),
            chance=1 / len(answers),
            spoken=spoken / len(asked),
        )
    return shares


def judge(pictures: Iterable[tuple[Plan, np.ndarray, Mapping[str, str]]]) -> Judgement:
    """Judge sentences, by the attribute's words, about pictures given by plan and true attributes [10] on 0 to 1."""
    offs, named = list[int | None](), list[bool]()
    for plan, values, texts in pictures:
        true = facts(plan)
        for name, value in zip(ATTRIBUTES, values, strict=True):
            said = read_statement(name, texts[attribute_phrase(name)])
            offs.append(None if said is None or said.grade is None else abs(said.grade - grade(value)))
            named += [] if said is None else [true[place] == word for place, word in said.names.items()]
    known = [off for off in offs if off is not None]
    readable, right, near = (
        count / len(offs) for count in (len(known), known.count(0), sum(off <= 1 for off in known))
    )
    return Judgement(len(offs), readable, right, near, float(np.mean(named)) if named else 0.0)

"""Descriptions that give the score away: "I rate this 7/10", "of excellent quality", "four stars".

A model that learns to describe must not read its mark off the text. What counts as a leak is a number that rates, or a
rating word as the verdict on the picture as a whole; the same words about its parts ("a good use of colour"), and
numbers that count or measure ("three trees", "a third of the canvas"), are ordinary criticism. Kinds:

    rating    a number on a scale: "7/10", "eight out of ten", "on a scale of 1 to 10"
    score     a number with a word for it: "score of 6.5", "rated 7", "I give it an 8", "Color: 7.5"
    points    "7.5 points"
    stars     "four stars", "a five-star picture"
    percent   "I rate it 85%"
    grade     "Grade: B+", "full marks for this one"
    verdict   a rating word on the whole: "the quality is poor", "Overall: good", "rated excellent", "a bad painting"

The patterns are English (leak_patterns.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artquant.labels.rating_scale import RATING_WORDS
from artquant.texts.leak_patterns import leak_patterns

KINDS = ("rating", "score", "points", "stars", "percent", "grade", "verdict")


@dataclass(frozen=True)
class Leak:
    """A place where a text gives the score away."""

    kind: str  # one of KINDS
    text: str  # the words there
    start: int  # index of the first character


def find_leaks(text: str, words: Sequence[str] = RATING_WORDS) -> list[Leak]:
    """The places where a text gives a score away, in their order; of those that overlap the first counts.

    Args:
        text: A description.
        words: The rating words, in any order; capitals make no difference.

    Raises:
        ArtQuantError: There are no rating words, or one is empty.
    """
    found = []
    for pattern in leak_patterns(tuple(words)):
        for match in pattern.search(text):
            leaked = match.group()
            found.append(Leak(pattern.kind, leaked.strip(), match.start() + len(leaked) - len(leaked.lstrip())))
    found.sort(key=lambda leak: (leak.start, -len(leak.text)))
    leaks: list[Leak] = []
    for leak in found:
        if not leaks or leak.start >= leaks[-1].start + len(leaks[-1].text):
            leaks.append(leak)
    return leaks

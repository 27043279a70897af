"""Judges descriptions of demo pictures by the closed vocabulary that they are written in."""

from __future__ import annotations

from artquant.demo.attributes import ATTRIBUTES, WEIGHTS
from artquant.demo.descriptions import facts as names_of
from artquant.demo.descriptions import grade
from artquant.demo.phrases import GRADES
from artquant.demo.reader import ENDING, SUBJECT, Statement, read_sentences, read_text
from artquant.rad.demo_server.pictures import Drawn
from artquant.rad.demo_server.request import Facts
from artquant.texts.attributes import attribute_phrase
from artquant.texts.leaks import find_leaks

_FALL = 2.5  # of the mark, for each grade that the statements are off on average
_UNREAD = 2.0  # mark of a text that says nothing of the kind
_SEEN = 3  # grades off, from which on a picture plainly does not show what is said
_CALLED = ("very weak", "weak", "middling", "strong", "very strong")  # grades
_WEIGHTS = dict(zip(ATTRIBUTES, WEIGHTS, strict=True))


def mark_text(text: str, facts: Facts) -> tuple[float, str]:
    """How well a text agrees with what people said, 0 to 10, and why.

    Raises:
        Refusal: the facts say nothing.
    """
    values = facts.values()
    rated = [found for _, found in read_sentences(text) if found.grade is not None]
    off = [(_distance(found, values), found) for found in rated]
    if not off:
        return _UNREAD, "The text says nothing that could be compared with the scores."
    mark = max(0.0, 10 - _FALL * sum(distance for distance, _ in off) / len(off))
    off.sort(key=lambda one: -one[0])
    wrong = [_reason(found, values, facts) for distance, found in off if distance > 1]
    return round(mark, 1), " ".join(wrong) or "The text agrees with the scores."


def read_score(texts: dict[str, str], facts: Facts) -> float:
    """The score that texts tell of, on the scale of the facts."""
    said = read_text(" ".join(texts.values()))
    grades = [(_WEIGHTS[name], number) for name, number in said.items() if name in _WEIGHTS and type(number) is int]
    total = sum(weight for weight, _ in grades)
    value = sum(weight * (number + 0.5) / GRADES for weight, number in grades) / total if grades else 0.5
    return round(facts.said(value), 2)


def unseen_claims(texts: dict[str, str], picture: Drawn) -> list[str]:
    """Sentences that name what the picture does not show, or are plainly wrong about it."""
    shown = {**names_of(picture.plan), SUBJECT: picture.plan.composition}
    claims = []
    for sentence, found in read_sentences(" ".join(texts.values())):
        named = all(shown[place] == word for place, word in found.names.items())
        if not named or _distance(found, picture.values) >= _SEEN:
            claims.append(sentence)
    return claims


def leaks(texts: dict[str, str]) -> list[str]:
    """Places that give the score away."""
    return [leak.text for text in texts.values() for leak in find_leaks(text)]


def _distance(found: Statement, values: dict[str, float]) -> int:
    """Grades between what is said and what is so; 0 of what is no grade."""
    return 0 if found.grade is None else abs(found.grade - grade(_value(found, values)))


def _value(found: Statement, values: dict[str, float]) -> float:
    """Of what a statement is about, 0 to 1; an ending is of two attributes (`demo.descriptions.describe`)."""
    return (values["Mood"] + values["The overall"]) / 2 if found.about == ENDING else values[found.about]


def _reason(found: Statement, values: dict[str, float], facts: Facts) -> str:
    about = "effect" if found.about == ENDING else attribute_phrase(found.about)
    said = facts.said(_value(found, values))
    low, high = facts.scale
    return f"The text calls the {about} {_CALLED[found.grade or 0]}, people gave it {said:.1f} of {low:g} to {high:g}."

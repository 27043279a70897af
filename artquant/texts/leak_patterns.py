"""The regular expressions behind :mod:`artquant.texts.leaks`, put together from named fragments; English.

Each kind comes with clues: a text without any of them is not searched, which makes most texts quick.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from artquant.errors import ArtQuantError
from artquant.texts.leak_verdicts import MARKUP, PICTURE, STOP, verdict


@dataclass(frozen=True)
class LeakPattern:
    """The pattern of one kind of leak."""

    kind: str
    clues: tuple[str, ...]  # every match holds one of them (in lower case) at least
    pattern: re.Pattern[str]

    def search(self, text: str) -> Iterator[re.Match[str]]:
        """The matches in a text."""
        lowered = text.lower()
        return self.pattern.finditer(text) if any(clue in lowered for clue in self.clues) else iter(())


@lru_cache(maxsize=16)
def leak_patterns(words: tuple[str, ...]) -> tuple[LeakPattern, ...]:
    """The patterns for these rating words.

    Raises:
        ArtQuantError: There are no rating words, or one is empty.
    """
    if not words or not all(word.strip() for word in words):
        raise ArtQuantError(f"rating words {list(words)}: give at least one, and none empty")
    marks = ("score", "scoring", "rating", "rated", "graded", "mark of", "marks of", "rate ", ":", "=")
    gifts = ("give", "giving", "gave", "award", "assign", "deserve", "earn", "merit", "receive", "get ", "gets ")
    fractions = ("/", "out of", "scale")
    points = ("points", "marks", "pts")
    rated = tuple(word.lower() for word in words)
    patterns = (
        ("rating", fractions, _rating()),
        ("score", (*marks, *gifts), _score()),
        ("points", points, _awarded("(?:points|marks|pts)")),
        ("stars", ("star", "★", "⭐"), _stars()),
        ("percent", ("%", "percent"), _percent()),
        ("grade", ("grade", "marks", "+", "-", *gifts, "solid", "perfect", "clear", "easy"), _grade()),
        ("verdict", rated, verdict(words)),
    )
    return tuple(LeakPattern(kind, clues, re.compile(source, re.IGNORECASE)) for kind, clues, source in patterns)


# Numbers

_DIGITS = r"(?<![\w.,/#])\d{1,3}(?:[.,]\d{1,2})?½?(?!\w|[.,]\d)"
_TENS = r"(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
_TWO_TO_NINE = r"(?:two|three|four|five|six|seven|eight|nine)"
_TWO_TO_TEN = rf"(?:{_TWO_TO_NINE}|ten|{_TENS}(?:[- ](?:one|{_TWO_TO_NINE}))?)"
_HALF = r"[- ]and[- ]a[- ]half"
_NUMBER = rf"(?:{_DIGITS}|\b{_TWO_TO_TEN}(?:{_HALF}| point \w+)?\b)"
_DASH_OR_TO = r"\s*(?:-|\u2013|to)\s*"
_RANGE = rf"{_NUMBER}(?:{_DASH_OR_TO}{_NUMBER})?"

# Words

_THIS = rf"(?:(?:it|you|such|this|that|the|a|an|one|whole|entire|overall|present|given|{PICTURE}) )"
_GIVES = (
    r"(?:giv(?:e|es|ing|en)|gave|award(?:s|ed)?|assign(?:s|ed)?|deserv(?:es?|ed)|earn(?:s|ed)?|merits?|receiv(?:es?|ed)|"
    r"gets?)"
)

# What follows a number that rates; a number that counts is followed by what it counts.
_ENDS = rf"(?=\s*(?:{STOP}|(?:out of|overall|for|because|due|and|but|as|since|on|in|given|based|thanks|was|is)\b))"
_ENDS_PHRASE = rf"(?=\s*(?:{STOP}|(?:overall|for|because|out of|due to)\b))"


def _rating() -> str:
    """ "7/10", but no date, fraction of something, or number of a print."""
    names = ("edition", "print", r"no\.", "number", "numbered", "page", "plate", "sheet", "scale", "impression")
    no_print = "".join(f"(?<!{name} )" for name in names)
    no_part = r"(?!\s*(?:of\b|[/\d]|s\b|sec|mm|cm|th\b|times\b)|[.,]\d)"
    # One over something is a shutter's time, unless somebody gives it.
    one = rf"(?:{_GIVES}|scor(?:es?|ed)|rat(?:es?|ed|ing))\b[^.!?\n]{{0,15}} 1\s*/\s*(?:5|10|100)\b{no_part}"
    slash = rf"{no_print}(?!1\s*/){_RANGE}\s*/\s*(?:5|10|100)\b{no_part}|\b{one}"
    number = rf"(?:{_DIGITS}|\b(?:one|{_TWO_TO_TEN})(?:{_HALF})?\b)(?: points?| stars?| marks?)?"
    most = r"(?:a (?:possible|maximum(?: of)?) )?(?:5|10|100|five|ten|a hundred|one hundred)\b"
    out_of = rf"{number} out of {most}(?:(?= points?\b| stars?\b| marks?\b)|{_ENDS})"
    no_measure = "".join(
        f"(?<!{name} )" for name in ("gray", "grey", "tonal", "tone", "zone", "value", "color", "colour")
    )
    scale = (
        rf"\b{no_measure}scale (?:of|from) (?:0|1|zero|one){_DASH_OR_TO}(?:5|10|100|five|ten|a hundred|one hundred)\b"
    )
    return f"{slash}|{out_of}|{scale}"


def _score() -> str:
    """ "score of 6.5", "gives it an 8", "Color: 7.5"."""
    word = (
        r"(?:(?<!musical )\bscor(?:es?|ed|ing)|(?<!iso )(?<!asa )(?<!age )\bratings?|\brated|\bgraded|"
        r"\bmarks? of|\bgt_score|\brate(?= (?:it|this|that|the)))"
    )
    link = (
        rf"(?:{MARKUP}[:=]|\s+(?:of|is|was|at|as|a|an|it|this|that|the|about|around|approximately|roughly|nearly|"
        rf"between|above|below|over|under|would|be|here|only|just|solid|strong|{PICTURE}))"
    )
    named = rf"{word}{MARKUP}{link}{{0,6}}{MARKUP}{_RANGE}{MARKUP}{_ENDS}"
    filler = (
        r"(?:(?:about|around|roughly|only|just|solid|strong|full|high|low|total|final|aesthetic|score|rating|mark|of) )"
    )
    given = rf"\b{_GIVES} (?:{_THIS}|{filler}){{0,6}}{_RANGE}{_ENDS_PHRASE}"
    attribute = (
        r"\b(?:theme(?: and logic)?|logic|creativity|layout(?: and composition)?|composition|perspective|"
        r"space(?: and perspective)?|(?:the )?sense of order|light(?: and shadow)?|colou?rs?|texture|mood|"
        r"details(?: and texture)?|(?:the )?overall|total|quality|aesthetics?|beauty|technique|"
        r"emotion|perception|cognition)"
    )
    height = (
        r"(?:(?:very|relatively|fairly|quite|rather|really|the) )?"
        r"(?:high(?:er|est)?|low(?:er|est)?|top|full|perfect|maximum)"
    )
    graded = rf"\b{_GIVES} (?:{_THIS}){{0,4}}{height} (?:score|rating|mark|grade)s?\b"
    listed = rf"{attribute}{MARKUP}[:=]{MARKUP}{_DIGITS}{MARKUP}(?=$|[.,;!?)\]}}|\n])"
    return f"{named}|{given}|{graded}|{listed}"


def _awarded(what: str) -> str:
    """A number of points or stars that is given, has decimals, or stands by itself."""
    verb = rf"\b(?:{_GIVES}|scor(?:es?|ed)|rat(?:es?|ed|ing)|worth|overall|total)\b"
    no_place = r"(?! of (?:light|interest|view)| (?:in the|above|on the|over))"
    given = rf"{verb}[^.!?\n]{{0,40}}?{_RANGE}[ -]{what}\b{no_place}"
    decimal = rf"(?<![\w.,])\d{{1,2}}[.,]\d{{1,2}}[ -]{what}\b"
    half = rf"(?:\b(?:one|{_TWO_TO_TEN})(?:{_HALF}| point \w+)|(?<![\w.,])\d{{1,2}}½)[ -]{what}\b"
    alone = rf"(?:^|(?<=[.!?:;\n]))\s*{_RANGE} {what}\s*(?=$|[.!\n])"
    return f"{given}|{decimal}|{half}|{alone}"


def _stars() -> str:
    grade = rf"{_NUMBER}[ -]star (?:rating|review|quality|{PICTURE})\b"
    return rf"{_awarded('stars?')}|{grade}|[★⭐][★⭐☆]+|[★⭐☆]+[★⭐]"


def _percent() -> str:
    word = (
        r"\b(?:scor(?:es?|ed)|rat(?:es?|ed|ings?)|giv(?:es?|en)|gave|deserv(?:es?|ed)|quality|aesthetics?|beauty|"
        r"overall)\b"
    )
    link = rf"(?:\s*[:=]\s*|\s+(?:{_THIS}|(?:of|is|at|a|an|about|around) ){{0,5}})"
    number = rf"(?:\d{{1,3}}(?:\.\d+)?|{_TWO_TO_TEN})"
    return rf"{word}{link}{number}\s?(?:%|percent\b)(?!\s*(?:of|more|less|grey|gray|black|white))"


def _grade() -> str:
    """ "Grade: B+", "gives it an A", "an A- painting", "full marks", "a solid 8 for me"."""
    letter = r"(?-i:[A-F])(?:[+\u2212-](?!\w)|\b)"
    end = rf"(?=\s*(?:{STOP}|(?:for|because|overall|in|from|on)\b))"
    named = rf"\bgraded?{MARKUP}(?:[:=]|\s+(?:of|is|as|at|an?|would|be|it)){{0,4}}{MARKUP}{letter}{end}"
    given = rf"\b{_GIVES} (?:{_THIS}){{0,4}}{letter}{end}"
    noun = rf"\ban? (?-i:[A-F])[+\u2212-] (?:{PICTURE}|work|effort|grade)\b"
    marks = r"\b(?:full|top) marks (?:for|to)\b"
    solid = rf"\ba (?:solid|perfect|clear|easy) (?:{_DIGITS}|ten)(?=\s*(?:{STOP}|(?:for me|overall|out of)\b))"
    return f"{named}|{given}|{noun}|{marks}|{solid}"

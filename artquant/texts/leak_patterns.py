"""The regular expressions behind :mod:`artquant.texts.leaks`, put together from named fragments; English.

Each kind comes with clues: a text without any of them is not searched, which makes most texts quick.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from artquant.errors import ArtQuantError


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
        ("verdict", rated, _verdict(words)),
    )
    return tuple(LeakPattern(kind, clues, re.compile(source, re.IGNORECASE)) for kind, clues, source in patterns)


# Numbers

_DIGITS = r"(?<![\w.,/#])\d{1,3}(?:[.,]\d{1,2})?½?(?!\w|[.,]\d)"
_TWO_TO_TEN = r"(?:two|three|four|five|six|seven|eight|nine|ten)"
_NUMBER = rf"(?:{_DIGITS}|\b{_TWO_TO_TEN}(?: and a half| point \w+)?\b)"
_DASH_OR_TO = r"\s*(?:-|\u2013|to)\s*"
_RANGE = rf"{_NUMBER}(?:{_DASH_OR_TO}{_NUMBER})?"

# Words

_PICTURE = (
    r"(?:paintings?|pictures?|images?|art ?works?|works?(?: of art)?|pieces?(?: of art)?|drawings?|illustrations?|"
    r"photos?|photographs?|sketch|watercolou?r|creation)"
)
_THIS = rf"(?:(?:it|this|that|the|a|an|one|whole|entire|overall|present|given|{_PICTURE}) )"
_HOW = (
    r"(?:(?:a|an|as|only|just|quite|very|rather|fairly|pretty|really|not|so|too|also|of|still|merely|relatively|"
    r"extremely) )"
)
_IS = r"(?:is|was|are|seems|appears|remains|looks|feels|becomes|can be (?:called|considered|rated(?: as)?))"
_MARKUP = r"[*_\"'`\s]*"
_GIVES = (
    r"(?:giv(?:e|es|ing|en)|gave|award(?:s|ed)?|assign(?:s|ed)?|deserv(?:es?|ed)|earn(?:s|ed)?|merits?|receiv(?:es?|ed)|"
    r"gets?)"
)
_STOP = r"$|[.,;:!?)\]}\"'*|\n]"

# What follows a number that rates; a number that counts is followed by what it counts.
_ENDS = rf"(?=\s*(?:{_STOP}|(?:out of|overall|for|because|due|and|but|as|since|on|in|given|based|thanks)\b))"
_ENDS_PHRASE = rf"(?=\s*(?:{_STOP}|(?:overall|for|because|out of|due to)\b))"
# What follows a word that rates; else it may go on ("a good painting technique").
_ENDS_VERDICT = rf"(?=\s*(?:{_STOP}|(?:overall|and|but|in general|as a whole|with|that|which|because|though|by)\b))"


def _rating() -> str:
    """ "7/10", but no date, fraction of something, or number of a print."""
    names = ("edition", "print", r"no\.", "number", "numbered", "page", "plate", "sheet", "scale", "impression")
    no_print = "".join(f"(?<!{name} )" for name in names)
    slash = rf"{no_print}{_RANGE}\s*/\s*(?:5|10|100)\b(?!\s*(?:of\b|[/\d]|s\b|sec|mm|cm|th\b)|[.,]\d)"
    number = rf"(?:{_DIGITS}|\b(?:one|{_TWO_TO_TEN})(?: and a half)?\b)(?: points?| stars?| marks?)?"
    most = r"(?:a (?:possible|maximum(?: of)?) )?(?:5|10|100|five|ten|a hundred|one hundred)\b"
    out_of = rf"{number} out of {most}(?:(?= points?\b| stars?\b| marks?\b)|{_ENDS})"
    scale = rf"\bscale (?:of|from) (?:0|1|zero|one){_DASH_OR_TO}(?:5|10|100|five|ten|a hundred|one hundred)\b"
    return f"{slash}|{out_of}|{scale}"


def _score() -> str:
    """ "score of 6.5", "gives it an 8", "Color: 7.5"."""
    word = (
        r"(?:(?<!musical )\bscor(?:es?|ed|ing)|\bratings?|\brated|\bgraded|\bmarks? of|\bgt_score|"
        r"\brate(?= (?:it|this|that|the)))"
    )
    link = (
        rf"(?:{_MARKUP}[:=]|\s+(?:of|is|was|at|as|a|an|it|this|that|the|about|around|approximately|roughly|nearly|"
        rf"between|above|below|over|under|would|be|only|just|solid|strong|{_PICTURE}))"
    )
    named = rf"{word}{_MARKUP}{link}{{0,6}}{_MARKUP}{_RANGE}{_MARKUP}{_ENDS}"
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
    listed = rf"{attribute}{_MARKUP}[:=]{_MARKUP}{_DIGITS}{_MARKUP}(?=$|[.,;!?)\]}}|\n])"
    return f"{named}|{given}|{listed}"


def _awarded(what: str) -> str:
    """A number of points or stars that is given, has decimals, or stands by itself."""
    verb = rf"\b(?:{_GIVES}|scor(?:es?|ed)|rat(?:es?|ed|ing)|worth|overall|total)\b"
    no_place = r"(?! of (?:light|interest|view)| (?:in the|above|on the|over))"
    given = rf"{verb}[^.!?\n]{{0,40}}?{_RANGE}[ -]{what}\b{no_place}"
    decimal = rf"(?<![\w.,])\d{{1,2}}[.,]\d{{1,2}}[ -]{what}\b"
    alone = rf"(?:^|(?<=[.!?:;\n]))\s*{_RANGE} {what}\s*(?=$|[.!\n])"
    return f"{given}|{decimal}|{alone}"


def _stars() -> str:
    grade = rf"{_NUMBER}[ -]star (?:rating|review|quality|{_PICTURE})\b"
    return rf"{_awarded('stars?')}|{grade}|[★⭐][★⭐☆]+|[★⭐☆]+[★⭐]"


def _percent() -> str:
    word = (
        r"\b(?:scor(?:es?|ed)|rat(?:es?|ed|ings?)|giv(?:es?|en)|gave|deserv(?:es?|ed)|quality|aesthetics?|beauty|"
        r"overall)\b"
    )
    link = rf"(?:\s*[:=]\s*|\s+(?:{_THIS}|(?:of|is|at|a|an|about|around) ){{0,5}})"
    return rf"{word}{link}\d{{1,3}}(?:\.\d+)?\s?(?:%|percent\b)(?!\s*(?:of|more|less|grey|gray|black|white))"


def _verdict(words: Sequence[str]) -> str:
    """A rating word on the picture as a whole; "the quality of the light is good" is not."""
    word = rf"\b(?:{'|'.join(re.escape(word) for word in sorted(words, key=len, reverse=True))})\b"
    means = rf"(?:{_MARKUP}[:=\u2013-]{_MARKUP}| {_IS} ){_HOW}{{0,3}}{_MARKUP}{word}"
    of_picture = rf"(?: of (?:the|this) (?:whole |entire |overall )?{_PICTURE})?"
    whole = (
        r"(?:overall|general|total|aesthetic|artistic|visual|final|its|the|this|image|picture|painting|art|artwork|"
        r"technical)"
    )
    quality = rf"(?:\b{whole} |(?:^|(?<=[.!?;:\n*]))\s*)quality{of_picture}{means}"
    judgement = r"(?:ratings?|evaluation|assessment|verdict|grade|judge?ment|impression|presentation)"
    evaluation = rf"\b(?:(?:overall|aesthetic|final|general|total|quality|artistic) )*{judgement}{of_picture}{means}"
    overall = rf"\boverall{means}{_ENDS_VERDICT}|\boverall,? it {_IS} {_HOW}{{0,3}}{word}{_ENDS_VERDICT}"
    material = r"paper|canvas|materials?|pigments?|paints?"
    of_part = rf"of(?! (?:the|this) (?:overall |whole )?{_PICTURE})"
    kind = r"(?:overall|aesthetic|artistic|image|visual|technical)"
    of_quality = rf"{word}[ -](?:{kind} ){{0,2}}quality\b(?! (?:{material}|{of_part}))"
    rated = (
        rf"\b(?:rated|graded|judged|rating of|rated? {_THIS}{{1,3}})\s*(?:as |to be |of )?{_HOW}{{0,2}}{_MARKUP}{word}"
        rf"{_ENDS_VERDICT}"
    )
    turned = r"\b(?:is|was|makes?|making|remains|became|becomes) (?:it |this |for )?"
    alone = r"(?:^|(?<=[.!?;\n]))\s*(?:overall,? )?"
    stress = (
        r"(?:really |quite |truly |just |overall |not )?an? (?:(?:very|really|truly|rather|quite|generally|overall) )?"
    )
    picture = rf"(?:{turned}|{alone}){stress}{word} {_PICTURE}{_ENDS_VERDICT}"
    # The picture must be what the sentence is about: not "the colours of the picture are good".
    no_part = "".join(f"(?<!{name} )" for name in ("of", "in", "on", "to", "from", "for", "with", "within", "across"))
    subject = rf"{no_part}\b(?:this|the)(?: whole| entire)? {_PICTURE} {_IS} {_HOW}{{0,3}}{word}"
    ends_subject = r"(?=\s*(?:$|[.;!?\n]|overall\b|as a whole\b|in general\b))"
    whole_subject = rf"{no_part}\b(?:(?:this|the) )?overall {_PICTURE} {_IS} {_HOW}{{0,3}}{word}{_ENDS_VERDICT}"
    whole_subject = rf"(?<!of the )(?<!in the )(?<!of this )(?<!in this ){whole_subject}"
    return "|".join((quality, evaluation, overall, of_quality, rated, picture, subject + ends_subject, whole_subject))

"""What is wrong with a description by rule, before any judge is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from artquant.texts.descriptions import PARTS, repeats
from artquant.texts.leaks import find_leaks
from artquant.texts.words import words_of

# Tags (<b>, <image>, <|im_end|>, </s>: tokenizers obey some), control characters, and marks that turn the direction.
_MARK = re.compile("</?\\|?[A-Za-z][^<>]*>|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def count_words(text: str) -> int:
    """Words of a text; of Chinese, Japanese and Thai, signs."""
    return len(words_of(text))


def rule_faults(texts: Mapping[str, str], words: Sequence[tuple[int, int]]) -> dict[str, str]:
    """By part, the first thing that is wrong with it and what to do.

    Args:
        texts: descriptions by part.
        words: least and most of perception, cognition and emotion.
    """
    faults: dict[str, str] = {}
    for (part, before), (least, most) in zip(zip(PARTS, (None, *PARTS), strict=False), words, strict=True):
        text = texts.get(part)
        if text is None:
            continue
        count = count_words(text)
        if leaks := find_leaks(text):
            faults[part] = f"It gives the score away: {leaks[0].text!r}. Leave that out."
        elif (mark := _MARK.search(text)) is not None:
            faults[part] = f"It holds {mark.group()[:60]!r}. Leave that out."
        elif count < least:
            faults[part] = f"It has {count} words; write at least {least}."
        elif count > most:
            faults[part] = f"It has {count} words; write at most {most}."
        elif before is not None and repeats(text, texts.get(before, "")):
            faults[part] = f"It begins with the whole {before}. Write what it adds."
    return faults

"""Texts that are no description of a picture, or only partly: what a model or a tool left in them.

    refusal      "I'm sorry, but I can't see the image"
    language     not English, by its script or its little words
    loop         the same words over and over
    markup       JSON, Markdown, HTML and its entities
    encoding     letters that were read in another encoding than they were written in
    placeholder  "TODO", "[insert description]", "n/a", "...."
    file-name    "IMG_0042.jpg", "/data/images/a.png"

That a text breaks off shows only beside others (`artquant.check.text_faults`). The rules are English.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_NOT_ABLE = r"(?:unable|not able) to"
_I_CANNOT = (
    rf"(?:cannot|can['\u2019]?t|can not|could(?: not|n['\u2019]t)|am {_NOT_ABLE}|['\u2019]?m {_NOT_ABLE}|"
    r"(?:won['\u2019]t|will not) be able to)"
)
_THINGS = r"(?:image|picture|request|content|photo|question|description|painting|artwork|task)"
_TO_HELP = (
    r"(?:help|assist|provide|comply|fulfil|describe|see|view|open|access|identify|analy[sz]e|process|generate|create|"
    r"complete|continue|answer|engage|discuss|evaluate|comment)"
)
_REFUSAL = re.compile(
    rf"\bas an? (?:large )?(?:ai|artificial intelligence|(?:multimodal |vision[- ])?language model|"
    r"multimodal model|text-based|virtual assistant)\b|"
    rf"\b(?:i['\u2019]m|i am) (?:an? (?:ai|language model)\b|just an ai)|\b(?:large )?language model\b|"
    rf"\b(?:i['\u2019]m|i am|we['\u2019]re|sorry|apologi[sz]e)[^.!?\n]{{0,40}}\bi ?{_I_CANNOT} (?:\w+ )?{_TO_HELP}\b|"
    rf"\bi ?{_I_CANNOT} (?:\w+ )?{_TO_HELP} (?:with |you )?(?:(?:this|that|the|any|an?|your) {_THINGS}|"
    r"images|pictures|photos)|"
    rf"\bi ?{_I_CANNOT} (?:help|assist)(?: you)? with (?:this|that|your)\b|\bunfortunately, i ?{_I_CANNOT}\b|"
    r"\bi (?:do not|don['\u2019]t) see an?y? (?:image|picture|photo)|"
    r"\bmy (?:\w+ )?(?:guidelines|polic(?:y|ies)|programming) (?:prevents?|forbids?|do(?:es)? not allow)|"
    rf"^\s*(?:sure|certainly|of course|absolutely)[!,.] (?:here|i)\b|"
    rf"\bhere(?:['\u2019]s| is) (?:an?|the|my|your) (?:\w+ )?(?:description|caption|analysis|critique) (?:of|for) "
    rf"(?:the|this|your) {_THINGS}|\blet me know if you(?:['\u2019]d| would| have| need)|\bfeel free to ask\b|"
    rf"\bi (?:do not|don['\u2019]t) have (?:access|the ability|the capability|any image)|"
    rf"\bno (?:image|picture) (?:was|is|has been|were) (?:provided|attached|uploaded|given|visible)|"
    rf"\bplease (?:provide|upload|share|attach|send)(?: me)?(?: with)? (?:an?|the|your) (?:image|picture|photo|paint)|"
    rf"\bviolates? (?:our|the|my) (?:content |usage )?polic",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"```|^\s{0,3}#{1,6} \S|^\s*[\[{]\s*[\"{\[]|\"\w[\w ]*\"\s*:\s*[\"\[{\d]|\*\*[^*\n]+\*\*|__[^_\n]+__|"
    r"\[[^\]\n]+\]\((?:https?:|/|#)[^)\n]*\)|^\s*\|?\s*:?-{3,}:?\s*\||(?:^\s*(?:[-*+•]|\d+[.)]) \S.*\n?){2,}|"
    r"&(?:[a-z]{2,8}|#\d{2,6}|#x[0-9a-f]{2,5});|"
    r"</?(?:p|br|b|i|u|em|strong|div|span|a|h[1-6]|ul|ol|li|img|table|tr|td|html|body|script|font|think|s|eos|bos)\b[^>\n]*>|"
    r"<\|\w+\|>|\\n\b|\\u[0-9a-f]{4}|`[^`\n]+`|\\[a-z]+\{|^\s*(?:assistant|user|human|system):",
    re.IGNORECASE | re.MULTILINE,
)
_FAR = re.compile(
    r"[\u0080-\u00ff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]{2,}"
)
_BROKEN = re.compile(r"\ufffd|[\u0080-\u009f]|\u201aÄ[ôúùìîö¶]|√[©®†¢§°±≥∫ºª\u00b4ß¶]|¡[£°±®¯]|£[¬»º¨©¡]|锟斤拷|\?{4,}")
_PLACEHOLDER = re.compile(
    r"\b(?i:lorem ipsum)\b|"
    r"\b(?:TODO|TBD|FIXME|XXX+)\b|\bplaceholder\b|\$\{\w+\}|\{\{.*?\}\}|(?<!\w)\{\w+\}(?!\w)|%\(\w+\)s|"
    r"[\[<(](?i:insert|your|add|enter|description|caption|artist|title|name|text|subject|emotion)\b[^\]>)\n]{0,40}[\]>]|"
    r"(?i:\b(?:insert|add|enter|put|write) (?:your |the |a )?(?:description|text|caption|answer|comment) here\b)|"
    r"(?i:\b(?:description|text|caption) (?:goes |comes )?here\b)|"
    r"(?i:\bno (?:description|caption|comment|text) available\b)"
)
_NOTHING = re.compile(
    r"\W*(?:n/?a|null|none|nan|undefined|nil|empty|unknown|test|todo|description|caption|"
    r"tb[da]|x{3,}|(?:same as|see) (?:above|before|previous|below)|no (?:description|caption|comment))?\W*",
    re.IGNORECASE,
)
_FILE_NAME = re.compile(
    r"(?<![\w-])[\w-]+\.(?:jpe?g|png|gif|webp|tiff?|bmp|svg|heic|json|jsonl|csv|txt|pdf|psd|cr2|nef|dng|py|md)\b|"
    r"(?<![\w:/])(?:/[\w.-]+){3,}|\b[A-Z]:\\\w|\b(?:IMG|DSC[NF]?|PXL)_?\d{3,}",
    re.IGNORECASE,
)
# Not "well.... I like it".
_DOTS = re.compile(r"(?:^|(?<=\s))(?:\.{4,}|\u2026{2,}|(?:\. ){3,}\.)(?=\s+[a-z]|\W*$)|\.{4,}\W*$")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_LATIN_END = "\u024f"
_LITTLE = {  # little words of other languages that are none in English
    "german": "der das und ist ein eine einer mit von zu den dem des nicht auf für sich auch wird durch sind im",
    "french": "le la les et est une des du dans avec pour sur qui que ce cette sont pas par plus au aux",
    "spanish": "el la los las y es una con del por para que se su sus como más muy este esta son al",
    "italian": "il lo la gli e è una con del della che per di nel nella sono si come più molto questo questa",
    "portuguese": "o os e é uma com da dos das que por para não se como mais muito este esta são",
    "swedish": "och ett är på som med för det den av till från inte",
    "danish": "og er på som med det den til fra ikke af",
    "polish": "jest oraz się na przez są nie jak przedstawia widać które który",
    "turkish": "bir ve bu için çok ile olarak olan gibi daha",
    "indonesian": "yang dan ini dengan dari untuk pada itu adalah dalam",
    "dutch": "de het een en van met op voor niet zijn dat deze aan naar ook wordt",
}
_OTHER_WORDS = {name: frozenset(words.split()) for name, words in _LITTLE.items()}
_FEW_WORDS = 5  # of which nothing is told
_LITTLE_ENGLISH = "the a an of and in is are with to on it its this that by as for from at there has have"
_ENGLISH = frozenset(_LITTLE_ENGLISH.split())
_PARTICLE = re.compile(r"\b(?:van|von|de|der|den|du|di|da|del|della|la|le|el|los|les)(?= [A-Z])")  # of names
_QUOTED = re.compile(
    r"[\"\u201c\u201e\u00ab][^\"\u201d\u00bb\n]{1,80}[\"\u201d\u201c\u00bb]|(?<!\w)['\u2018][^'\u2019\n]{1,80}['\u2019](?!\w)"
)


@dataclass(frozen=True)
class TextFault:
    """Something in a text that is no description."""

    kind: str  # as listed above; "dots" for a run of dots within one
    text: str  # the words there


def find_text_faults(text: str) -> Iterator[TextFault]:
    """What is wrong with a text by itself, the first place of each kind."""
    if _NOTHING.fullmatch(text):
        yield TextFault("placeholder", text.strip())
        return
    for kind, pattern in _PATTERNS:
        found = pattern.search(text)
        if found is not None:
            yield TextFault(kind, found.group().strip())
    broken = _BROKEN.search(text)
    misread = broken.group() if broken is not None else next(filter(_is_misread, _FAR.findall(text)), None)
    if misread is not None:
        yield TextFault("encoding", misread)
    language = _other_language(text)
    if language is not None:
        yield TextFault("language", language)
    loop = _loop(text)
    if loop is not None:
        yield TextFault("loop", loop)


_PATTERNS = (
    *(("refusal", _REFUSAL), ("markup", _MARKUP), ("placeholder", _PLACEHOLDER), ("file-name", _FILE_NAME)),
    ("dots", _DOTS),
)


def _is_misread(run: str) -> bool:
    """Whether characters are UTF-8 that was read as Windows-1252 or Latin-1."""
    for encoding in ("cp1252", "latin-1"):
        try:
            run.encode(encoding).decode("utf-8")
            return True
        except UnicodeError:
            continue
    return False


def _other_language(text: str) -> str | None:
    """Words of another language; None where it is English or cannot be told."""
    letters = [character for character in text if character.isalpha()]
    far = "".join(character for character in letters if character > _LATIN_END)
    if len(far) >= 4 and len(far) > len(letters) / 5:
        return far[:40]
    own = _PARTICLE.sub("", _QUOTED.sub("", text))
    words = [word.lower() for word in _WORD.findall(own)]
    if len(words) < _FEW_WORDS:
        return None
    english = sum(word in _ENGLISH for word in words)
    if sum(not word.isascii() for word in words) > len(words) / 5 and english < len(words) / 10:
        return " ".join(words[:8])
    counts = {name: sum(word in known for word in words) for name, known in _OTHER_WORDS.items()}
    best = max(counts, key=counts.__getitem__)
    different = set(words) & _OTHER_WORDS[best]
    return " ".join(words[:8]) if counts[best] >= len(words) / 5 and len(different) >= 2 else None


def _loop(text: str) -> str | None:
    """Words that come four times, or several of them three times, one after the other; or a sentence three times."""
    words = [word.lower() for word in _WORD.findall(text)]
    for period in range(1, min(40, len(words) // 3) + 1):
        same, needed = 0, 3 if period == 1 else max(2 * period, 6)
        for place in range(period, len(words)):
            same = same + 1 if words[place] == words[place - period] else 0
            if same == needed:
                return " ".join(words[place - period + 1 : place + 1])
    sentences = Counter(" ".join(_WORD.findall(sentence)).lower() for sentence in re.split(r"[.!?\n]+", text))
    often = (sentence for sentence, count in sentences.items() if count >= 3 and sentence.count(" ") >= 2)
    return next(often, None)

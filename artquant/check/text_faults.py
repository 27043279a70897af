"""Descriptions that are none, or that break off."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import takewhile

from artquant.check.findings import Finding
from artquant.check.sources import Entry
from artquant.texts.text_faults import find_text_faults

_WHAT = {
    "refusal": "a model's refusal or address",
    "language": "another language than the others",
    "loop": "words over and over",
    "markup": "JSON, Markdown, HTML or marks of a tool",
    "encoding": "letters in a wrong encoding",
    "placeholder": "a placeholder",
    "file-name": "a file's name",
    "dots": "dots where words should be",
    "cut": "a sentence that breaks off",
}
_HABITS = ("language", "markup", "dots")  # that may be the data's own way
_MOST = 0.5  # of the texts, from which on it is
_SOME_DOTS = re.compile(r"(?<!\.)\.{2,3}(?!\.)")
_DOTTED = 0.02  # of the texts with two or three dots, from which on four are the writers' way too
_BROKEN_OFF = re.compile(r"(?:([^\W\d_]+)|[\d,;:(\-])\s*$")
_ENDINGS = frozenset({"es", "ed", "er", "ers", "or", "ors", "ing", "ings", "ly", "al", "ally", "ity", "ness", "ment"})
_WORDS = re.compile(r"[^\W\d_]+")
_FEWEST = 5  # words of a text that may break off: shorter ones are remarks
_ALMOST_ALL = 0.95  # of the texts end in a mark: those that do not break off


class TextFaults:
    """What is wrong with descriptions as texts; those that may be the data's way are told at the end."""

    def __init__(self) -> None:
        self._texts = 0
        self._dotted = 0
        self._waiting: dict[str, list[Finding]] = {kind: [] for kind in _HABITS}
        self._unended: list[tuple[str, Finding]] = []  # last word
        self._known: dict[str, int] = {}  # words, how often

    def add(self, entry: Entry, text: str) -> Iterator[Finding]:
        """What is wrong with a text by itself."""
        self._texts += 1
        self._dotted += _SOME_DOTS.search(text) is not None
        for word in _WORDS.findall(text.lower()):
            self._known[word] = self._known.get(word, 0) + 1
        faults = list(find_text_faults(text))
        for fault in faults:
            finding = _finding(entry, fault.kind, fault.text)
            if fault.kind in self._waiting:
                self._waiting[fault.kind].append(finding)
            else:
                yield finding
        last = _BROKEN_OFF.search(text)
        if last is not None and not faults and len(_WORDS.findall(text)) >= _FEWEST:
            self._unended.append(((last[1] or "").lower(), _finding(entry, "cut", text[-40:])))

    def finish(self) -> Iterator[Finding]:
        """What shows when everything has been read."""
        for kind, findings in self._waiting.items():
            own = (
                self._dotted > _DOTTED * self._texts if kind == "dots" else len(findings) > max(1, _MOST * self._texts)
            )
            if not own:
                yield from findings
        all_end = len(self._unended) <= (1 - _ALMOST_ALL) * self._texts
        known = sorted(self._known)
        for word, finding in self._unended:
            if all_end or (self._known.get(word) == 1 and _is_begun(word, known)):
                yield finding


def _is_begun(word: str, known: Sequence[str]) -> bool:
    """Whether a longer one of the known words begins so, and not by an ending alone ("review", "reviewed").

    known: in order, so that those which begin so follow each other.
    """
    following = map(known.__getitem__, range(bisect_right(known, word), len(known)))
    longer = (other[len(word) :] for other in takewhile(lambda other: other.startswith(word), following))
    return len(word) > 1 and any(rest not in _ENDINGS and len(rest) > 1 for rest in longer)


def _finding(entry: Entry, kind: str, text: str) -> Finding:
    said = " ".join(text.split())[:60]
    return entry.finding(f"text-{kind}", f"the text holds {_WHAT[kind]}: {said!r}; describe the picture again")

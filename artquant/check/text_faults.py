"""Descriptions that are none, or that break off."""

from __future__ import annotations

import re
from collections.abc import Iterator

from artquant.check.findings import Finding
from artquant.check.sources import Entry
from artquant.texts.text_faults import find_text_faults

_WHAT = {
    "refusal": "a model's refusal",
    "language": "another language than the others",
    "loop": "words over and over",
    "markup": "JSON, Markdown, HTML or marks of a tool",
    "encoding": "letters in a wrong encoding",
    "placeholder": "a placeholder",
    "file-name": "a file's name",
    "dots": "dots where words should be",
    "cut": "a text that breaks off",
}
# What may be the data's own way, if more than so large a share of the texts have it (and more than a few).
_HABITS = {"language": 0.5, "dots": 0.004, "markup": 0.5}
_FEW = 5  # texts
_ENDED = re.compile(r"[.!?\u2026\u3002\uff01\uff1f\"'\u201d\u2019)\]*:;,\-]\s*$")
_LAST_WORD = re.compile(r"([^\W\d_]+)\s*$")
_WORDS = re.compile(r"[^\W\d_]+")
_ALMOST_ALL = 0.95  # of the texts end in a mark: those that do not break off


class TextFaults:
    """What is wrong with descriptions as texts; those that may be the data's way are told at the end."""

    def __init__(self) -> None:
        self._texts = 0
        self._waiting: dict[str, list[Finding]] = {kind: [] for kind in _HABITS}
        self._unended: list[tuple[str, Finding]] = []  # last word
        self._known: dict[str, int] = {}  # words, how often

    def add(self, entry: Entry, text: str) -> Iterator[Finding]:
        """What is wrong with a text by itself."""
        self._texts += 1
        for word in _WORDS.findall(text.lower()):
            self._known[word] = self._known.get(word, 0) + 1
        for fault in find_text_faults(text):
            finding = _finding(entry, fault.kind, fault.text)
            if fault.kind in self._waiting:
                self._waiting[fault.kind].append(finding)
            else:
                yield finding
        last = _LAST_WORD.search(text)
        if last is not None and not _ENDED.search(text):
            self._unended.append((last[1].lower(), _finding(entry, "cut", text[-40:])))

    def finish(self) -> Iterator[Finding]:
        """What shows when everything has been read."""
        for kind, findings in self._waiting.items():
            if len(findings) <= max(_FEW if kind == "dots" else 1, _HABITS[kind] * self._texts):
                yield from findings
        all_end = len(self._unended) <= (1 - _ALMOST_ALL) * self._texts
        begun = {word[:length] for word in self._known for length in range(2, len(word) - 1)}
        for word, finding in self._unended:
            if all_end or (self._known[word] == 1 and len(word) > 1 and word in begun):
                yield finding


def _finding(entry: Entry, kind: str, text: str) -> Finding:
    said = " ".join(text.split())[:60]
    return entry.finding(f"text-{kind}", f"the text holds {_WHAT[kind]}: {said!r}; describe the picture again")

"""What a check finds: kinds of findings with their severity, and one finding.

An error is what stops a run, makes it learn something wrong, or makes its evaluation worthless; a warning is what is
likely a mistake but may be meant.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Kind:
    """One kind of finding."""

    severity: Severity
    title: str  # a few words for the heading


# In the order in which they are shown.
KINDS = {
    "file": Kind("error", "files that cannot be read"),
    "json": Kind("error", "broken JSON"),
    "not-as-prepared": Kind("error", "files that are not those of the data card beside them"),
    "empty": Kind("error", "files without records"),
    "record": Kind("error", "records that are not as the format says"),
    "duplicate-id": Kind("error", "ids used twice in a file"),
    "unknown-task": Kind("error", "unknown tasks"),
    "image-token": Kind("error", "image tokens that are missing or too many"),
    "empty-text": Kind("error", "empty questions or answers"),
    "score-off-scale": Kind("error", "scores outside the scale"),
    "std": Kind("error", "impossible standard deviations"),
    "level-probs": Kind("error", "distributions that cannot be used"),
    "distribution": Kind("error", "distributions that do not give the score"),
    "votes": Kind("error", "votes that do not give the score or its deviation"),
    "conflicting-scores": Kind("error", "different scores for the same picture"),
    "attribute-score": Kind("error", "attribute scores that contradict the picture's attributes"),
    "level-repeated": Kind("error", "descriptions of a level that are another level's"),
    "level-shifted": Kind("error", "descriptions that belong to the record before or after"),
    "too-long": Kind("error", "conversations longer than max_length"),
    "prompt": Kind("error", "conversations that do not line up with the prompt"),
    "picture-folder": Kind("error", "folders without the pictures"),
    "picture-missing": Kind("error", "missing pictures"),
    "picture-no-file": Kind("error", "pictures that are folders or no regular files"),
    "picture-unreadable": Kind("error", "pictures that cannot be opened"),
    "picture-empty": Kind("error", "empty picture files"),
    "not-a-picture": Kind("error", "files that are no pictures"),
    "picture-damaged": Kind("error", "damaged pictures"),
    "picture-too-small": Kind("error", "pictures too small to be used"),
    "picture-too-large": Kind("error", "pictures too large to be used"),
    "picture-shape": Kind("error", "pictures too long for their width"),
    "picture-crash": Kind("error", "pictures that end the process that reads them"),
    "leak-same-picture": Kind("error", "pictures both in training and test"),
    "leak-copy": Kind("error", "test pictures that are copies of training pictures"),
    "leak-near-copy": Kind("error", "test pictures that show the same as training pictures"),
    "start": Kind("warning", "start models that are not there yet"),
    "picture-twice": Kind("warning", "pictures under two ids in a file"),
    "no-scores": Kind("warning", "test lists that cannot be evaluated"),
    "constant-scores": Kind("warning", "files in which all scores are the same"),
    "answer-word": Kind("warning", "answers with another rating word than the score's"),
    "answer-form": Kind("warning", "score answers that are not the prompt's"),
    "score-leak": Kind("warning", "descriptions that give the score away"),
    "text-refusal": Kind("warning", "descriptions in which a model refuses"),
    "text-language": Kind("warning", "descriptions in another language than the others"),
    "text-cut": Kind("warning", "descriptions that break off"),
    "text-loop": Kind("warning", "descriptions that repeat themselves"),
    "text-markup": Kind("warning", "descriptions with JSON, Markdown, HTML or marks of a tool"),
    "text-encoding": Kind("warning", "descriptions read in a wrong encoding"),
    "text-placeholder": Kind("warning", "descriptions with placeholders"),
    "text-dots": Kind("warning", "descriptions with dots in place of words"),
    "text-file-name": Kind("warning", "descriptions that name files"),
    "repeated-text": Kind("warning", "the same description for several pictures"),
    "not-cumulative": Kind("warning", "descriptions that do not begin with the level before"),
    "level-missing": Kind("warning", "pictures without a description of a level"),
    "picture-animated": Kind("warning", "animations and documents of several pages"),
    "picture-suffix": Kind("warning", "file names that say another format"),
    "picture-zeros": Kind("warning", "uncompressed pictures that end in zeros"),
    "picture-blank": Kind("warning", "pictures of one colour"),
    "picture-coarse": Kind("warning", "pictures with few pixels"),
    "copy": Kind("warning", "copies within a split"),
    "near-copy": Kind("warning", "pictures within a split that show the same"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, where it is, and what to do about it."""

    kind: str  # a key of KINDS
    message: str  # what is wrong; what to do
    file: str | None = None  # the records file, as it was named
    record: int | None = None  # number in the file, from 1
    id: str | None = None  # of the record
    picture: str | None = None  # path of the picture

    @property
    def severity(self) -> Severity:
        """As its kind's."""
        return KINDS[self.kind].severity

    @property
    def where(self) -> str:
        """File, record and id, as far as they are known; else the picture."""
        if self.file is None:
            return self.picture or ""
        record = "" if self.record is None else f" record {self.record}"
        identity = "" if self.id is None else f" (id {self.id[:100]!r})"
        return f"{self.file}{record}{identity}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {"severity": self.severity} | asdict(self)


def in_order(findings: list[Finding]) -> list[Finding]:
    """By kind as in KINDS, then by file, record and picture."""
    order = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(
        findings, key=lambda found: (order[found.kind], found.file or "", found.record or 0, found.picture or "")
    )

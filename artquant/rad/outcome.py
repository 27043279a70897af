"""A scored picture, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from artquant.texts.descriptions import PARTS


@dataclass(frozen=True)
class Entry:
    """A picture of the data set and what people said about it."""

    image: str
    score: float
    attributes: dict[str, float]
    category: str | None = None
    comment: str | None = None


@dataclass(frozen=True)
class Draft:
    """One description, as it was written in one round."""

    part: str  # perception, cognition or emotion
    round: int  # from 1
    text: str
    mark: float | None  # the judge's, 0 to 10; None where a rule objected before
    objections: tuple[tuple[str, str], ...]  # who objected (rule, judge, reader, witness, leaks) and why
    kept: bool  # in the end


@dataclass(frozen=True)
class Canary:
    """A judge tried with what it should reject."""

    role: str  # judge: with the scores of another picture; witness: with another picture
    other: str  # its name
    caught: bool


@dataclass(frozen=True)
class Outcome:
    """What became of a picture. Only `failed` and `unreadable` ones can be tried again."""

    image: str
    state: str  # kept (three parts), partly (perception, perhaps cognition), dropped, unreadable, failed
    reason: str = ""
    drafts: tuple[Draft, ...] = ()
    canaries: tuple[Canary, ...] = ()
    score_read: float | None = None  # off the text alone, by the reader

    @property
    def texts(self) -> dict[str, str]:
        """The descriptions that were kept, by part."""
        kept = {draft.part: draft.text for draft in self.drafts if draft.kept}
        return {part: kept[part] for part in PARTS if part in kept}

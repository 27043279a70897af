"""Descriptions: what a text gives away, repeats or leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from artquant.check.findings import Finding
from artquant.check.sources import Entry, Place
from artquant.data.records import TrainingRecord
from artquant.labels.rating_scale import RatingScale
from artquant.texts.leaks import find_leaks

REPEATED = 3  # pictures with the same description from which on it is a finding
_Group = tuple[str, "int | None"]  # file, and level where records say it


class DescriptionChecks:
    """Everything about descriptions. Texts are not kept, only their digests."""

    def __init__(self, scale: RatingScale) -> None:
        self.scale = scale
        self._pictures: dict[bytes, set[str]] = {}  # by text
        self._first: dict[bytes, Place] = {}
        self._texts: dict[_Group, dict[str, tuple[int, bytes, Place]]] = {}  # by picture: length, digest, place
        # Of a group and one before it: pictures in both, and those whose text does not begin with the other's.
        self._shared: dict[tuple[_Group, _Group], int] = {}
        self._unlike: dict[tuple[_Group, _Group], list[tuple[Place, str, Place]]] = {}

    def add(self, entry: Entry) -> Iterator[Finding]:
        """What is wrong with a record by itself."""
        record = entry.record
        if not isinstance(record, TrainingRecord) or record.task != "description":
            return
        leaks = find_leaks(record.answer, self.scale.words)
        if leaks:
            more = f" and {len(leaks) - 1} more" if len(leaks) > 1 else ""
            yield entry.finding("score-leak", f"the text says {leaks[0].text!r}{more}; take it out of the description")
        digest = _digest(record.answer)
        self._first.setdefault(digest, entry.place)
        self._pictures.setdefault(digest, set()).add(entry.picture)
        group = (entry.place.file, record.level)
        for other, texts in self._texts.items():
            known = texts.get(entry.picture)
            if other != group and known is not None and known[2] != entry.place:
                pair = (other, group)
                self._shared[pair] = self._shared.get(pair, 0) + 1
                if _digest(record.answer[: known[0]]) != known[1]:
                    self._unlike.setdefault(pair, []).append((entry.place, entry.picture, known[2]))
        self._texts.setdefault(group, {})[entry.picture] = (len(record.answer), digest, entry.place)

    def finish(self) -> Iterator[Finding]:
        """What shows when everything has been read."""
        for digest, pictures in self._pictures.items():
            if len(pictures) >= REPEATED:
                message = f"{len(pictures)} pictures have this same description; describe each picture by itself"
                yield Finding("repeated-text", message, *self._first[digest])
        groups = list(self._texts)
        for number, group in enumerate(groups):
            before = next((other for other in reversed(groups[:number]) if self._is_next_level(other, group)), None)
            if before is not None:
                yield from self._compare(before, group)

    def _is_next_level(self, before: _Group, group: _Group) -> bool:
        """Levels by what the records say; where they do not say it, if most texts begin with the other file's."""
        if before[1] is not None and group[1] is not None:
            return before[1] + 1 == group[1] and self._shared.get((before, group), 0) > 0
        shared, unlike = self._shared.get((before, group), 0), len(self._unlike.get((before, group), ()))
        return shared > 0 and unlike <= shared / 2

    def _compare(self, before: _Group, group: _Group) -> Iterator[Finding]:
        for place, picture, other in self._unlike.get((before, group), ()):
            message = f"does not begin with the description of the level before ({other}); build the levels again"
            yield Finding("not-cumulative", message, *place, picture=picture)
        lower, upper = self._texts[before], self._texts[group]
        for here, there, name in ((lower, upper, _name(group)), (upper, lower, _name(before))):
            for picture, (_, _, place) in here.items():
                if picture not in there:
                    message = f"this picture is not in {name}; add its description there, or leave it out here"
                    yield Finding("level-missing", message, *place, picture=picture)


def _name(group: _Group) -> str:
    file, level = group
    return file if level is None else f"level {level} of {file}"


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

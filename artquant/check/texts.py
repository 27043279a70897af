"""Descriptions: what a text gives away, repeats or leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from artquant.check.findings import Finding
from artquant.check.sources import Entry, Place
from artquant.check.text_faults import TextFaults
from artquant.data.records import TrainingRecord
from artquant.labels.rating_scale import RatingScale
from artquant.texts.leaks import find_leaks

REPEATED = 3  # pictures with the same description from which on it is a finding
_Group = tuple[str, "int | None"]  # file, and level where records say it
_Pair = tuple[_Group, _Group]


class DescriptionChecks:
    """Everything about descriptions. Texts are not kept, only their digests."""

    def __init__(self, scale: RatingScale) -> None:
        self.scale = scale
        self._faults: dict[str, TextFaults] = {}  # by file, which may have its own ways
        self._pictures: dict[bytes, set[str]] = {}  # by text
        self._first: dict[bytes, Place] = {}
        self._texts: dict[_Group, dict[str, tuple[int, bytes, Place]]] = {}  # by picture: length, digest, place
        self._rows: dict[_Group, list[tuple[int, bytes]]] = {}  # length and digest, as the records come
        # Of a group and one before it: pictures in both, and those whose text does not begin with the other's.
        self._shared: dict[_Pair, int] = {}
        self._unlike: dict[_Pair, list[tuple[Place, str, Place]]] = {}
        self._no_more: dict[_Pair, int] = {}  # pictures whose text has nothing that a higher level's does not have
        self._moved: dict[tuple[_Pair, int], int] = {}  # those that begin with the text of the record before or after

    def add(self, entry: Entry) -> Iterator[Finding]:
        """What is wrong with a record by itself."""
        record = entry.record
        if not isinstance(record, TrainingRecord) or record.task != "description":
            return
        leaks = find_leaks(record.answer, self.scale.words)
        if leaks:
            more = f" and {len(leaks) - 1} more" if len(leaks) > 1 else ""
            yield entry.finding("score-leak", f"the text says {leaks[0].text!r}{more}; take it out of the description")
        yield from self._faults.setdefault(entry.place.file, TextFaults()).add(entry, record.answer)
        digest = _digest(record.answer)
        self._first.setdefault(digest, entry.place)
        self._pictures.setdefault(digest, set()).add(entry.picture)
        group = (entry.place.file, record.level)
        number = len(self._rows.setdefault(group, []))
        for other, texts in self._texts.items():
            known = texts.get(entry.picture)
            if other != group and known is not None and known[2] != entry.place:
                self._relate((other, group), entry, record.answer, known, number)
        self._rows[group].append((len(record.answer), digest))
        self._texts.setdefault(group, {})[entry.picture] = (len(record.answer), digest, entry.place)

    def _relate(self, pair: _Pair, entry: Entry, answer: str, known: tuple[int, bytes, Place], number: int) -> None:
        """Count how a picture's text stands to the one it has in a group before."""
        self._shared[pair] = self._shared.get(pair, 0) + 1
        (_, before), (_, here) = pair
        begins = _digest(answer[: known[0]]) == known[1]
        if not begins:
            self._unlike.setdefault(pair, []).append((entry.place, entry.picture, known[2]))
            rows = self._rows[pair[0]]
            for step in (-1, 1):
                if 0 <= number + step < len(rows):
                    length, digest = rows[number + step]
                    moved = _digest(answer[:length]) == digest
                    self._moved[pair, step] = self._moved.get((pair, step), 0) + moved
        elif before is None or here is None:
            self._no_more[pair] = self._no_more.get(pair, 0) + (len(answer) == known[0])
        elif here < before or (here > before and len(answer) == known[0]):
            self._no_more[pair] = self._no_more.get(pair, 0) + 1

    def finish(self) -> Iterator[Finding]:
        """What shows when everything has been read."""
        for faults in self._faults.values():
            yield from faults.finish()
        for digest, pictures in self._pictures.items():
            if len(pictures) >= REPEATED:
                message = f"{len(pictures)} pictures have this same description; describe each picture by itself"
                yield Finding("repeated-text", message, *self._first[digest])
        yield from self._misplaced()
        groups = list(self._texts)
        for number, group in enumerate(groups):
            before = next((other for other in reversed(groups[:number]) if self._is_next_level(other, group)), None)
            if before is not None:
                yield from self._compare(before, group)

    def _misplaced(self) -> Iterator[Finding]:
        """Whole files that are another level's, or one record off."""
        for pair, shared in self._shared.items():
            other, group = pair
            if self._no_more.get(pair, 0) > shared / 2:
                message = f"holds the texts of {_name(other)}; give each level its own file"
                yield Finding("level-repeated", f"{_name(group)} {message}", group[0])
            for step, where in ((-1, "before"), (1, "after")):
                if self._moved.get((pair, step), 0) > shared / 2:
                    message = (
                        f"texts belong to the pictures one record {where}, by {_name(other)}; build the levels again"
                    )
                    yield Finding("level-shifted", f"{_name(group)}: {message}", group[0])

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

"""Reading records so that every fault of every record is found, not only the first."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from artquant.check.findings import Finding
from artquant.check.picture_uses import Uses
from artquant.check.sources import Entry, Place, Source
from artquant.data.images import ImageError
from artquant.data.records import (
    IMAGE_TOKEN,
    ImageRecord,
    RecordError,
    TrainingRecord,
    parse_image_record,
    parse_training_record,
    read_image_records,
)
from artquant.files.json_files import JsonError
from artquant.files.json_stream import iterate_json
from artquant.labels.rating_scale import RatingScale

# Kinds of findings by what a record's error says; the first that fits. Any other is a "record".
_KINDS = (
    ("record needs", "record"),
    ("record has no", "record"),
    (f"one {IMAGE_TOKEN}", "image-token"),
    (f"not hold {IMAGE_TOKEN}", "image-token"),
    ("question is empty", "empty-text"),
    ("answer is empty", "empty-text"),
    ('unknown "task_type"', "unknown-task"),
    ("is outside", "score-off-scale"),
    ('"std"', "std"),
    ('"level_probs"', "level-probs"),
    ("no picture", "picture-missing"),
)
_KEY = re.compile(r'"(id|image|gt_score|std|level_probs|attribute|level|conversations|value)"')
_TURNS = re.compile(r"\b(turn|question|answer)\b")


class Reader:
    """Reads the records of a source, one at a time; faults become findings.

    Args:
        source: The file or folder.
        scale: Scores outside it are faults.
        findings: Faults are appended to it.
        uses: The pictures of all records are added to it, those of faulty records too.
    """

    def __init__(self, source: Source, scale: RatingScale, findings: list[Finding], uses: Uses) -> None:
        self.source = source
        self.scale = scale
        self.findings = findings
        self.uses = uses
        self.name = str(source.path)
        self.count = 0  # records read so far, faulty ones included
        self.pictures: set[str] = set()  # that they name
        self._folder = source.images or source.path.parent
        self._ids: dict[str, int] = {}

    def entries(self) -> Iterator[Entry]:
        """The records that are as the format says."""
        if self.source.path.is_dir() and not self.source.conversations:
            yield from self._pictures_of_a_folder()
            return
        try:
            for number, item in _items(self.source):
                self.count += 1
                if isinstance(item, JsonError):
                    self._report("json", str(item).removeprefix(f"{self.name} "), number, None)
                    continue
                entry = self._entry(number, item)
                if entry is not None:
                    yield entry
        except JsonError as error:
            kind = "json" if self.source.path.is_file() and not _unreadable(self.source.path) else "file"
            self._report(kind, str(error).removeprefix(self.name).lstrip(": "), None, None)
            return
        if self.count == 0:
            self._report("empty", "holds no records; check that this is the right file", None, None)

    def _pictures_of_a_folder(self) -> Iterator[Entry]:
        try:
            records = read_image_records(self.source.path)
        except ImageError as error:
            self._report("empty", str(error), None, None)
            return
        for number, record in enumerate(records, start=1):
            self.count += 1
            yield self._named(number, {}, record)

    def _entry(self, number: int, item: Any) -> Entry | None:
        record, faults = self._parse_all(number, item)
        identity = _id_of(item, self.source)
        for kind, message in faults:
            self._report(kind, message, number, identity)
        if identity is not None:
            first = self._ids.setdefault(identity, number)
            if first != number:
                message = f"the same id as record {first}; give each its own"
                self._report("duplicate-id", message, number, identity)
        if record is None:
            return None
        entry = self._named(number, item, record)
        return None if faults else entry

    def _named(self, number: int, item: dict[str, Any], record: TrainingRecord | ImageRecord) -> Entry:
        picture = os.path.normpath(record.image)
        place = Place(self.name, number, record.id)
        self.uses.add(picture, self.source.split, place)
        self.pictures.add(picture)
        return Entry(self.source, place, item, record, picture)

    def _parse_all(self, number: int, item: Any) -> tuple[TrainingRecord | ImageRecord | None, list[tuple[str, str]]]:
        """Every fault, found by replacing what is at fault until it parses; None where its picture is not known."""
        faults: list[tuple[str, str]] = []
        replaced: set[str] = set()
        while True:
            try:
                record = self._parse(number, item)
                return (None if "image" in replaced else record), faults
            except RecordError as error:
                message = _without_place(str(error), f"{self.name} record {number}", item)
                faults.append((_kind(message), message))
                key = _key_at_fault(message)
                if key is None or key in replaced:
                    return None, faults
                replaced.add(key)
                item = item | {key: self._valid(key, number)}

    def _parse(self, number: int, item: Any) -> TrainingRecord | ImageRecord:
        where = f"{self.name} record {number}"
        score_range = (self.scale.low, self.scale.high)
        if self.source.conversations:
            return parse_training_record(item, where, self._folder, len(self.scale.words), score_range)
        return parse_image_record(item, where, self._folder, score_range)

    def _valid(self, key: str, number: int) -> Any:
        """Something that passes in place of what is at fault; None for what may be left out."""
        turns = [{"from": "human", "value": f"?\n{IMAGE_TOKEN}"}, {"from": "gpt", "value": "."}]
        name = f"record {number}"
        return {"id": name, "image": name, "gt_score": self.scale.low, "conversations": turns}.get(key)

    def _report(self, kind: str, message: str, number: int | None, identity: str | None) -> None:
        self.findings.append(Finding(kind, message, self.name, number, identity))


def _items(source: Source) -> Iterator[tuple[int, Any]]:
    """Number from 1 and value of each record; of JSON lines, a line that is not JSON is its JsonError."""
    for number, (_, _, item) in enumerate(iterate_json(source.path, faulty_lines=True), start=1):
        yield number, item


def _unreadable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return False
    except OSError:
        return True


def _id_of(item: Any, source: Source) -> str | None:
    """The id as it counts for being unique, also of a record with other faults."""
    if not isinstance(item, dict):
        return None
    identity = item.get("id")
    if identity is None and not source.conversations:
        identity = item.get("image")
    usable = isinstance(identity, (str, int)) and not isinstance(identity, bool)
    return str(identity) if usable else None


def _without_place(message: str, where: str, item: Any) -> str:
    """An error's message without file, record number and id, which a finding holds by themselves."""
    message = message.removeprefix(where)
    if isinstance(item, dict) and isinstance(item.get("id"), (str, int)):
        message = message.removeprefix(f" (id {str(item['id'])[:200]!r})")
    return message.removeprefix(": ")


def _kind(message: str) -> str:
    return next((kind for fragment, kind in _KINDS if fragment in message), "record")


def _key_at_fault(message: str) -> str | None:
    """The record's key that a message is about; None if it is none that could be replaced."""
    if "task_type" in message:
        return None
    if _TURNS.search(message):
        return "conversations"
    found = _KEY.search(message)
    if found is not None:
        return "conversations" if found.group(1) == "value" else found.group(1)
    return "image" if "no picture" in message else None

"""Reading records so that every fault of every record is found, not only the first."""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from artquant.check.findings import Finding
from artquant.check.picture_uses import Uses
from artquant.check.sources import Entry, Place, Source
from artquant.data.images import ImageError
from artquant.data.picture_names import PictureNames
from artquant.data.prepared import require_as_prepared, require_levels
from artquant.data.records import (
    ImageRecord,
    Parsed,
    TrainingRecord,
    parse_image_record,
    parse_training_record,
    read_image_records,
)
from artquant.errors import ArtQuantError
from artquant.files.json_files import JsonError
from artquant.files.json_stream import iterate_json
from artquant.files.opened import FileUnreadable, opened
from artquant.labels.rating_scale import RatingScale

_LINE = 4096  # bytes of the first line that are looked at
_MANY = 20  # records from which on a fault of all of them is said once


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
        self._names = PictureNames()

    def entries(self) -> Iterator[Entry]:
        """The records that are as the format says."""
        if self.source.path.is_dir() and not self.source.conversations:
            yield from self._pictures_of_a_folder()
            return
        for require in (require_as_prepared, partial(require_levels, scale=self.scale)):
            try:
                require(self.source.path)
            except ArtQuantError as error:
                self._report("not-as-prepared", str(error).removeprefix(self.name).lstrip(": "))
        before = len(self.findings)
        yield from self._records()
        self._say_once(before)

    def _records(self) -> Iterator[Entry]:
        try:
            for _, _, item in iterate_json(self.source.path, faulty=True):
                self.count += 1
                if self.count == 1 and not isinstance(item, dict) and (said := self._no_records()):
                    self._report("file", said)
                    return
                if isinstance(item, JsonError):
                    self._report("json", str(item).removeprefix(f"{self.name} "), self.count, None)
                    continue
                entry = self._entry(self.count, item)
                if entry is not None:
                    yield entry
        except (FileUnreadable, JsonError) as error:
            kind = "file" if isinstance(error, FileUnreadable) else "json"
            self._report(kind, str(error).removeprefix(self.name).lstrip(": "))
            return
        if self.count == 0:
            self._report("empty", "holds no records; check that this is the right file")

    def _no_records(self) -> str | None:
        """What a file of lines is whose first line is no object, such as a CSV; None for a list."""
        with opened(self.source.path) as stream:
            line = stream.readline(_LINE).removeprefix(BOM_UTF8).decode("utf-8", "replace").strip()
        if line[:1] in ("", "[", "{"):
            return None
        table = any(mark in line for mark in ",;\t|")
        what = f"no JSON records: its first line is {line[:60]!r}"
        make = f"make records of a table with `artquant prepare generic {self.name} --out FOLDER`"
        return f"{what}; {make if table else 'name a JSON list or JSON lines of records'}"

    def _say_once(self, before: int) -> None:
        """A fault that all records have, in the same words, is the file's: one finding in place of thousands."""
        new = self.findings[before:]
        counts = Counter((found.kind, found.message) for found in new if found.record is not None)
        of_all = {fault for fault, count in counts.items() if count == self.count >= _MANY}
        if of_all:
            self.findings[before:] = [found for found in new if (found.kind, found.message) not in of_all]
            for kind, message in of_all:
                self._report(kind, f"{message} (so in all {self.count:,} records)")

    def _pictures_of_a_folder(self) -> Iterator[Entry]:
        try:
            records = read_image_records(self.source.path)
        except ImageError as error:
            self._report("empty", str(error))
            return
        for record in records:
            self.count += 1
            yield self._named_entry({}, record)

    def _entry(self, number: int, item: Any) -> Entry | None:
        parsed = self._parse(f"{self.name} record {number}", item)
        for fault in parsed.faults:
            self._report(fault.kind, fault.message, number, parsed.id)
        if parsed.id is not None:
            first = self._ids.setdefault(parsed.id, number)
            if first != number:
                self._report("duplicate-id", f"the same id as record {first}; give each its own", number, parsed.id)
        if parsed.record is not None:
            return self._named_entry(item, parsed.record)
        if parsed.image is not None:
            self._note(parsed.image, parsed.id or f"record {number}")
        return None

    def _named_entry(self, item: dict[str, Any], record: TrainingRecord | ImageRecord) -> Entry:
        picture, place = self._note(record.image, record.id)
        return Entry(self.source, place, item, record, picture)

    def _note(self, image: Path, identity: str) -> tuple[str, Place]:
        """Count the picture of the record that was read last; its path as it counts, and where it was named."""
        picture, place = os.path.normpath(image), Place(self.name, self.count, identity)
        self.uses.add(picture, self.source.split, place)
        self.pictures.add(picture)
        return picture, place

    def _parse(self, source: str, item: Any) -> Parsed[TrainingRecord] | Parsed[ImageRecord]:
        score_range = self.source.score_range or (self.scale.low, self.scale.high)
        if self.source.conversations:
            levels, attributes = len(self.scale.words), self.source.attributes
            return parse_training_record(item, source, self._folder, levels, score_range, attributes, self._names)
        return parse_image_record(item, source, self._folder, score_range, self._names)

    def _report(self, kind: str, message: str, number: int | None = None, identity: str | None = None) -> None:
        self.findings.append(Finding(kind, message, self.name, number, identity))

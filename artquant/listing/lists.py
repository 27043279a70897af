"""Lists of pictures: records in JSON, names a line each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from artquant.data.fields import Fields, RecordError
from artquant.data.picture_names import PictureNames
from artquant.data.prepared import require_as_prepared
from artquant.data.records import parse_image_record
from artquant.data.turns import picture_name
from artquant.errors import visible
from artquant.files.json_files import decoded, lines_of
from artquant.files.json_stream import iterate_records
from artquant.files.opened import opened
from artquant.listing.entry import Entry
from artquant.listing.given import Reading


def json_entries(file: Path, reading: Reading) -> Iterator[Entry]:
    """The records of a JSON list or of JSON lines, by the record contract.

    Raises:
        ArtQuantError: as `artquant.data.records.read_image_records`, at the record that is at fault.
    """
    require_as_prepared(file)
    folder, names = reading.images or file.parent, PictureNames()
    for source, item in iterate_records(file):
        record = parse_image_record(item, source, folder, None, names).valid()
        path = visible(picture_name(Fields(item, source)))
        yield Entry(record.id, path, os.fspath(record.image), gt_score=record.gt_score, source=source)


def text_entries(file: Path, reading: Reading) -> Iterator[Entry]:
    """Names of pictures, one a line; blank lines are passed over.

    Raises:
        ArtQuantError: a line is no UTF-8 or no name, or there are none.
    """
    place = Place(file, reading.images)
    found = False
    with opened(file) as stream:
        for number, line in enumerate(lines_of(stream, file), start=1):
            name = decoded(line, file, number).rstrip("\r\n")
            if name.strip():
                found = True
                yield place.entry(name, number)
    if not found:
        raise RecordError(f"{file}: holds no records, and no names of pictures; check that it is complete")


class Place:
    """Where the pictures of a list lie."""

    def __init__(self, file: Path, images: Path | None):
        self._file = file
        self._folder = images or file.parent
        self._names = PictureNames()

    def entry(self, name: str, number: int, identity: str | None = None, gt_score: float | None = None) -> Entry:
        """Entry of a picture that line or row `number` (from 1) names.

        Raises:
            RecordError: it is no name of a file.
        """
        source = f"{self._file} record {number}"
        if "\0" in name or not name.strip():
            what = "holds a zero character" if name.strip() else "is empty"
            raise RecordError(f"{source}: the picture's name {what}; correct the list")
        shown, file = visible(name), os.fspath(self._names.path(self._folder, name))
        return Entry(identity or shown, shown, file, gt_score=gt_score, source=source)

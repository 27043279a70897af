"""Seeing that the pictures of records are there, before a long run finds out."""

from __future__ import annotations

import os
from collections.abc import Sequence

from artquant.data.fields import RecordError
from artquant.data.picture_names import PictureNames
from artquant.data.records import ImageRecord, TrainingRecord


def check_images_exist(records: Sequence[TrainingRecord] | Sequence[ImageRecord]) -> None:
    """Check that every picture file is there, before a long run finds out.

    Raises:
        RecordError: Pictures are missing: one error with the first of them and the count.
    """
    missing = MissingPictures()
    for record in records:
        missing.note(record)
    missing.refuse(len(records))


class MissingPictures:
    """Notes whose picture is not there, record by record; a folder is listed once instead of asking for each file."""

    def __init__(self) -> None:
        self._folders: dict[str, set[str]] = {}
        self._names = PictureNames()
        self._first: TrainingRecord | ImageRecord | None = None
        self._count = 0

    def note(self, record: TrainingRecord | ImageRecord) -> None:
        """Look for a record's picture."""
        folder, name = os.path.split(record.image)
        if folder not in self._folders:
            self._folders[folder] = _files(folder)
        # A file system may know a file under a name that it does not list (other capitals, say).
        if name not in self._folders[folder] and not os.path.isfile(record.image):
            self._first = self._first or record
            self._count += 1

    def refuse(self, records: int) -> None:
        """Raise a RecordError about the first missing picture, if there is one; `records` were looked at."""
        if self._first is not None:
            raise RecordError(
                f"{self._first.source} (id {self._first.id!r}): no picture {str(self._first.image)!r}"
                f"{self._names.hint(self._first.image)}; "
                f"missing for {self._count} of {records} records: check the image folder"
            )


def _files(folder: str) -> set[str]:
    """Names of the files in a folder; none where there is no such folder."""
    try:
        with os.scandir(folder or ".") as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()

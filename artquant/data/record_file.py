"""Training records that stay in their file: opened once, checked, then read one by one when they are asked for.

What the start of training needs of every record - its score or distribution, its task, how long its text is - is kept
in columns of numbers; text and names stay on the disk. So memory does not grow with the length of the descriptions, and
a process that reads pictures gets the file's place, not its content.
"""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import overload

import numpy as np

from artquant.data.fields import RecordError
from artquant.data.missing_pictures import MissingPictures
from artquant.data.picture_names import PictureNames
from artquant.data.prepared import require_as_prepared
from artquant.data.records import TrainingRecord, parse_training_record
from artquant.files.json_files import parse_json
from artquant.files.json_stream import iterate_json
from artquant.files.opened import opened

_ATTRIBUTE_BYTES = 40  # of an answer about one attribute beside its name, about
_REPRESENTATIVES = 1000  # different questions and attributes of which one record is remembered


@dataclass(frozen=True)
class RecordColumns:
    """What is known of N records without reading their text; K rating words."""

    score: np.ndarray  # [N] float64, NaN: none
    std: np.ndarray  # [N] float64, of the score; NaN: none
    level_probs: np.ndarray  # [N, K] float64, rows of NaN: none
    is_scored: np.ndarray  # [N] bool: a score record; otherwise a description
    text_bytes: np.ndarray  # [N] int32, question and answer in UTF-8
    pictures: np.ndarray  # [N] int64, the same number for the same picture: eight bytes of a hash of its path
    attribute: np.ndarray  # [N] int32, place in `attributes`; -1: none
    attributes: tuple[str, ...]  # that score records are about, in order of appearance
    one_text: bool  # whether all of these stand in answers with several scores
    representatives: tuple[int, ...]  # for each question and attribute (at most 1,000) the first record with it

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def of(cls, records: Iterable[TrainingRecord], number_of_levels: int) -> RecordColumns:
        """The columns of records as they come."""
        score, std, probs, scored, text_bytes, attribute = [], [], [], [], [], []
        pictures = bytearray()
        first: dict[tuple[str, str | None, tuple[str | None, ...], str], int] = {}
        attributes: dict[str, int] = {}
        single = False
        nothing = (np.nan,) * number_of_levels
        for index, record in enumerate(records):
            score.append(np.nan if record.gt_score is None else record.gt_score)
            std.append(np.nan if record.std is None else record.std)
            probs.append(record.level_probs or nothing)
            scored.append(record.task == "score")
            turns = (record.question, record.answer, *(turn for turns in record.rounds for turn in turns))
            beside = sum(len(one.name.encode()) + _ATTRIBUTE_BYTES for one in record.attributes)
            text_bytes.append(beside + sum(len(turn.encode()) for turn in turns))
            pictures += hashlib.blake2b(os.fsencode(record.image), digest_size=8).digest()
            name = record.attribute
            attribute.append(-1 if name is None else attributes.setdefault(name, len(attributes)))
            single |= name is not None or bool(record.attributes)
            for name in (*filter(None, record.names), *(one.name for one in record.attributes)):
                attributes.setdefault(name, len(attributes))
            if len(first) < _REPRESENTATIVES:
                first.setdefault((record.task, record.attribute, record.names, record.question), index)
        return cls(
            score=np.array(score, dtype=np.float64),
            std=np.array(std, dtype=np.float64),
            level_probs=np.array(probs, dtype=np.float64).reshape(-1, number_of_levels),
            is_scored=np.array(scored, dtype=bool),
            text_bytes=np.array(text_bytes, dtype=np.int32),
            pictures=np.frombuffer(bytes(pictures), dtype=np.int64),
            attribute=np.array(attribute, dtype=np.int32),
            attributes=tuple(attributes),
            one_text=bool(attributes) and not single,
            representatives=tuple(first.values()),
        )

    @classmethod
    def joined(cls, parts: Sequence[RecordColumns]) -> RecordColumns:
        """The columns of several sets, one after the other."""
        starts = [0, *accumulate(len(part) for part in parts)]
        attributes = tuple(dict.fromkeys(name for part in parts for name in part.attributes))
        places = [np.array([*map(attributes.index, part.attributes), -1], dtype=np.int32) for part in parts]
        as_they_are = ("score", "std", "level_probs", "is_scored", "text_bytes", "pictures")
        return cls(
            **{name: np.concatenate([vars(part)[name] for part in parts]) for name in as_they_are},
            attribute=np.concatenate([there[part.attribute] for there, part in zip(places, parts, strict=True)]),
            attributes=attributes,
            one_text=any(part.one_text for part in parts) and all(part.one_text for part in parts if part.attributes),
            representatives=tuple(
                start + index for start, part in zip(starts, parts, strict=False) for index in part.representatives
            ),
        )


class _Records(Sequence[TrainingRecord]):
    """A sequence whose records are read when they are asked for."""

    @overload
    def __getitem__(self, index: int) -> TrainingRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[TrainingRecord]: ...
    def __getitem__(self, index: int | slice) -> TrainingRecord | list[TrainingRecord]:
        """One record, or a list of them.

        Raises:
            RecordError: The file was changed since it was opened.
        """
        if isinstance(index, slice):
            return [self._at(place) for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._at(index % len(self))

    @abstractmethod
    def _at(self, index: int) -> TrainingRecord:
        """The record at an index from 0 on."""


class RecordFile(_Records):
    """The training records of a JSON list or JSON lines, checked once when it is opened and read when asked for.

    Args:
        path: The file.
        image_folder, number_of_levels, score_range: As in `artquant.data.records.parse_training_record`.
        check_images: Also see that every picture is there.
        attributes: As in `artquant.data.records.parse_training_record`.

    Raises:
        ArtQuantError: The file does not hold valid records with ids of their own, or pictures are missing.
    """

    def __init__(
        self,
        path: Path | str,
        image_folder: Path | str,
        number_of_levels: int = 5,
        score_range: tuple[float, float] | None = None,
        check_images: bool = False,
        attributes: bool = False,
    ) -> None:
        self.path = Path(path)
        self._image_folder = Path(image_folder)
        self._number_of_levels = number_of_levels
        self._score_range = score_range
        self._attributes = attributes
        self._names = PictureNames()
        self._spans = array("q")  # first byte and end of each record, one after the other
        before = _state(self.path) if self.path.exists() else None
        require_as_prepared(self.path)
        missing = MissingPictures() if check_images else None
        self.columns = RecordColumns.of(self._opened(missing), number_of_levels)
        self._state = _state(self.path)
        self._check_unchanged(before)
        if not len(self):
            raise RecordError(f"{self.path}: holds no records; check that this is the right file")
        if missing is not None:
            missing.refuse(len(self))

    def _opened(self, missing: MissingPictures | None) -> Iterator[TrainingRecord]:
        # Eight bytes of a hash stand for an id; where two agree the ids themselves are compared.
        places: dict[bytes, int] = {}
        for index, (start, end, item) in enumerate(iterate_json(self.path)):
            record = self._parsed(item, index)
            first = places.setdefault(hashlib.blake2b(record.id.encode(), digest_size=8).digest(), index)
            if first != index and self._read(first).id == record.id:
                raise RecordError(f"{record.where}: the same id as record {first + 1}; give each its own")
            if missing is not None:
                missing.note(record)
            self._spans.extend((start, end))
            yield record

    def _parsed(self, item: object, index: int) -> TrainingRecord:
        source, levels = f"{self.path} record {index + 1}", self._number_of_levels
        return parse_training_record(
            item, source, self._image_folder, levels, self._score_range, self._attributes, self._names
        ).valid()

    def _read(self, index: int) -> TrainingRecord:
        start, end = self._spans[2 * index : 2 * index + 2]
        with opened(self.path) as stream:
            stream.seek(start)
            text = stream.read(end - start).decode("utf-8")
        return self._parsed(parse_json(text, self.path), index)

    def _check_unchanged(self, state: tuple[int, int] | None) -> None:
        if state != self._state:
            raise RecordError(f"{self.path}: was changed while it was in use; start the command again")

    def __len__(self) -> int:
        return len(self._spans) // 2

    def _at(self, index: int) -> TrainingRecord:
        self._check_unchanged(_state(self.path))
        return self._read(index)


class RecordSets(_Records):
    """Several sets of records as one, one after the other."""

    def __init__(self, parts: Sequence[RecordFile]) -> None:
        self.parts = list(parts)
        self.columns = RecordColumns.joined([part.columns for part in parts])
        self._starts = [0, *accumulate(len(part) for part in parts)]

    def __len__(self) -> int:
        return self._starts[-1]

    def _at(self, index: int) -> TrainingRecord:
        part = bisect_right(self._starts, index) - 1
        return self.parts[part][index - self._starts[part]]


def _state(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read any more: {error.strerror}") from None
    return found.st_size, found.st_mtime_ns

"""The record contract: what a training file and a list of pictures hold, checked as they are read.

A record that is not as described is refused with the file, the record's number (counted from 1) and its id; nothing is
repaired or left out. Records name pictures but do not open them: see :func:`check_images_exist`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from artquant.data.images import list_pictures
from artquant.errors import ArtQuantError
from artquant.files.json_files import parse_json, parse_json_lines, read_text

IMAGE_TOKEN = "<|image|>"
TASKS = ("score", "description")
LEVEL_PROBS_TOLERANCE = 1e-3  # published files round the probabilities

_IMAGE_TOKEN_WITH_NEWLINES = re.compile(r"\n?" + re.escape(IMAGE_TOKEN) + r"\n?")
_REQUIRED = object()


class RecordError(ArtQuantError):
    """A record that is not as the contract says; the message names file, record number and id."""


@dataclass(frozen=True)
class TrainingRecord:
    """One question about one picture, with the answer to learn."""

    id: str  # unique within its file
    image: Path  # within the image folder, or absolute
    task: Literal["score", "description"]
    question: str  # without the image token
    answer: str
    gt_score: float | None  # mean human score, on the data set's scale
    std: float | None  # standard deviation of the human scores, same scale
    level_probs: tuple[float, ...] | None  # one per rating word, best first, sum 1; None: to be computed from gt_score
    attribute: str | None  # of a score record: what the score is about ("Color"); None: the whole picture
    level: int | None  # of a description: 1 perception, 2 + cognition, 3 + emotion; None: not said
    source: str  # "file.json record 17"


@dataclass(frozen=True)
class ImageRecord:
    """One picture to be scored, with its human score where known."""

    id: str  # unique within its file
    image: Path
    gt_score: float | None  # mean human score, on the data set's scale
    std: float | None
    source: str


def read_training_records(
    path: Path | str,
    image_folder: Path | str,
    number_of_levels: int | None = 5,
    score_range: tuple[float, float] | None = None,
) -> list[TrainingRecord]:
    """Read a JSON list of training records in the published form (DeQA-Score's and ArtQuant's).

    Args:
        path: The JSON file.
        image_folder: What relative picture names are relative to.
        number_of_levels: How many entries ``level_probs`` must have; None does not check.
        score_range: Lowest and highest ``gt_score`` allowed, inclusive; None does not check.

    Raises:
        ArtQuantError: The file is not a JSON list of valid records.
    """
    path = Path(path)
    records = [
        _training_record(_Fields(item, f"{path} record {number}"), Path(image_folder), number_of_levels, score_range)
        for number, item in enumerate(_json_list(read_text(path), path), start=1)
    ]
    _check_unique(records)
    return records


def read_image_records(
    path: Path | str, image_folder: Path | str | None = None, score_range: tuple[float, float] | None = None
) -> list[ImageRecord]:
    """Read the pictures to score: a JSON list, JSON lines, or a folder of pictures.

    A record is ``{"image": name}`` with optional ``id`` (default: the image name), ``gt_score`` and ``std``. Of a
    folder, every picture in it and its subfolders is a record whose id is the relative path.

    Args:
        path: The file or folder. A file whose text starts with ``[`` is a JSON list, any other JSON lines.
        image_folder: What relative picture names are relative to; None is the folder that the file is in. Not used
            when ``path`` is a folder.
        score_range: As in :func:`read_training_records`.

    Raises:
        ArtQuantError: The file or folder is missing, empty or not as described.
    """
    path = Path(path)
    if path.is_dir():
        return [
            ImageRecord(image.relative_to(path).as_posix(), image, None, None, f"{path} picture {number}")
            for number, image in enumerate(list_pictures(path, recursive=True), start=1)
        ]
    folder = path.parent if image_folder is None else Path(image_folder)
    text = read_text(path)
    if text.lstrip().startswith("["):
        items = list(enumerate(_json_list(text, path), start=1))
    else:
        values = (value for _, value in parse_json_lines(text, path))
        items = list(enumerate(values, start=1))
    if not items:
        raise RecordError(f"{path}: holds no records; name a JSON list, JSON lines or a folder of pictures")
    records = [_image_record(_Fields(item, f"{path} record {number}"), folder, score_range) for number, item in items]
    _check_unique(records)
    return records


def parse_training_record(
    item: Any,
    source: str,
    image_folder: Path | str,
    number_of_levels: int | None = 5,
    score_range: tuple[float, float] | None = None,
) -> TrainingRecord:
    """One value of a file of training records as a record; whether its id is unique is for the caller to see.

    Args:
        item: The value as JSON gives it.
        source: What errors call it, such as "file.json record 17".
        image_folder, number_of_levels, score_range: As in :func:`read_training_records`.

    Raises:
        RecordError: It is not as the contract says.
    """
    return _training_record(_Fields(item, source), Path(image_folder), number_of_levels, score_range)


def parse_image_record(
    item: Any, source: str, image_folder: Path | str, score_range: tuple[float, float] | None = None
) -> ImageRecord:
    """One value of a list of pictures to score as a record; arguments and errors as :func:`parse_training_record`."""
    return _image_record(_Fields(item, source), Path(image_folder), score_range)


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
                f"{self._first.source} (id {self._first.id!r}): no picture {str(self._first.image)!r}; "
                f"missing for {self._count} of {records} records: check the image folder"
            )


def _files(folder: str) -> set[str]:
    """Names of the files in a folder; none where there is no such folder."""
    try:
        with os.scandir(folder or ".") as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()


class _Fields:
    """A record's JSON object with checked access; every error says which record."""

    def __init__(self, item: Any, source: str) -> None:
        self.source = source
        self._name = source
        if not isinstance(item, dict):
            raise self.error(f"expected an object, got {_kind(item)}; see the record format")
        self._item = item
        if isinstance(item.get("id"), (str, int)):
            self._name = f"{source} (id {str(item['id'])[:200]!r})"

    def error(self, message: str) -> RecordError:
        return RecordError(f"{self._name}: {message}")

    def get(self, key: str, default: Any = _REQUIRED) -> Any:
        value = self._item.get(key)
        if value is not None:
            return value
        if default is _REQUIRED:
            fault = "is null" if key in self._item else "is missing"
            raise self.error(f'key "{key}" {fault}; add it to the record')
        return default

    def text(self, key: str, default: Any = _REQUIRED) -> Any:
        value = self.get(key, default)
        if value is default:
            return value
        if not isinstance(value, str):
            raise self.error(f'"{key}" must be text, got {_kind(value)}; correct the record')
        if not value.strip():
            raise self.error(f'"{key}" is empty; fill it in')
        self.check_unicode(key, value)
        return value

    def check_unicode(self, key: str, value: str) -> None:
        """JSON has room for halves of characters, which neither files nor tokenizers take."""
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise self.error(
                f'"{key}" holds half a character (a lone surrogate such as \\ud800); correct the text'
            ) from None

    def number(self, key: str) -> float | None:
        value = self.get(key, None)
        return None if value is None else self._finite(value, f'"{key}"')

    def numbers(self, key: str) -> tuple[float, ...] | None:
        value = self.get(key, None)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.error(f'"{key}" must be a list of numbers, got {_kind(value)}; correct the record')
        return tuple(self._finite(entry, f'"{key}" entry {number}') for number, entry in enumerate(value, start=1))

    def _finite(self, value: Any, what: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(f"{what} must be a number, got {_kind(value)}; correct the record")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.error(f"{what} is not finite; correct the record")
        return number

    def id(self, default: Any = _REQUIRED) -> str:
        value = self.get("id", default)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is default:
            return cast(str, value)
        return cast(str, self.text("id"))

    def score(self, score_range: tuple[float, float] | None) -> float | None:
        score = self.number("gt_score")
        if score is not None and score_range is not None and not score_range[0] <= score <= score_range[1]:
            low, high = score_range
            raise self.error(f'"gt_score" {score:g} is outside {low:g} to {high:g}; correct the score or the range')
        return score

    def std(self) -> float | None:
        std = self.number("std")
        if std is not None and std < 0:
            raise self.error(f'"std" {std:g} is negative; correct the record')
        return std

    def image(self, folder: Path) -> Path:
        name = self.text("image")
        if "\0" in name:
            raise self.error('"image" holds a zero character; correct the record')
        if os.path.isabs(name):
            if not os.path.isfile(name):
                raise self.error(f"no picture {name!r}; correct the path or use one relative to the image folder")
            return Path(name)
        if os.path.normpath(name).split(os.sep)[0] == os.pardir:
            raise self.error(f'"image" {name!r} leads out of the image folder; put the picture inside the folder')
        return folder / name


def _training_record(
    fields: _Fields, folder: Path, number_of_levels: int | None, score_range: tuple[float, float] | None
) -> TrainingRecord:
    task = fields.text("task_type", "score")
    if task not in TASKS:
        raise fields.error(f'unknown "task_type" {task!r}; use one of {", ".join(TASKS)}')
    question, answer = _question_and_answer(fields)
    record = TrainingRecord(
        id=fields.id(),
        image=fields.image(folder),
        task=cast(Literal["score", "description"], task),
        question=question,
        answer=answer,
        gt_score=fields.score(score_range),
        std=fields.std(),
        level_probs=_level_probs(fields, number_of_levels),
        attribute=fields.text("attribute", None),
        level=_description_level(fields),
        source=fields.source,
    )
    if task == "description" and record.level_probs is not None:
        raise fields.error('a description record has no "level_probs"; take it out or make it a score record')
    if task == "score" and record.level_probs is None and record.gt_score is None:
        raise fields.error('a score record needs "gt_score" or "level_probs"; add one')
    if task == "score" and record.level is not None:
        raise fields.error('a score record has no "level"; take it out or make it a description record')
    if task == "description" and record.attribute is not None:
        raise fields.error('a description record has no "attribute"; take it out or make it a score record')
    return record


def _question_and_answer(fields: _Fields) -> tuple[str, str]:
    """The two turns, the image token removed from the question together with the newlines around it."""
    turns = fields.get("conversations")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise fields.error('"conversations" must be a list of objects; correct the record')
    speakers = [turn.get("from") for turn in turns]
    if speakers != ["human", "gpt"]:
        raise fields.error(
            '"conversations" must be two turns, from "human" and then "gpt", '
            f"got {len(turns)} from {str(speakers)[:100]}; split or correct it"
        )
    for turn in turns:
        if not isinstance(turn.get("value"), str):
            raise fields.error(f'"value" of the {turn["from"]} turn must be text, got {_kind(turn.get("value"))}')
        fields.check_unicode("conversations", turn["value"])
    question, answer = turns[0]["value"], turns[1]["value"]
    count = question.count(IMAGE_TOKEN)
    if count != 1:
        raise fields.error(f"the human turn must hold exactly one {IMAGE_TOKEN}, got {count}; correct the record")
    if IMAGE_TOKEN in answer:
        raise fields.error(f"the gpt turn must not hold {IMAGE_TOKEN}; correct the record")
    question = _IMAGE_TOKEN_WITH_NEWLINES.sub(lambda match: "\n" if "\n" in match.group() else "", question).strip()
    if not question:
        raise fields.error("the question is empty; write one beside the image token")
    if not answer.strip():
        raise fields.error("the answer is empty; fill it in or take the record out")
    return question, answer


def _level_probs(fields: _Fields, number_of_levels: int | None) -> tuple[float, ...] | None:
    probs = fields.numbers("level_probs")
    if probs is None:
        return None
    if number_of_levels is not None and len(probs) != number_of_levels:
        raise fields.error(
            f'"level_probs" has {len(probs)} entries for {number_of_levels} rating words; make them equal'
        )
    if any(prob < 0 for prob in probs):
        raise fields.error(f'"level_probs" holds a negative number ({min(probs):g}); compute it again')
    if abs(math.fsum(probs) - 1) > LEVEL_PROBS_TOLERANCE:
        raise fields.error(f'"level_probs" sums to {math.fsum(probs):.6g} instead of 1; compute it again')
    return probs


def _description_level(fields: _Fields) -> int | None:
    level = fields.get("level", None)
    if level is not None and (isinstance(level, bool) or level not in (1, 2, 3) or not isinstance(level, int)):
        raise fields.error('"level" must be 1 (perception), 2 (+ cognition) or 3 (+ emotion); correct the record')
    return cast("int | None", level)


def _image_record(fields: _Fields, folder: Path, score_range: tuple[float, float] | None) -> ImageRecord:
    return ImageRecord(
        id=fields.id(default=fields.text("image")),
        image=fields.image(folder),
        gt_score=fields.score(score_range),
        std=fields.std(),
        source=fields.source,
    )


def _json_list(text: str, path: Path) -> list[Any]:
    items = parse_json(text, path)
    if not isinstance(items, list):
        raise RecordError(f"{path} line 1: expected a JSON list of records, got {_kind(items)}; wrap it in [ ]")
    if not items:
        raise RecordError(f"{path} line 1: the list of records is empty; check that this is the right file")
    return items


def _check_unique(records: Iterable[TrainingRecord | ImageRecord]) -> None:
    first: dict[str, str] = {}
    for record in records:
        if record.id in first:
            raise RecordError(
                f"{record.source} (id {record.id!r}): the same id as record {first[record.id]}; give each its own"
            )
        first[record.id] = record.source.rsplit(" ", 1)[1]


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")

"""The record contract: what a training file and a list of pictures hold, checked as they are read.

A record that is not as described is refused with the file, the record's number (counted from 1) and its id; nothing is
repaired or left out. All its faults are known: reading names the first, `artquant check` lists them. Records name
pictures but do not open them: see :mod:`artquant.data.missing_pictures`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast

from artquant.data.fields import Fault, Fields, RecordError
from artquant.data.images import list_pictures
from artquant.data.picture_names import PictureNames
from artquant.data.prepared import require_as_prepared
from artquant.data.turns import conversation, is_of_other_tools, picture_name
from artquant.errors import visible
from artquant.files.json_stream import iterate_records

TASKS = ("score", "description")
LEVEL_PROBS_TOLERANCE = 1e-3  # published files round the probabilities

Task = Literal["score", "description"]
Record = TypeVar("Record", "TrainingRecord", "ImageRecord")


@dataclass(frozen=True)
class AttributeScore:
    """What people gave one attribute of a picture, on the data set's scale."""

    name: str
    mean: float
    std: float | None = None  # of their scores; None: not said


@dataclass(frozen=True)
class TrainingRecord:
    """One question about one picture, with the answer to learn."""

    id: str  # unique within its file; of a record without id and task_type (ROC4MLLM's), its source
    image: Path  # within the image folder, or absolute
    task: Task
    question: str  # the first, without the image token
    answer: str
    gt_score: float | None  # mean human score, on the data set's scale
    std: float | None  # standard deviation of the human scores, same scale
    level_probs: tuple[float, ...] | None  # one per rating word, best first, sum 1; None: to be computed from gt_score
    attribute: str | None  # of a score record: what the score is about ("Color"); None: the whole picture
    level: int | None  # of a description: 1 perception, 2 + cognition, 3 + emotion; None: not said
    source: str  # "file.json record 17"
    scores: tuple[float, ...] = ()  # of an answer that holds several, in order (gt_score as a list); gt_score: None
    names: tuple[str | None, ...] = ()  # what each of them is about (attribute as a list); None: the whole picture
    targets: tuple[tuple[float, ...], ...] = ()  # shares of each score's votes, over values evenly from low to high
    rounds: tuple[tuple[str, str], ...] = ()  # further questions and answers behind the first
    attributes: tuple[AttributeScore, ...] = ()  # of a score record of the whole: to be learned beside it

    @property
    def where(self) -> str:
        """What errors call it: its source, with its id where it has one of its own."""
        return self.source if self.id == self.source else f"{self.source} (id {self.id!r})"


@dataclass(frozen=True)
class ImageRecord:
    """One picture to be scored, with its human score where known."""

    id: str  # unique within its file
    image: Path
    gt_score: float | None  # mean human score, on the data set's scale
    std: float | None
    source: str


@dataclass(frozen=True)
class Parsed(Generic[Record]):
    """What one value of a file was found to be."""

    record: Record | None  # None: it has faults
    faults: tuple[Fault, ...]
    name: str  # "file.json record 17 (id 'a')"
    id: str | None  # that counts for being unique, of a record with other faults too
    image: Path | None  # its picture, as far as it can be told

    def valid(self) -> Record:
        """The record.

        Raises:
            RecordError: Its first fault.
        """
        if self.record is None:
            raise RecordError(f"{self.name}: {self.faults[0].message}")
        return self.record


def read_image_records(
    path: Path | str, image_folder: Path | str | None = None, score_range: tuple[float, float] | None = None
) -> list[ImageRecord]:
    """Read the pictures to score: a JSON list, JSON lines, or a folder of pictures.

    A record is ``{"image": name}`` with optional ``id`` (default: the image name), ``gt_score`` and ``std``. Of a
    folder, every picture in it and its subfolders is a record whose id is the relative path (of a name that is no
    UTF-8, as `artquant.errors.visible` writes it).

    Args:
        path: The file or folder. A file whose text starts with ``[`` is a JSON list, any other JSON lines.
        image_folder: What relative picture names are relative to; None is the folder that the file is in. Not used
            when ``path`` is a folder.
        score_range: As in :func:`parse_training_record`.

    Raises:
        ArtQuantError: The file or folder is missing, empty or not as described.
    """
    path = Path(path)
    if path.is_dir():
        records = [
            ImageRecord(visible(image.relative_to(path).as_posix()), image, None, None, f"{path} picture {number}")
            for number, image in enumerate(list_pictures(path, recursive=True), start=1)
        ]
        _refuse_repeated(records)
        return records
    require_as_prepared(path)
    folder = path.parent if image_folder is None else Path(image_folder)
    names = PictureNames()
    records = [
        parse_image_record(item, source, folder, score_range, names).valid() for source, item in iterate_records(path)
    ]
    _refuse_repeated(records)
    return records


def _refuse_repeated(records: Sequence[ImageRecord]) -> None:
    first: dict[str, str] = {}
    for record in records:
        if first.setdefault(record.id, record.source) != record.source:
            number = first[record.id].rsplit(" ", 1)[1]
            raise RecordError(f"{record.source} (id {record.id!r}): the same id as record {number}; give each its own")


def parse_training_record(
    item: Any,
    source: str,
    image_folder: Path | str,
    number_of_levels: int = 5,
    score_range: tuple[float, float] | None = None,
    attributes: bool = False,
    names: PictureNames | None = None,
) -> Parsed[TrainingRecord]:
    """One value of a file of training records; whether its id is unique is for the caller to see.

    Args:
        item: The value as JSON gives it, in the published form (DeQA-Score's and ArtQuant's) or in LLaVA's or
            LLaMA-Factory's, which without a score or ``task_type`` is a description.
        source: What errors call it, such as "file.json record 17".
        image_folder: What relative picture names are relative to.
        number_of_levels: How many entries ``level_probs`` must have.
        score_range: Lowest and highest ``gt_score`` allowed, inclusive; None does not check.
        attributes: Whether the scores of its attributes are to be learned too: read, else left alone.
        names: Where the names of pictures are looked up, to be kept from record to record.
    """
    fields = Fields(item, source)
    task = _task(fields)
    (question, answer), *rounds = conversation(fields)
    nameless = fields.is_object and fields.item.keys().isdisjoint(("id", "task_type"))  # as ROC4MLLM's are
    identity = source if nameless else fields.id()
    image = _image(fields, picture_name(fields), Path(image_folder), names)
    several = isinstance(fields.item.get("gt_score"), list)
    record = TrainingRecord(
        id=identity,
        image=image or Path(),
        task=cast(Task, task),
        question=question,
        answer=answer,
        gt_score=None if several else _score(fields, score_range),
        std=fields.std(),
        level_probs=_level_probs(fields, number_of_levels),
        attribute=None if several else fields.optional_text("attribute"),
        level=_description_level(fields),
        source=source,
        scores=_scores(fields, score_range) if several else (),
        names=_names(fields) if several else (),
        targets=_targets(fields),
        rounds=tuple(rounds),
        attributes=_attributes(fields, task, score_range) if attributes else (),
    )
    if fields.is_object:
        _check_task(fields, task)
    return _parsed(fields, record, "" if nameless else identity, image)


def parse_image_record(
    item: Any,
    source: str,
    image_folder: Path | str,
    score_range: tuple[float, float] | None = None,
    names: PictureNames | None = None,
) -> Parsed[ImageRecord]:
    """One value of a list of pictures to score; arguments as :func:`parse_training_record`."""
    fields = Fields(item, source)
    name = picture_name(fields)
    image = _image(fields, name, Path(image_folder), names)
    identity = name if fields.item.get("id") is None else fields.id()
    record = ImageRecord(identity, image or Path(), _score(fields, score_range), fields.std(), source)
    return _parsed(fields, record, identity, image)


def _parsed(fields: Fields, record: Record, identity: str, image: Path | None) -> Parsed[Record]:
    faults = tuple(fields.faults)
    return Parsed(None if faults else record, faults, fields.name, identity or None, image)


def _score(fields: Fields, score_range: tuple[float, float] | None) -> float | None:
    score = fields.number("gt_score")
    if score is not None:
        _check_range(fields, score, score_range)
    return score


def _scores(fields: Fields, score_range: tuple[float, float] | None) -> tuple[float, ...]:
    """Several scores of one answer."""
    scores = fields.numbers("gt_score") or ()
    if fields.item.get("gt_score") == []:
        fields.fault("gt_score", '"gt_score" is an empty list; give a score for each place in the answer')
    if fields.item.get("level_probs") is not None:
        fields.fault("level_probs", 'an answer with several scores has no "level_probs"; take it out')
    for score in scores:
        _check_range(fields, score, score_range)
    return scores


def _names(fields: Fields) -> tuple[str | None, ...]:
    """What each of several scores is about."""
    names, count = fields.item.get("attribute"), len(fields.item["gt_score"])
    if names is None:
        return ()
    fitting = isinstance(names, list) and len(names) == count == len({str(name) for name in names})
    if not fitting or any(name is not None and not (isinstance(name, str) and name.strip()) for name in names):
        reason = f"must be a list of {count} different names (null: the whole picture), one for each score; correct it"
        fields.fault("attribute", f'"attribute" {reason}')
        return ()
    return tuple(names)


def _targets(fields: Fields) -> tuple[tuple[float, ...], ...]:
    """ROC4MLLM's "target": a list of shares, or one for each of several scores."""
    value, scores = fields.item.get("target"), fields.item.get("gt_score")
    if value is None:
        return ()
    if fields.item.get("level_probs") is not None or scores is None:
        fault = "stands beside level_probs; keep one" if scores is not None else 'needs "gt_score"; add the mean'
        fields.fault("target", f'"target" {fault}', "level-probs")
        return ()
    nested = isinstance(scores, list)
    rows = value if nested and isinstance(value, list) else [value]
    if len(rows) != (len(scores) if nested else 1):
        fields.fault(
            "target", f'"target" has {len(rows)} lists for {len(scores)} scores; make them equal', "level-probs"
        )
        return ()
    found = [Fields({"target": row}, fields.source) for row in rows]
    shares = [row.numbers("target", "level-probs") or () for row in found]
    fields.faults += [fault for row in found for fault in row.faults]
    for row in shares if not any(row.faults for row in found) else ():
        if len(row) < 2 or len(row) != len(shares[0]):
            fields.fault(
                "target", f'"target" has {len(row)} entries; give two or more, as many for each score', "level-probs"
            )
        else:
            _check_shares(fields, "target", row)
    return tuple(shares)


def _attributes(fields: Fields, task: str, score_range: tuple[float, float] | None) -> tuple[AttributeScore, ...]:
    """The attributes' scores in a score record of the whole."""
    single = fields.item.get("attribute") is None and not isinstance(fields.item.get("gt_score"), list)
    if task != "score" or not single:
        fields.fault("", "holds no score of the whole, beside which attributes are learned; set attributes: false")
        return ()
    means, stds = fields.named_numbers("attributes"), fields.named_numbers("attribute_std")
    if not means and not fields.faults:
        fields.fault("attributes", 'no "attributes" to learn beside the score; add them or set attributes: false')
    for score in means.values():
        _check_range(fields, score, score_range)
    for name, std in stds.items():
        if name not in means or std < 0:
            reason = f"of {name!r} is negative" if name in means else f"is of {name!r}, which has no score"
            fields.fault("attribute_std", f'"attribute_std" {reason}; correct the record', "std")
    return tuple(AttributeScore(name, mean, stds.get(name)) for name, mean in means.items())


def _check_shares(fields: Fields, key: str, shares: Sequence[float]) -> None:
    if any(share < 0 for share in shares):
        fields.fault(key, f'"{key}" holds a negative number ({min(shares):g}); compute it again', "level-probs")
    elif abs(math.fsum(shares) - 1) > LEVEL_PROBS_TOLERANCE:
        fault = f'"{key}" sums to {math.fsum(shares):.6g} instead of 1; compute it again'
        fields.fault(key, fault, "level-probs")


def _check_range(fields: Fields, score: float, score_range: tuple[float, float] | None) -> None:
    if score_range is not None and not score_range[0] <= score <= score_range[1]:
        low, high = score_range
        reason = f"is outside {low:g} to {high:g}; correct the score or the range"
        fields.fault("gt_score", f'"gt_score" {score:g} {reason}', "score-off-scale")


def _image(fields: Fields, name: str, folder: Path, names: PictureNames | None) -> Path | None:
    names = names or PictureNames()
    if not name:
        return None
    if "\0" in name:
        fields.fault("image", '"image" holds a zero character; correct the record')
        return None
    if not os.path.isabs(name) and os.path.normpath(name).split(os.sep)[0] == os.pardir:
        reason = f'"image" {name!r} leads out of the image folder; put the picture inside the folder'
        fields.fault("image", reason)
        return None
    if os.pardir in Path(name).parts and not os.path.realpath(folder / name).startswith(os.path.realpath(folder) + "/"):
        fields.fault("image", f'"image" {name!r} leads out of the image folder through a link; name the picture itself')
        return None
    path = names.path(folder, name)
    if os.path.isabs(name) and not os.path.isfile(path):
        reason = f"no picture {name!r}; correct the path or use one relative to the image folder{names.hint(path)}"
        fields.fault("image", reason, "picture-missing")
        return None
    return path


def _task(fields: Fields) -> str:
    if fields.item.get("task_type") is None:
        scored = any(fields.item.get(key) is not None for key in ("gt_score", "level_probs", "target"))
        return "score" if scored or not is_of_other_tools(fields) else "description"
    task = fields.text("task_type")
    if task and task not in TASKS:
        fields.fault("task_type", f'unknown "task_type" {task!r}; use one of {", ".join(TASKS)}', "unknown-task")
    return task


def _check_task(fields: Fields, task: str) -> None:
    """What a record of one task must hold, and what only the other one may."""

    def has(key: str) -> bool:
        return fields.item.get(key) is not None

    for key in ("level_probs", "target"):
        if task == "description" and has(key):
            fields.fault("", f'a description record has no "{key}"; take it out or make it a score record')
    if task == "score" and not has("level_probs") and not has("gt_score"):
        advice = 'add one, or "task_type": "description" where the answer holds no score'
        fields.fault("", f'a score record needs "gt_score" or "level_probs"; {advice}')
    if task == "score" and has("level"):
        fields.fault("", 'a score record has no "level"; take it out or make it a description record')
    if task == "description" and has("attribute"):
        fields.fault("", 'a description record has no "attribute"; take it out or make it a score record')


def _level_probs(fields: Fields, number_of_levels: int) -> tuple[float, ...] | None:
    probs = fields.numbers("level_probs", "level-probs")
    if probs is None:
        return None
    if len(probs) != number_of_levels:
        reason = f"has {len(probs)} entries for {number_of_levels} rating words; make them equal"
        fields.fault("level_probs", f'"level_probs" {reason}', "level-probs")
    else:
        _check_shares(fields, "level_probs", probs)
    return probs


def _description_level(fields: Fields) -> int | None:
    level = fields.item.get("level")
    if level is not None and (isinstance(level, bool) or level not in (1, 2, 3) or not isinstance(level, int)):
        reason = "must be 1 (perception), 2 (+ cognition) or 3 (+ emotion); correct the record"
        fields.fault("level", f'"level" {reason}')
    return cast("int | None", level)

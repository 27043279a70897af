"""Structured descriptions to level files and back.

    structured record   {"image", "perception", "cognition"?, "emotion"?, "id"?, "gt_score"?, ...}
    level 1             perception
    level 2             perception SEPARATOR cognition
    level 3             perception SEPARATOR cognition SEPARATOR emotion

Texts are taken to the character: nothing is trimmed, so that joining what was split gives the same parts. A picture is
in the levels that its parts suffice for, in one record a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant.data.records import TrainingRecord, read_training_records
from artquant.errors import ArtQuantError
from artquant.files.json_files import parse_json, parse_json_lines, read_text, write_json, write_json_lines
from artquant.texts.descriptions import PARTS, description_record
from artquant.texts.prompt import IMAGE_TOKEN
from artquant.texts.questions import LEVELS, Questions

SEPARATOR = " "
_RECORD_KEYS = ("conversations", "task_type", "level", "level_probs", "attribute")  # not a structured record's


@dataclass(frozen=True)
class LevelsReport:
    """How many pictures there were, and how many of them have a description of level 1, 2 and 3."""

    pictures: int
    by_level: dict[int, int]
    files: tuple[Path, ...]  # written


@dataclass(frozen=True)
class Structured:
    """One picture's description in parts."""

    id: str
    image: str
    parts: tuple[str, ...]  # perception, then cognition and emotion as far as there are
    extra: dict[str, Any]  # further keys


def read_items(path: Path | str) -> list[dict[str, Any]]:
    """The objects of a JSON list or of JSON lines (text that does not start with `[`).

    Raises:
        ArtQuantError: The file cannot be read, is empty, or an entry is no object.
    """
    path = Path(path)
    text = read_text(path)
    if text.lstrip().startswith("["):
        items = parse_json(text, path)
    else:
        items = [value for _, value in parse_json_lines(text, path)]
    if not items:
        raise ArtQuantError(f"{path}: holds no records; name a JSON list or JSON lines of them")
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict):
            raise ArtQuantError(f"{path} record {number}: expected an object; see dataset/README.md for the form")
    return items


def read_structured(path: Path | str) -> list[Structured]:
    """Read structured records: a JSON list or JSON lines. A part that is null counts as left out.

    Raises:
        ArtQuantError: A record has no image or perception, an emotion without cognition, a part that is no text, is
            empty or holds the image token, keys of training records, or shares its image or id with another one.
    """
    path = Path(path)
    records, images, ids = [], {}, {}
    for number, item in enumerate(read_items(path), start=1):
        record = _structured(item, f"{path} record {number}")
        for what, value, seen in (("image", record.image, images), ("id", record.id, ids)):
            if value in seen:
                raise ArtQuantError(
                    f"{path} record {number}: the same {what} {value!r} as record {seen[value]}; keep one of them"
                )
            seen[value] = number
        records.append(record)
    return records


def split_descriptions(
    source: Path | str,
    out: Path | str,
    *,
    separator: str = SEPARATOR,
    seed: int = 0,
    subject: str = "painting",
    questions: Questions | None = None,
) -> LevelsReport:
    """Write `out/descriptions_level_{1,2,3}.json` from a file of structured records.

    A record without emotion is in levels 1 and 2, one with perception alone in level 1. A level that no record reaches
    gets no file.

    Args:
        source: Structured records, as :func:`read_structured` takes them.
        out: Folder to write.
        separator: What stands between the parts; may be empty.
        seed: Of the draw of the questions, one for each picture and level.
        subject: The noun in the questions.
        questions: Wordings to draw from; None is the built-in ones.

    Raises:
        ArtQuantError: As :func:`read_structured`; or a file would overwrite the source, or a level that now has no
            record has a file from before.
    """
    source, out = Path(source), Path(out)
    questions = questions or Questions()
    structured = read_structured(source)
    levels = {
        level: [
            description_record(
                f"{record.id}#level-{level}",
                record.image,
                questions.for_level(level, record.image, seed, subject),
                separator.join(record.parts[:level]),
                record.extra,
                level,
            )
            for record in structured
            if len(record.parts) >= level
        ]
        for level in LEVELS
    }
    files = {level: out / f"descriptions_level_{level}.json" for level in LEVELS}
    for level, file in files.items():
        if _same(file, source):
            raise ArtQuantError(f"{file}: would overwrite the file that is read; name another folder with --out")
        if not levels[level] and file.exists():
            raise ArtQuantError(
                f"{file}: is there, but no record of {source} reaches level {level}; remove it or name another folder"
            )
    for level, records in levels.items():
        if records:
            write_json(files[level], records)
    by_level = {level: len(records) for level, records in levels.items()}
    return LevelsReport(len(structured), by_level, tuple(files[level] for level in LEVELS if levels[level]))


def join_descriptions(level_files: Sequence[Path | str], out: Path | str, separator: str = SEPARATOR) -> LevelsReport:
    """Write structured records from level files: the reverse of :func:`split_descriptions`.

    Pictures are matched by the name in `image`. The id is that of level 1 without its ending `#level-1`; further keys
    travel along. Records stand in the order of level 1.

    Args:
        level_files: The files of level 1, 2 and 3 in this order (or of the first one or two levels), JSON lists.
        out: File to write: JSON lines where its name ends in `.jsonl`, else a JSON list.
        separator: What stands between the parts.

    Raises:
        ArtQuantError: A text that does not begin with the level before and the separator or adds nothing to it, a
            record that says it is of another level or is no description, a picture twice in a file or missing from the
            level before, or a key that differs between levels.
    """
    files, out = [Path(file) for file in level_files], Path(out)
    if not 1 <= len(files) <= len(LEVELS):
        raise ArtQuantError(f"{len(files)} level files: give those of level 1, 2 and 3, in this order")
    for number, file in enumerate(files):
        if any(_same(file, other) for other in files[:number]):
            raise ArtQuantError(f"{file}: given twice; give the files of level 1, 2 and 3, in this order")
        if _same(out, file):
            raise ArtQuantError(f"{out}: would overwrite a file that is read; name another one with --out")
    joined: dict[str, dict[str, Any]] = {}
    before: dict[str, TrainingRecord] = {}
    by_level = dict.fromkeys(LEVELS, 0)
    for level, file in enumerate(files, start=1):
        now = _level_records(file, level)
        for image, (record, extra) in now.items():
            if level == 1:
                joined[image] = {"id": record.id.removesuffix("#level-1"), "image": image}
            elif image not in before:
                raise ArtQuantError(
                    f"{record.source} (image {image!r}): the picture is not in {files[level - 2]}; "
                    "give the level files of one set"
                )
            text = _added(record, before.get(image), separator)
            _merge(joined[image], extra | {PARTS[level - 1]: text}, record)
        before = {image: record for image, (record, _) in now.items()}
        by_level[level] = len(now)
    _check_ids(joined, files[0])
    records = [_in_order(record) for record in joined.values()]
    (write_json_lines if out.suffix == ".jsonl" else write_json)(out, records)
    return LevelsReport(len(records), by_level, (out,))


def _structured(item: dict[str, Any], source: str) -> Structured:
    image = item.get("image")
    if not isinstance(image, str) or not image.strip():
        raise ArtQuantError(f'{source}: "image" must be the name of a picture; add it')
    identity = image if item.get("id") is None else item["id"]
    if isinstance(identity, bool) or not isinstance(identity, (str, int)) or not str(identity).strip():
        raise ArtQuantError(f'{source} (image {image!r}): "id" must be text; correct it or leave it out')
    for key in _RECORD_KEYS:
        if key in item:
            raise ArtQuantError(f'{source} (image {image!r}): "{key}" is no key of a structured record; take it out')
    parts: list[str] = []
    for position, name in enumerate(PARTS):
        text = item.get(name)
        if text is None:
            continue
        if not isinstance(text, str) or not text.strip():
            fault = "is empty" if isinstance(text, str) else "must be text"
            raise ArtQuantError(f'{source} (image {image!r}): "{name}" {fault}; fill it in or leave the key out')
        if IMAGE_TOKEN in text:
            raise ArtQuantError(f'{source} (image {image!r}): "{name}" holds {IMAGE_TOKEN}; take it out')
        if len(parts) < position:
            missing = PARTS[len(parts)]
            raise ArtQuantError(f'{source} (image {image!r}): "{name}" without "{missing}", on which it builds; add it')
        parts.append(text)
    if not parts:
        raise ArtQuantError(f'{source} (image {image!r}): "perception" is missing; every level begins with it')
    extra = {key: value for key, value in item.items() if key not in ("id", "image", *PARTS)}
    return Structured(str(identity), image, tuple(parts), extra)


def _level_records(path: Path, level: int) -> dict[str, tuple[TrainingRecord, dict[str, Any]]]:
    """A level file's records by image, with their further keys."""
    found: dict[str, tuple[TrainingRecord, dict[str, Any]]] = {}
    records = read_training_records(path, "", None)
    for record, item in zip(records, read_items(path), strict=True):
        image = item["image"]
        where = f"{record.source} (image {image!r})"
        if record.task != "description":
            raise ArtQuantError(f'{where}: no description record; its "task_type" must be "description"')
        if record.level not in (None, level):
            raise ArtQuantError(
                f"{where}: is of level {record.level}, not {level}; give the files of level 1, 2 and 3, in this order"
            )
        if image in found:
            raise ArtQuantError(f"{where}: the same picture as in {found[image][0].source}; keep one of them")
        extra = {key: value for key, value in item.items() if key not in ("id", "image", *_RECORD_KEYS)}
        for key in PARTS:
            if key in extra:
                raise ArtQuantError(f'{where}: "{key}" is the name of a part; take it out of the level file')
        found[image] = (record, extra)
    return found


def _added(record: TrainingRecord, before: TrainingRecord | None, separator: str) -> str:
    """What a text adds to that of the level before."""
    if before is None:
        return record.answer
    where = f"{record.source} (id {record.id[:200]!r})"
    text, start = record.answer, before.answer
    if text == start:
        raise ArtQuantError(f"{where}: adds nothing to {before.source}; give the files of level 1, 2 and 3")
    if not text.startswith(start):
        place = next((i for i, (a, b) in enumerate(zip(text, start, strict=False)) if a != b), len(text))
        raise ArtQuantError(
            f"{where}: the text does not begin with that of {before.source}: from character {place + 1} it is "
            f"{text[place : place + 30]!r} instead of {start[place : place + 30]!r}; "
            "give the level files of one set, in the order of the levels"
        )
    if not text.startswith(separator, len(start)):
        raise ArtQuantError(
            f"{where}: after the text of {before.source} comes {text[len(start) : len(start) + 20]!r} instead of the "
            f"separator {separator!r}; give the right one with --separator"
        )
    added = text[len(start) + len(separator) :]
    if not added.strip():
        raise ArtQuantError(f"{where}: adds only spaces to {before.source}; write the part or take the record out")
    return added


def _merge(into: dict[str, Any], new: Mapping[str, Any], record: TrainingRecord) -> None:
    for key, value in new.items():
        if key in into and into[key] != value:
            raise ArtQuantError(
                f'{record.source} (id {record.id[:200]!r}): "{key}" differs from the level before; make them equal'
            )
        into[key] = value


def _check_ids(joined: Mapping[str, dict[str, Any]], file: Path) -> None:
    seen: dict[str, str] = {}
    for image, record in joined.items():
        if record["id"] in seen:
            raise ArtQuantError(
                f"{file}: images {seen[record['id']]!r} and {image!r} have the same id {record['id']!r}; change one"
            )
        seen[record["id"]] = image


def _in_order(record: dict[str, Any]) -> dict[str, Any]:
    """The parts after id and image, further keys last."""
    first = [key for key in ("id", "image", *PARTS) if key in record]
    return {key: record[key] for key in first} | record


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()

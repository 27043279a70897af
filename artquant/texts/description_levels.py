"""Structured descriptions to level files.

    structured record   {"image", "perception", "cognition"?, "emotion"?, "id"?, "gt_score"?, ...}
    level 1             perception
    level 2             perception SEPARATOR cognition
    level 3             perception SEPARATOR cognition SEPARATOR emotion

Texts are taken to the character: nothing is trimmed. A picture is in the levels that its parts suffice for, in one
record a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant.errors import ArtQuantError
from artquant.files.json_files import parse_json, parse_json_lines, read_text, write_json
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


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()

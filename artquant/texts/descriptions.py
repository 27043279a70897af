"""Descriptions and human comments as training records, and descriptions in parts as level files.

    structured record   {"image", "perception", "cognition"?, "emotion"?, "id"?, "gt_score"?, ...}
    level 1             perception
    level 2             perception SEPARATOR cognition
    level 3             perception SEPARATOR cognition SEPARATOR emotion

(ArtQuant, section 3.1.) Texts are taken to the character: nothing is trimmed. A picture is in the levels that its parts
suffice for, in one record a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant.data.fields import Fields
from artquant.data.turns import media_tag
from artquant.errors import ArtQuantError
from artquant.files.json_files import write_json
from artquant.files.json_stream import iterate_records
from artquant.files.whole_files import whole_files
from artquant.texts.prompt import IMAGE_TOKEN
from artquant.texts.questions import LEVELS, Questions

PARTS = ("perception", "cognition", "emotion")
SEPARATOR = " "
_NO_CHANCE = 20  # characters with which two texts do not both begin by chance
_RECORD_KEYS = ("conversations", "task_type", "level", "level_probs", "attribute")  # not a structured record's


@dataclass(frozen=True)
class LevelsReport:
    """How many pictures there were, and how many of them have a description of level 1, 2 and 3."""

    pictures: int
    by_level: dict[int, int]


@dataclass(frozen=True)
class Structured:
    """One picture's description in parts."""

    id: str
    image: str
    parts: tuple[str, ...]  # perception, then cognition and emotion as far as there are
    extra: dict[str, Any]  # further keys


def read_structured(path: Path | str) -> list[Structured]:
    """Read structured records: a JSON list or JSON lines. A part that is null counts as left out.

    Raises:
        ArtQuantError: A record has no image or perception, an emotion without cognition, a part that is no text, is
            empty, holds the image token or begins with the part before it (as a level's text does), keys of training
            records, or shares its image or id with another one.
    """
    records: list[Structured] = []
    images: dict[str, str] = {}
    ids: dict[str, str] = {}
    for source, item in iterate_records(path):
        record = _structured(item, source)
        for what, value, seen in (("image", record.image, images), ("id", record.id, ids)):
            if value in seen:
                raise ArtQuantError(f"{source}: the same {what} {value!r} as {seen[value]}; keep one of them")
            seen[value] = source
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
    if (tag := media_tag(subject)) is not None:
        raise ArtQuantError(f"subject {subject[:60]!r}: holds {tag}; name what a question asks about, such as painting")
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
    with whole_files(out) as new:
        for level, file in _level_files(out).items():
            if os.path.realpath(file) == os.path.realpath(source):
                raise ArtQuantError(f"{file}: would overwrite the file that is read; name another folder with --out")
            if not levels[level] and file.exists():
                raise ArtQuantError(
                    f"{file}: is there, but no record of {source} reaches level {level}; remove it or name another "
                    "folder"
                )
            if levels[level]:
                write_json(new / file.name, levels[level])
        require_levels(out)
    return LevelsReport(len(structured), {level: len(records) for level, records in levels.items()})


def _level_files(folder: Path) -> dict[int, Path]:
    return {level: folder / f"descriptions_level_{level}.json" for level in LEVELS}


def require_levels(folder: Path) -> None:
    """Refuse to replace files of levels in a folder that are no lists of descriptions of these levels.

    Raises:
        ArtQuantError: one of them is something else.
    """
    for level, file in _level_files(folder).items():
        if not os.path.lexists(file):
            continue
        try:
            ours = file.is_file() and all(
                isinstance(item, dict) and (item.get("task_type"), item.get("level")) == ("description", level)
                for _, item in iterate_records(file)
            )
        except ArtQuantError:
            ours = False
        if not ours:
            raise ArtQuantError(f"{file}: is there and holds something else; name another folder with --out")


def _structured(item: Any, source: str) -> Structured:
    fields = Fields(item, source)
    image = fields.text("image")
    identity = image if fields.item.get("id") is None else fields.id()
    for key in _RECORD_KEYS:
        if key in fields.item:
            fields.fault(key, f'"{key}" is no key of a structured record; take it out')
    parts: list[str] = []
    for position, name in enumerate(PARTS):
        text = fields.optional_text(name)
        if text is None:
            continue
        if (tag := media_tag(text)) is not None:
            fields.fault(name, f'"{name}" holds {tag}; take it out')
        if len(parts) < position:
            fields.fault(name, f'"{name}" without "{PARTS[len(parts)]}", on which it builds; add it')
        if parts and repeats(text, parts[-1]):
            before = PARTS[len(parts) - 1]
            fields.fault(
                name, f'"{name}" begins with the whole "{before}", as the text of a level does; give what it adds'
            )
        parts.append(text)
    if not parts:
        fields.fault("perception", '"perception" is missing; every level begins with it')
    fields.refuse()
    extra = {key: value for key, value in fields.item.items() if key not in ("id", "image", *PARTS)}
    return Structured(identity, image, tuple(parts), extra)


def repeats(text: str, before: str) -> bool:
    """Whether a part begins with the whole part before it, as the text of a level does."""
    return len(before) >= _NO_CHANCE and text.startswith(before)


def comment_record(image: str, comment: str, seed: int = 0, subject: str = "painting") -> dict[str, Any]:
    """A person's comment on a picture, taken as it is, as a description record with the id `IMAGE#comment`.

    The question is drawn from the seed and the picture's name alone; `subject` is the noun in it.

    Raises:
        ArtQuantError: The comment is empty or marks a picture (`<image>`).
    """
    if not comment.strip():
        raise ArtQuantError(f"image {image!r}: the comment is empty; leave the picture out")
    if (tag := media_tag(comment)) is not None:
        raise ArtQuantError(f"image {image!r}: the comment holds {tag}; take it out")
    question = Questions().for_comment(image, seed, subject)
    return description_record(f"{image}#comment", image, question, comment, {})


def description_record(
    identity: str, image: str, question: str, answer: str, extra: Mapping[str, Any], level: int | None = None
) -> dict[str, Any]:
    """A description record in the form of training files (dataset/README.md); `extra` are further keys."""
    return {
        "id": identity,
        "image": image,
        **extra,
        "task_type": "description",
        **({} if level is None else {"level": level}),
        "conversations": [
            {"from": "human", "value": f"{question}\n{IMAGE_TOKEN}"},
            {"from": "gpt", "value": answer},
        ],
    }


def description_texts(item: Any, source: str) -> list[tuple[str, str]]:
    """The texts of a description record or of a structured record, each with its name; none of a score record.

    The name is "description", or "perception", "cognition" and "emotion". Empty texts are among them.

    Raises:
        RecordError: The record is neither; names the source.
    """
    fields = Fields(item, source)
    texts: dict[str, Any] = {}
    if "conversations" in fields.item:
        if fields.item.get("task_type", "score") == "score":
            return []
        turns = fields.item["conversations"]
        if isinstance(turns, list) and len(turns) == 2 and isinstance(turns[1], dict):
            texts["description"] = turns[1].get("value")
        else:
            fields.fault("conversations", '"conversations" must be two turns, question and answer; correct the record')
    else:
        texts = {part: fields.item[part] for part in PARTS if fields.item.get(part) is not None}
    if not texts or not all(isinstance(text, str) for text in texts.values()):
        fields.fault("", f'expected "conversations" or {", ".join(PARTS)} with text; see dataset/README.md')
    fields.refuse()
    return list(texts.items())

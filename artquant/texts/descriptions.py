"""Descriptions and human comments as training records.

A level file holds one description per picture: level 1 perception, level 2 perception + cognition, level 3 perception +
cognition + emotion (ArtQuant, section 3.1), each text beginning with the one before. A structured record holds the
parts apart: `{"image", "perception", "cognition", "emotion"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from artquant.data.fields import Fields
from artquant.errors import ArtQuantError
from artquant.texts.prompt import IMAGE_TOKEN
from artquant.texts.questions import Questions

PARTS = ("perception", "cognition", "emotion")


def comment_record(image: str, comment: str, seed: int = 0, subject: str = "painting") -> dict[str, Any]:
    """A person's comment on a picture, taken as it is, as a description record with the id `IMAGE#comment`.

    The question is drawn from the seed and the picture's name alone; `subject` is the noun in it.

    Raises:
        ArtQuantError: The comment is empty or holds the image token.
    """
    if not comment.strip():
        raise ArtQuantError(f"image {image!r}: the comment is empty; leave the picture out")
    if IMAGE_TOKEN in comment:
        raise ArtQuantError(f"image {image!r}: the comment holds {IMAGE_TOKEN}; take it out")
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

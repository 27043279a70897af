"""The turns of a training record's conversation."""

from __future__ import annotations

import re
from typing import Any, cast

from artquant.data.fields import Fields, kind_of

IMAGE_TOKEN = "<|image|>"
_IMAGE_TOKEN_WITH_NEWLINES = re.compile(r"\n?" + re.escape(IMAGE_TOKEN) + r"\n?")


def conversation(fields: Fields) -> list[tuple[str, str]]:
    """Rounds of question and answer, the image token removed from the first together with the newlines around it."""
    turns = fields.get("conversations")
    if turns is None:
        return [("", "")]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        fields.fault("conversations", '"conversations" must be a list of objects; correct the record')
        return [("", "")]
    speakers = [turn.get("from") for turn in turns]
    if not speakers or speakers != ["human", "gpt"] * (len(speakers) // 2):
        reason = f"got {len(turns)} from {str(speakers)[:100]}; split or correct it"
        fields.fault("conversations", f'"conversations" must be turns from "human" and "gpt" by turns, {reason}')
        return [("", "")]
    values = [turn.get("value") for turn in turns]
    return [
        (_question(fields, human, pictures=1 if number == 0 else 0), _answer(fields, model))
        for number, (human, model) in enumerate(zip(values[::2], values[1::2], strict=True))
    ]


def _question(fields: Fields, value: Any, pictures: int) -> str:
    if not _is_turn(fields, "human", value):
        return ""
    count = value.count(IMAGE_TOKEN)
    if count != pictures:
        which = "the human turn must hold exactly one" if pictures else "only the first human turn may hold"
        reason = f"{which} {IMAGE_TOKEN}, got {count}; correct the record"
        fields.fault("conversations", reason, "image-token")
        return ""
    question = _IMAGE_TOKEN_WITH_NEWLINES.sub(lambda match: "\n" if "\n" in match.group() else "", value).strip()
    if not question:
        fields.fault("conversations", "the question is empty; write one beside the image token", "empty-text")
    return question


def _answer(fields: Fields, value: Any) -> str:
    if not _is_turn(fields, "gpt", value):
        return ""
    if IMAGE_TOKEN in value:
        reason = f"the gpt turn must not hold {IMAGE_TOKEN}; correct the record"
        fields.fault("conversations", reason, "image-token")
    if not value.strip():
        fields.fault("conversations", "the answer is empty; fill it in or take the record out", "empty-text")
    return cast(str, value)


def _is_turn(fields: Fields, speaker: str, value: Any) -> bool:
    if isinstance(value, str):
        return fields.is_unicode("conversations", value)
    fields.fault("conversations", f'"value" of the {speaker} turn must be text, got {kind_of(value)}')
    return False

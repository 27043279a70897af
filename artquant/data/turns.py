"""The turns of a training record's conversation, in this package's form or LLaVA's and LLaMA-Factory's.

Theirs are turns "from" "human" and "gpt" with a "value", or of the "role" "user" and "assistant" with "content", under
"conversations" or "messages"; `<image>` stands for the picture. What records here cannot say is refused by its name.
"""

from __future__ import annotations

import re
from typing import Any, cast

from artquant.data.fields import Fields, kind_of

IMAGE_TOKEN = "<|image|>"
_OTHER_TOKEN = "<image>"
_TOKEN_WITH_NEWLINES = re.compile(rf"\n?(?:{re.escape(IMAGE_TOKEN)}|{_OTHER_TOKEN})\n?")
# Marks of media in the forms of several tools: <image>, <|image|>, <img src="...">, <image_1>, <|vision_start|>, ...
_MEDIA_TAG = re.compile(r"</?\|?(?:image(?:here)?|img|vision|video|audio)(?:[\s\d_/|:=-][^<>]*)?>", re.IGNORECASE)

_SPEAKERS = {"human": "human", "user": "human", "gpt": "gpt", "assistant": "gpt"}
_NO_SYSTEM = "a system text; the prompt of the configuration says it: take it out of the record"
_NO_TOOLS = "tool calls, which are not learned; leave the record out"
_OTHER_TURNS = {"system": _NO_SYSTEM} | dict.fromkeys(("function_call", "function", "observation", "tool"), _NO_TOOLS)
_NO_FILMS = "films or sounds, which are not read; leave the record out"
_NO_CHOICE = "answers to choose from, which are not learned; keep the better one"
_OTHER_KEYS = {
    **dict.fromkeys(("video", "videos", "audio", "audios"), _NO_FILMS),
    **dict.fromkeys(("chosen", "rejected"), _NO_CHOICE),
    **{"tools": _NO_TOOLS, "system": _NO_SYSTEM},
    "instruction": "a question in Alpaca's form; write conversations of question and answer",
}


def media_tag(text: str) -> str | None:
    """The first mark of a picture (or film or sound) in a text that should have none; None: there is none."""
    found = _MEDIA_TAG.search(text)
    return None if found is None else found.group()


def is_of_other_tools(fields: Fields) -> bool:
    """Whether a record is in LLaVA's or LLaMA-Factory's form, which know no scores and no tasks."""
    turns = fields.item.get("messages", fields.item.get("conversations"))
    turns = turns if isinstance(turns, list) else []
    said = [str(_value(turn)) for turn in turns if isinstance(turn, dict)]
    return "messages" in fields.item or any(_OTHER_TOKEN in value for value in said)


def picture_name(fields: Fields) -> str:
    """The name of a record's only picture, empty where it is at fault: "image", or "images"; a list may hold it."""
    key = "images" if "images" in fields.item and "image" not in fields.item else "image"
    names = fields.item.get(key)
    if "images" in fields.item and key == "image":
        fields.fault("images", 'has "image" and "images"; keep one of them')
    elif not isinstance(names, list):
        return fields.text(key)
    elif len(names) == 1:
        return fields.text_of(key, names[0])
    else:
        fields.fault(key, f'"{key}" names {len(names)} pictures; a record is about one: split it or leave it out')
    return ""


def conversation(fields: Fields) -> list[tuple[str, str]]:
    """Rounds of question and answer, the image token removed from the first together with the newlines around it."""
    for other, what in _OTHER_KEYS.items():
        if fields.item.get(other):
            fields.fault(other, f'"{other}" holds {what}')
    key = "messages" if "messages" in fields.item and "conversations" not in fields.item else "conversations"
    if key == "conversations" and "messages" in fields.item:
        fields.fault("messages", 'has "conversations" and "messages"; keep one of them')
    turns = fields.get(key)
    if turns is None:
        return [("", "")]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        fields.fault(key, f'"{key}" must be a list of objects; correct the record')
        return [("", "")]
    said = [str(turn.get("from", turn.get("role"))) for turn in turns]
    strange = next((f"a turn from {one!r}: {_OTHER_TURNS[one]}" for one in said if one in _OTHER_TURNS), None)
    if strange is None and any(turn.get("tool_calls") or turn.get("function_call") for turn in turns):
        strange = _NO_TOOLS
    if strange is not None:
        fields.fault(key, f'"{key}" holds {strange}')
        return [("", "")]
    speakers = [_SPEAKERS.get(one) for one in said]
    if not speakers or speakers != ["human", "gpt"] * (len(speakers) // 2):
        reason = f"got {len(turns)} from {str(said)[:100]}; split or correct it"
        fields.fault(key, f'"{key}" must be turns from "human" and "gpt" by turns, {reason}')
        return [("", "")]
    values = [_value(turn) for turn in turns]
    return [
        (_question(fields, key, human, pictures=1 if number == 0 else 0), _answer(fields, key, model))
        for number, (human, model) in enumerate(zip(values[::2], values[1::2], strict=True))
    ]


def _value(turn: dict[str, Any]) -> Any:
    return turn.get("value", turn.get("content"))


def _question(fields: Fields, key: str, value: Any, pictures: int) -> str:
    if not _is_turn(fields, key, "human", value):
        return ""
    count = len(_TOKEN_WITH_NEWLINES.findall(value))
    question = _TOKEN_WITH_NEWLINES.sub(lambda match: "\n" if "\n" in match.group() else "", value).strip()
    strange = media_tag(question)
    if count != pictures:
        which = "the human turn must hold exactly one" if pictures else "only the first human turn may hold"
        beside = f" beside {strange}" if strange else ""
        reason = f"{which} {IMAGE_TOKEN}, got {count}{beside}; correct the record"
        fields.fault(key, reason, "image-token")
        return ""
    if strange is not None:
        fields.fault(key, f"the human turn holds {strange} beside {IMAGE_TOKEN}; take it out", "image-token")
    if not question:
        fields.fault(key, "the question is empty; write one beside the image token", "empty-text")
    return question


def _answer(fields: Fields, key: str, value: Any) -> str:
    if not _is_turn(fields, key, "gpt", value):
        return ""
    tag = media_tag(value)
    if tag is not None:
        fields.fault(key, f"the gpt turn must not hold {tag}; correct the record", "image-token")
    if not value.strip():
        fields.fault(key, "the answer is empty; fill it in or take the record out", "empty-text")
    return cast(str, value)


def _is_turn(fields: Fields, key: str, speaker: str, value: Any) -> bool:
    if isinstance(value, str):
        return fields.is_unicode(key, value)
    advice = f"write one text, with {_OTHER_TOKEN} for the picture" if isinstance(value, list) else "correct the record"
    fields.fault(key, f'"value" of the {speaker} turn must be text, got {kind_of(value)}; {advice}')
    return False

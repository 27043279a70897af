"""Chat completions: an answer in the form that the request asked for, whole or with a fault."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from artquant.rad.demo_server.faults import ANSWERED, broken
from artquant.rad.demo_server.request import Asked

PICTURE_TOKENS = 256
_WORD_TOKENS = 1.3
_FENCED = "Here it is:\n```json\n{}\n```"  # as models answer that are not held to JSON


@dataclass(frozen=True)
class Replied:
    """What is sent of an answer."""

    model: str
    message: dict[str, Any]
    finish: str  # stop, or length: it is cut off
    input: int  # tokens
    output: int
    outcome: str  # for the log
    broken_off: bool  # whether the connection ends within it

    def completion(self, id: str, created: int) -> dict[str, Any]:
        """The body of the response."""
        choice = {"index": 0, "message": self.message, "logprobs": None, "finish_reason": self.finish}
        usage = {"prompt_tokens": self.input, "completion_tokens": self.output}
        return {
            "id": id,
            "object": "chat.completion",
            "created": created,
            "model": self.model,
            "choices": [choice],
            "usage": {**usage, "total_tokens": self.input + self.output},
        }


def replied(asked: Asked, answer: dict[str, Any], fault: str | None, draw: random.Random) -> Replied:
    """What is sent of an answer; a fault that is none of the reply's leaves it whole."""
    content = json.dumps(answer)
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if fault == "broken_json":
        message = broken(content, draw)
    elif asked.structure == "text":
        message["content"] = _FENCED.format(content)
    words = (message["content"] or "").split(" ")
    tokens = round(len(words) * _WORD_TOKENS)
    halved = fault == "cut_off" and draw.random() < 0.5
    most = min(asked.max_tokens, tokens // 2 if halved else tokens)
    if most < tokens:
        message["content"] = " ".join(words[: int(most / _WORD_TOKENS)])
        fault = "cut_off"
    return Replied(
        model=asked.model,
        message=message,
        finish="length" if most < tokens else "stop",
        input=round(asked.words * _WORD_TOKENS) + PICTURE_TOKENS * len(asked.pictures),
        output=most,
        outcome=fault or ANSWERED,
        broken_off=fault == "cut_off" and most == tokens,
    )

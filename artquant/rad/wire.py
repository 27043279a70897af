"""OpenAI's wire format of a chat: a request as bytes, an answer as a reply or as what is wrong with it."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from artquant.errors import visible
from artquant.rad.chat import Reply, Request, Usage
from artquant.rad.money import most_tokens, text_tokens
from artquant.rad.settings import STRUCTURES, Structure
from artquant.rad.structured import schema_sent

LONGEST_WAIT = 300.0  # seconds; a server may ask for more, but is asked again by then
_AS_JSON = "Answer with one JSON object that follows this JSON schema, and nothing else:"
_MOST_TOKENS = 100_000_000  # that a server may count
Limit = Literal["max_tokens", "max_completion_tokens"]


class Failed(Exception):
    """An attempt that came to nothing and may be made again."""

    def __init__(
        self,
        reason: str,
        kind: Literal["refused", "overloaded", "unreached", "broken", "unusable"] = "broken",
        after: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        """`after`: seconds that the server asks to wait; `usage`: it was paid for all the same."""
        super().__init__(reason)
        self.reason, self.kind, self.after, self.usage = reason, kind, after, usage or Usage(0, 0)


class Misfit(Exception):
    """400 or 422: the request is not as the server takes it.

    `parameter`: which one it is about, where the server says so in a field.
    """

    def __init__(self, reason: str, parameter: str | None) -> None:
        super().__init__(reason)
        self.reason, self.parameter = reason, parameter


@dataclass(frozen=True)
class Form:
    """How a model is asked; servers differ in what they take."""

    structure: Structure
    limit: Limit = "max_tokens"  # reasoning models of OpenAI take the other only
    temperature: bool = True  # these take none

    def body(self, request: Request) -> bytes:
        """The request as it is sent."""
        role, schema = request.role, schema_sent(request.schema)
        asked: dict[str, Any] = {"model": role.model, self.limit: role.max_tokens}
        if self.temperature:
            asked["temperature"] = role.temperature
        text = request.text
        if self.structure == "json_schema":
            named = {"name": schema["title"], "schema": schema, "strict": True}
            asked["response_format"] = {"type": "json_schema", "json_schema": named}
        else:
            text = f"{text}\n\n{_AS_JSON}\n{json.dumps(schema, ensure_ascii=False)}"
        if self.structure == "json_object":
            asked["response_format"] = {"type": "json_object"}
        turns: list[dict[str, Any]] = [{"role": "user", "content": _content(text, request)}]
        for reply, said in request.earlier:
            turns += [{"role": "assistant", "content": reply}, {"role": "user", "content": said}]
        return json.dumps(asked | {"messages": turns}).encode()

    def without(self, parameter: str) -> Form | None:
        """The form that leaves out what a server names; None: this has nothing of the kind."""
        name = parameter.split(".")[0]
        lower = STRUCTURES[STRUCTURES.index(self.structure) + 1 :]
        if name == "response_format" and lower:
            return replace(self, structure=lower[0])
        if name == "max_tokens" == self.limit:
            return replace(self, limit="max_completion_tokens")
        return replace(self, temperature=False) if name == "temperature" and self.temperature else None

    def others(self) -> list[Form]:
        """What to try where a server does not say what it does not take."""
        lower = STRUCTURES[STRUCTURES.index(self.structure) + 1 :]
        plain: list[Form] = [replace(self, structure=structure) for structure in lower]
        newer = replace(self, limit="max_completion_tokens")
        return [*plain, newer, replace(newer, temperature=False), Form("text", "max_completion_tokens", False)]


def _content(text: str, request: Request) -> Any:
    if request.picture is None:
        return text
    url = f"data:{request.picture.media_type};base64,{b64encode(request.picture.data).decode('ascii')}"
    return [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, of 0 to 300; None: it does not say."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return min(max(0.0, seconds), LONGEST_WAIT)
    until = _date(headers.get("retry-after", ""))
    if until is None:
        return None
    now = _date(headers.get("date", "")) or datetime.now(timezone.utc)  # the server's clock, where it says
    return min(max(0.0, (until - now).total_seconds()), LONGEST_WAIT)


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)


def _loaded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True)
class ServerError:
    """What the body of an error says, in the fields that servers have for it."""

    message: str
    parameter: str | None
    code: str

    @staticmethod
    def of(body: bytes) -> ServerError:
        """From OpenAI's error object, alone or under "error", FastAPI's "detail", or any text."""
        value = _loaded(body)
        error = value.get("error", value) if isinstance(value, dict) else value
        if not isinstance(error, dict):
            text = error if isinstance(error, str) else body.decode("utf-8", "replace")
            return ServerError(text, None, "")
        detail = error.get("detail")
        message = error.get("message", detail)
        if isinstance(detail, list) and detail and isinstance(detail[0], dict):
            place = detail[0].get("loc")
            named = place[1] if isinstance(place, list) and len(place) > 1 else None
            return ServerError(str(detail[0].get("msg", "")), named if isinstance(named, str) else None, "")
        parameter, code = error.get("param"), error.get("code")
        return ServerError(
            "" if message is None else str(message),
            parameter if isinstance(parameter, str) and parameter else None,
            code if isinstance(code, str) else "",
        )


def read_reply(body: bytes, request: Request, request_id: str) -> Reply:
    """The reply that a body of a good status holds.

    Raises:
        Failed: there is none: no JSON, no choice, no text, cut off, filtered ("unusable": paid all the same).
    """
    value = _loaded(body)
    choices = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(choices, list):
        raise Failed("the answer is no chat completion; `url` ends before /chat/completions")
    choice = choices[0] if choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    text = _text(message.get("content"))
    usage = _usage(value.get("usage"), request, text)
    ended, refusal = choice.get("finish_reason"), message.get("refusal")
    if ended == "length":
        said = f"the reply is cut off at max_tokens {request.role.max_tokens}; raise it for the role"
        raise Failed(said, "unusable", usage=usage)
    if ended == "content_filter" or (isinstance(refusal, str) and refusal):
        raise Failed(f"the model refuses: {refusal or 'filtered'}", "unusable", usage=usage)
    if not text:
        raise Failed("the answer holds no text", "unusable", usage=usage)
    named = value.get("id")
    return Reply(text, usage, visible(request_id or (named if isinstance(named, str) else ""))[:200])


def _text(content: Any) -> str:
    """Text of a message's content, which some servers give in parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _usage(counted: Any, request: Request, text: str) -> Usage:
    """Tokens as counted; a budget needs some, so where there is no count they are estimated."""
    counted = counted if isinstance(counted, dict) else {}
    found = [counted.get("prompt_tokens"), counted.get("completion_tokens")]
    known = [type(number) is int and 0 <= number <= _MOST_TOKENS for number in found]
    shown = found[0] if known[0] else most_tokens(request).input
    return Usage(shown, found[1] if known[1] else text_tokens(text))

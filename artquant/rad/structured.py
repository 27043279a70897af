"""Replies that follow a schema: what is sent of it, what is taken, what is said about one that does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from artquant.errors import ArtQuantError, one_line
from artquant.files.json_files import DECODER, JSON_FAULTS, refuse_deep
from artquant.rad.chat import Request

LONGEST_REPLY = 200_000  # characters
_THOUGHT = "</think>"  # after which reasoning models answer, where the server does not take their thoughts out
_SHOWN = 4_000  # characters of a wrong reply that are sent back
# What OpenAI's strict mode takes; lengths and ranges are checked here all the same, when the reply is there.
_SENT = ("type", "title", "description", "enum", "const", "required", "additionalProperties")
Fitting = TypeVar("Fitting", bound=BaseModel)


class BadReply(ArtQuantError):
    """A reply that does not fit its schema, and why: one line, which the model is told."""


@lru_cache
def schema_sent(schema: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a reply as endpoints take it: all keys required, no others, no lengths or ranges."""
    return _sent(schema.model_json_schema())


def _sent(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        return {"$ref": node["$ref"]}  # nothing may stand beside it
    found = {key: node[key] for key in _SENT if key in node}
    for key in ("properties", "$defs"):
        if key in node:
            found[key] = {name: _sent(inner) for name, inner in node[key].items()}
    if "items" in node:
        found["items"] = _sent(node["items"])
    if "anyOf" in node:
        found["anyOf"] = [_sent(inner) for inner in node["anyOf"]]
    if "properties" in found:
        found |= {"required": list(found["properties"]), "additionalProperties": False}
    return found


def parse_reply(text: str, schema: type[Fitting]) -> Fitting:
    """The reply as an object of its schema.

    It may stand in a fence or between words, as models write that are asked for JSON in words alone, but only one may.

    Raises:
        BadReply: there is none, or it does not fit.
    """
    if len(text) > LONGEST_REPLY:
        raise BadReply(f"{len(text)} characters; at most {LONGEST_REPLY} are read")
    try:
        return schema.model_validate(_value(text), strict=True)
    except ValidationError as error:
        raise BadReply(_first_fault(error)) from None


def _value(text: str) -> Any:
    """The one JSON object of a text."""
    begin = text.find("{", text.rfind(_THOUGHT) + 1)
    if begin < 0:
        raise BadReply("no JSON object in it")
    try:
        value, end = DECODER.raw_decode(text, begin)
        refuse_deep(value, text, begin, end)
    except JSON_FAULTS as error:
        raise BadReply(f"not JSON: {one_line(error, 150)}") from None
    if "{" in text[end:]:
        raise BadReply("more than one JSON object; answer with one")
    return value


def _first_fault(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    place = ".".join(str(step) for step in faults[0]["loc"])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return one_line(f"{one_line(place, 80) + ': ' if place else ''}{one_line(faults[0]['msg'], 150)}{more}")


def repaired(request: Request, reply: str, reason: str) -> Request:
    """The request once more, with the reply that did not fit and why.

    Args:
        reply: Its text.
        reason: Of :class:`BadReply`.
    """
    schema = json.dumps(schema_sent(request.schema), ensure_ascii=False)  # some servers take one and do not heed it
    said = (
        f"That reply cannot be used: {reason}. "
        f"Answer again with one JSON object that follows this JSON schema, and nothing else:\n{schema}"
    )
    return replace(request, earlier=(*request.earlier, (reply[:_SHOWN], said)))

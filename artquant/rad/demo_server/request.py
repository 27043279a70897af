"""What a request asks of the server: the fields of OpenAI's chat completions, and the JSON objects in the prompt.

A prompt gives facts, texts and reasons as JSON objects that each begin a line, so they are read from there, whatever
else the prompt says.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from artquant.config.requirements import LARGEST
from artquant.demo.attributes import ATTRIBUTES
from artquant.errors import one_line
from artquant.labels.rating_scale import APDD_SCALE
from artquant.rad.demo_server.refusal import Refusal
from artquant.rad.replies import LeaksFound, ScoreRead, UnseenClaims
from artquant.rad.settings import Structure
from artquant.texts.descriptions import PARTS

ROLES = {
    "Descriptions": "writer",
    "Marks": "judge",
    ScoreRead.__name__: "reader",
    UnseenClaims.__name__: "witness",
    LeaksFound.__name__: "leaks",
}
TONES = {"low": 0.2, "middle": 0.55, "high": 0.85}  # the middle of each tone's share of the range (Aes-R1)
_Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
_DATA_URL = "data:image/"


class _TextPart(BaseModel):
    type: Literal["text"]
    text: str


class _Url(BaseModel):
    url: str


class _PicturePart(BaseModel):
    type: Literal["image_url"]
    image_url: _Url


class _Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: str | list[Annotated[_TextPart | _PicturePart, Field(discriminator="type")]]

    def texts(self) -> list[str]:
        if isinstance(self.content, str):
            return [self.content]
        return [part.text for part in self.content if isinstance(part, _TextPart)]


class _JsonSchema(BaseModel):
    name: str
    schema_: dict[str, Any] = Field(alias="schema")


class _Format(BaseModel):
    type: Structure
    json_schema: _JsonSchema | None = None


class _Body(BaseModel):
    """A request of `POST /v1/chat/completions`; other fields are taken and do nothing."""

    model: str
    messages: Annotated[list[_Message], Field(min_length=1)]
    response_format: _Format = _Format(type="text")
    max_tokens: Annotated[int, Field(ge=1)] = 1 << 20
    stream: Literal[False] = False

    def pictures(self) -> list[str]:
        """The URLs of the pictures."""
        contents = [message.content for message in self.messages if not isinstance(message.content, str)]
        return [part.image_url.url for parts in contents for part in parts if isinstance(part, _PicturePart)]


class Facts(BaseModel):
    """What people said of a picture; without attributes the score stands for each of them, or else the tone."""

    scale: tuple[_Number, _Number] = (APDD_SCALE.low, APDD_SCALE.high)
    score: _Number | None = None
    attributes: dict[str, _Number | None] | None = None
    tone: Literal["low", "middle", "high"] | None = None

    def value(self, name: str) -> float | None:
        """What people said of an attribute, 0 to 1; None: nothing."""
        said = (self.attributes or {}).get(name)
        score = self.score if said is None else said
        if score is None:
            return None if self.tone is None else TONES[self.tone]
        low, high = self.scale
        return min(1.0, max(0.0, (score - low) / (high - low)))

    def values(self) -> dict[str, float]:
        """Of each attribute, 0 to 1. Raises Refusal: there is neither score nor tone."""
        values = {name: value for name in ATTRIBUTES if (value := self.value(name)) is not None}
        if len(values) < len(ATTRIBUTES):
            raise Refusal(400, 'the prompt gives no facts: a line {"scale": [1, 10], "score": ...}, or "tone"')
        return values

    def said(self, value: float) -> float:
        """A value of 0 to 1 on the people's scale."""
        low, high = self.scale
        return low + value * (high - low)


@dataclass(frozen=True)
class Asked:
    """One question to the server."""

    model: str
    role: str  # one of ROLES' values
    parts: tuple[str, ...]  # of writer and judge: those asked for
    facts: Facts
    given: tuple[dict[str, str], ...]  # texts by part; of a writer who is asked again: texts and reasons
    pictures: list[str]  # their URLs
    structure: Structure
    max_tokens: int  # of the reply
    words: int  # of the prompt
    digest: str  # of model, schema and prompt without its picture, hexadecimal

    def picture(self) -> str:
        """The base64 characters of the one picture. Raises Refusal: there is not one, or it is not sent along."""
        if len(self.pictures) != 1:
            raise Refusal(400, f"a request of the {self.role} shows one picture, not {len(self.pictures)}")
        head, comma, encoded = self.pictures[0].partition(";base64,")
        if not (comma and head.startswith(_DATA_URL)):
            raise Refusal(400, f"pictures are sent along, as {_DATA_URL}png;base64,...; none is fetched")
        return encoded


_BODY, _FACTS = TypeAdapter(_Body), TypeAdapter(Facts)


def read_request(data: bytes) -> Asked:
    """What a request asks. Raises Refusal: it is none, it names no schema of ours, or its facts are none."""
    try:
        body = _BODY.validate_json(data)
    except ValidationError as error:
        raise Refusal(400, _first(error)) from None
    texts = [text for message in body.messages for text in message.texts()]
    objects = [found for text in texts for found in _objects(text)]
    schema = _schema(body, objects)
    role = ROLES.get(str(schema.get("title")))
    if role is None:
        raise Refusal(400, f"the reply's schema is none of {', '.join(ROLES)}")
    fields = schema.get("properties")
    parts = tuple(part for part in PARTS if isinstance(fields, dict) and part in fields)
    try:
        facts = _FACTS.validate_python(next((found for found in objects if "scale" in found), {}))
    except ValidationError as error:
        raise Refusal(400, f"facts: {_first(error)}") from None
    if not facts.scale[0] < facts.scale[1]:
        raise Refusal(400, f"facts: scale: lowest, highest; got {facts.scale}")
    given = tuple(found for found in objects if _is_of_parts(found))
    digest = hashlib.sha256("\0".join([body.model, str(schema), *texts]).encode("utf-8", "replace"))
    return Asked(
        model=body.model,
        role=role,
        parts=parts,
        facts=facts,
        given=given,
        pictures=body.pictures(),
        structure=body.response_format.type,
        max_tokens=body.max_tokens,
        words=sum(len(text.split()) for text in texts),
        digest=digest.hexdigest()[:24],
    )


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return one_line(f"{'.'.join(str(place) for place in first['loc']) or 'body'}: {first['msg']}")


def _schema(body: _Body, objects: list[dict[str, Any]]) -> dict[str, Any]:
    if body.response_format.json_schema is not None:
        named = body.response_format.json_schema
        return {**named.schema_, "title": named.name}
    return next((found for found in objects if "title" in found and "properties" in found), {})


def _is_of_parts(found: dict[str, Any]) -> bool:
    return bool(found) and found.keys() <= set(PARTS) and all(isinstance(text, str) for text in found.values())


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that begin a line, in their order."""
    decoder, end = json.JSONDecoder(), 0
    for brace in re.finditer(r"^\{", text, re.MULTILINE):
        if brace.start() < end:  # within the one before
            continue
        with suppress(ValueError, RecursionError):
            found, end = decoder.raw_decode(text, brace.start())
            yield found

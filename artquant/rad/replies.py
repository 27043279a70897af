"""What a model in each role answers: one class gives the schema, the check and the words of a repair."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

Text = Annotated[str, Field(min_length=1, max_length=20_000)]


class Strict(BaseModel):
    """All keys required, no others; finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Mark(Strict):
    """How well a description agrees with the people's score."""

    mark: Annotated[float, Field(ge=0, le=10, description="0: contradicts the scores, 10: agrees with them")]
    reason: Annotated[str, Field(max_length=5_000, description="what has to change, or why it agrees")]


class ScoreRead(Strict):
    """The score that a text tells of."""

    score: Annotated[float, Field(description="on the scale that the prompt gives")]


class UnseenClaims(Strict):
    """Claims of a text that the picture does not show."""

    claims: Annotated[list[Text], Field(max_length=50, description="each quoted; empty where all can be seen")]


class LeaksFound(Strict):
    """Places of a text that give the score away."""

    quotes: Annotated[list[Text], Field(max_length=50, description="each quoted; empty where there is none")]


@lru_cache
def descriptions_of(parts: tuple[str, ...]) -> type[BaseModel]:
    """The reply of a writer who is asked for these parts: a text for each.

    `parts` are some of "perception", "cognition", "emotion", in that order.
    """
    fields: dict[str, Any] = dict.fromkeys(parts, (Text, ...))
    return create_model("Descriptions", __base__=Strict, **fields)


@lru_cache
def marks_of(parts: tuple[str, ...]) -> type[BaseModel]:
    """The reply of a judge of these parts: a :class:`Mark` for each."""
    fields: dict[str, Any] = dict.fromkeys(parts, (Mark, ...))
    return create_model("Marks", __base__=Strict, **fields)


@lru_cache
def schema_of(reply: type[BaseModel]) -> str:
    """The JSON schema of a reply, as text."""
    return json.dumps(reply.model_json_schema(), ensure_ascii=False)

"""What is asked of a chat model and what it answers, whatever carries it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from artquant.errors import ArtQuantError
from artquant.rad.replies import schema_of
from artquant.rad.settings import RoleSettings


@dataclass(frozen=True)
class Picture:
    """A picture as it is sent."""

    data: bytes  # the encoded file
    media_type: str  # image/jpeg, image/png, image/webp
    sha256: str  # of the data


@dataclass(frozen=True)
class Request:
    """One question to a model in a role."""

    role: RoleSettings
    text: str  # the whole prompt, in one user message
    picture: Picture | None
    schema: type[BaseModel]  # of the reply
    earlier: tuple[tuple[str, str], ...] = ()  # a reply that did not fit the schema, and what is said about it

    @property
    def key(self) -> str:
        """SHA-256 of all that the reply depends on, hexadecimal."""
        asked = [self.role.model, self.role.temperature, self.role.max_tokens, self.text, self.earlier]
        shown = [self.picture and self.picture.sha256, schema_of(self.schema)]
        return hashlib.sha256(json.dumps([asked, shown], ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class Usage:
    """Tokens as the endpoint counts them."""

    input: int
    output: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.input + other.input, self.output + other.output)


@dataclass(frozen=True)
class Reply:
    """What came back."""

    text: str
    usage: Usage  # of all attempts that were answered
    request_id: str  # the endpoint's name of the call, for asking its keeper


class CallRefused(ArtQuantError):
    """The endpoint does not take this one call (too large, filtered, ...); others may go on.

    `usage`: what it was paid for all the same.
    """

    def __init__(self, message: str, usage: Usage = Usage(0, 0)) -> None:
        super().__init__(message)
        self.usage = usage


class EndpointRefused(ArtQuantError):
    """The endpoint takes no call at all (wrong key, no such model, not there): the run ends."""


class Sending(Protocol):
    """Told before every attempt to send a call: it counts from then on."""

    def __call__(self) -> None:
        """Raises what is to end the call instead, such as a budget that is spent."""


class Chat(Protocol):
    """An endpoint, or what stands in for one."""

    async def complete(self, request: Request, sending: Sending) -> Reply:
        """Send until there is a reply.

        Raises:
            CallRefused: not this one, or not within the attempts.
            EndpointRefused: none at all.
        """

"""What calls cost: before they are sent at worst, afterwards as counted, and all of them within a budget."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from artquant.errors import ArtQuantError
from artquant.rad.chat import Picture, Request, Usage
from artquant.rad.replies import schema_of
from artquant.rad.settings import EndpointSettings

_BYTES_A_TOKEN = 3  # of UTF-8: fewer than tokenizers reach in any common language
_AROUND = 32  # tokens of roles and turns
_PIXELS_A_TOKEN = 750  # of a picture; the networks in use take 28 x 28 pixels and more for a token
_PICTURE_LEAST, _PICTURE_UNKNOWN = 100, 4_000  # tokens


class BudgetSpent(ArtQuantError):
    """No call is sent that could exceed the budget."""


def text_tokens(text: str) -> int:
    """Tokens that a text has at most, about."""
    return math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_A_TOKEN)


def picture_tokens(picture: Picture) -> int:
    """Tokens that a picture has at most, about, by its size in pixels."""
    try:
        with Image.open(BytesIO(picture.data)) as opened:
            width, height = opened.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return _PICTURE_UNKNOWN
    return _PICTURE_LEAST + math.ceil(width * height / _PIXELS_A_TOKEN)


def worst_case(request: Request) -> Usage:
    """Tokens that a request takes at most, about: each attempt to send it anew."""
    turns = [request.text, schema_of(request.schema), *(said for turn in request.earlier for said in turn)]
    shown = 0 if request.picture is None else picture_tokens(request.picture)
    return Usage(_AROUND + shown + sum(map(text_tokens, turns)), request.role.max_tokens)


def cost(usage: Usage, endpoint: EndpointSettings) -> float:
    """Money that tokens cost at an endpoint's prices."""
    return (usage.input * endpoint.input_price + usage.output * endpoint.output_price) / 1e6


@dataclass(frozen=True)
class Expected:
    """Calls in a role that a run will make."""

    endpoint: EndpointSettings
    calls: float
    each: Usage  # tokens of one


def estimate(expected: Iterable[Expected]) -> float:
    """Money that a run will cost."""
    return math.fsum(one.calls * cost(one.each, one.endpoint) for one in expected)


class Budget:
    """What may be spent, what was, and what calls in flight could cost yet."""

    def __init__(self, limit: float | None, spent: float = 0.0) -> None:
        """`limit`: None: any; `spent`: in earlier runs."""
        self.limit, self.spent = limit, spent
        self._in_flight: list[float] = []
        self._settled = asyncio.Event()

    @property
    def in_flight(self) -> float:
        """What calls in flight cost at worst."""
        return math.fsum(self._in_flight)

    def fits(self, worst: float) -> bool:
        """Whether a call that costs so much at worst may be sent."""
        return self.limit is None or self.spent + self.in_flight + worst <= self.limit * (1 + 1e-12)

    async def room(self, worst: float) -> None:
        """Wait for calls in flight as long as this one does not fit beside what they could cost.

        Raises:
            BudgetSpent: it does not fit without them either.
        """
        while not self.fits(worst):
            if not self._in_flight:
                raise self._exceeded(worst)
            self._settled.clear()
            await self._settled.wait()

    def admit(self, worst: float) -> None:
        """A call is sent that costs so much at worst: in flight until it is settled.

        Raises:
            BudgetSpent: it could exceed the limit.
        """
        if not self.fits(worst):
            raise self._exceeded(worst)
        self._in_flight.append(worst)

    def settle(self, worst: float, paid: float) -> None:
        """A call that was admitted at `worst` is over and cost `paid`."""
        self._in_flight.remove(worst)
        self.spent += paid
        self._settled.set()

    def _exceeded(self, worst: float) -> BudgetSpent:
        return BudgetSpent(
            f"budget: {self.spent:.4f} of {self.limit:.4f} spent, {self.in_flight:.4f} in flight, and the next call "
            f"could cost {worst:.4f}; raise it to go on (what is done stays)"
        )

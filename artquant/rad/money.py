"""What calls cost: before they are sent at worst, afterwards as counted, and all of them within a budget."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


def most_tokens(request: Request) -> Usage:
    """Tokens that a request takes at most, about, each time it is sent."""
    turns = [request.text, schema_of(request.schema), *(said for turn in request.earlier for said in turn)]
    shown = 0 if request.picture is None else picture_tokens(request.picture)
    return Usage(_AROUND + shown + sum(map(text_tokens, turns)), request.role.max_tokens)


def cost_of(usage: Usage, endpoint: EndpointSettings) -> float:
    """Money that tokens cost at an endpoint's prices."""
    return (usage.input * endpoint.input_price + usage.output * endpoint.output_price) / 1e6


def worst_case(request: Request, endpoint: EndpointSettings) -> float:
    """Money that a request costs at most, about, before it is sent."""
    if endpoint.input_price == endpoint.output_price == 0:
        return 0.0
    return cost_of(most_tokens(request), endpoint)


class Budget:
    """What may be spent, what was, and what calls in flight could cost yet."""

    def __init__(self, limit: float | None, spent: float = 0.0) -> None:
        """`limit`: None: any; `spent`: in earlier runs."""
        self.limit, self.spent = limit, spent
        self._worst: list[float] = []  # of each call in flight
        self._settled = asyncio.Event()

    @property
    def in_flight(self) -> float:
        """What calls in flight cost at worst."""
        return math.fsum(self._worst)

    def admit(self, worst: float) -> None:
        """A call is in flight from now on that costs so much at worst.

        Raises:
            BudgetSpent: it could exceed the limit.
        """
        if not self._fits(worst):
            raise BudgetSpent(
                f"budget: {self.spent:.6g} of {self.limit:g} is spent and the next call could cost {worst:.3g}; "
                "raise it to go on (all that was answered is kept)"
            )
        self._worst.append(worst)

    @asynccontextmanager
    async def held(self, worst: float) -> AsyncIterator[None]:
        """A call's time in flight; what it cost is said with :meth:`spend` before it ends.

        Where it does not fit beside what the others could cost, it waits for what they do cost.

        Raises:
            BudgetSpent: it could exceed the limit even with no other in flight.
        """
        while self._worst and not self._fits(worst):
            self._settled.clear()
            await self._settled.wait()
        self.admit(worst)
        try:
            yield
        finally:
            self._worst.remove(worst)
            self._settled.set()

    def spend(self, paid: float) -> None:
        """Money is gone."""
        self.spent += paid

    def _fits(self, worst: float) -> bool:
        return self.limit is None or self.spent + self.in_flight + worst <= self.limit * (1 + 1e-12)

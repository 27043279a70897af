"""One queue of pictures across all requests, given out in batches."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from artquant.serve.messages import Judged
from artquant.serve.refusals import Refused


@dataclass(frozen=True)
class Waiting:
    """A prepared picture that waits for its score."""

    picture: Any
    attributes: bool
    outcome: asyncio.Future[Judged | Refused]
    since: float


class BatchingQueue:
    """Pictures that are scored alike are put together: up to `size` of them, or what came within so many seconds."""

    def __init__(self, size: int, collect: float):
        self._size, self._collect = size, collect
        self._waiting: dict[bool, deque[Waiting]] = {False: deque(), True: deque()}
        self._changed = asyncio.Event()
        self._taking = asyncio.Lock()

    def put(self, picture: Any, attributes: bool) -> asyncio.Future[Judged | Refused]:
        """Let a picture wait; what comes of it."""
        outcome: asyncio.Future[Judged | Refused] = asyncio.get_running_loop().create_future()
        self._waiting[attributes].append(Waiting(picture, attributes, outcome, time.monotonic()))
        self._changed.set()
        return outcome

    async def take(self) -> list[Waiting]:
        """The next batch: it holds the picture that has waited longest. Pictures that nobody waits for are left out."""
        async with self._taking:
            while True:
                self._changed.clear()
                for kind in self._waiting.values():
                    while kind and kind[0].outcome.done():
                        kind.popleft()
                oldest = min(
                    (kind for kind in self._waiting.values() if kind), key=lambda kind: kind[0].since, default=None
                )
                if oldest is None:
                    await self._changed.wait()
                    continue
                left = oldest[0].since + self._collect - time.monotonic()
                if len(oldest) >= self._size or left <= 0:
                    batch = [oldest.popleft() for _ in range(min(self._size, len(oldest)))]
                    return [one for one in batch if not one.outcome.done()]
                await _changed_within(self._changed, left)


async def _changed_within(changed: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(changed.wait(), seconds)
    except asyncio.TimeoutError:
        return

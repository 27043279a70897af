"""One device with what it was asked and has not answered yet."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

from PIL import Image

from artquant.errors import one_line
from artquant.serve.devices import Device, start_device
from artquant.serve.messages import Describe, Done, Failed, Judged, NoLonger, Ready, Said, Scored, ScoreThese, Written
from artquant.serve.queue import BatchingQueue
from artquant.serve.refusals import Refused, busy
from artquant.serve.settings import Chosen

logger = logging.getLogger(__name__)

_AHEAD = 2  # batches that a device has: one that it computes, and the next
_RESTART = 1.0  # seconds until a process that ended is started again
_TRIES = 10  # times


class Lane:
    """Gives a device batches of the queue, and descriptions; started again where its process ends.

    ready, failed: are told what was loaded, or in one line why it was not.
    """

    def __init__(
        self,
        chosen: Chosen,
        name: str,
        queue: BatchingQueue,
        ready: Callable[[Ready], None],
        failed: Callable[[str], None],
    ):
        self._chosen, self._name, self._queue = chosen, name, queue
        self._tell_ready, self._tell_failed = ready, failed
        self._numbers, self._tries = itertools.count(), 0
        self._scores: dict[int, asyncio.Future[Scored | Refused]] = {}
        self._texts: dict[int, asyncio.Queue[Written | Done | Refused]] = {}
        self._loaded, self._ending = asyncio.Event(), False
        self._loop = asyncio.get_running_loop()
        self._device: Device = start_device(chosen, name, self._hear)
        self._feeders = [asyncio.create_task(self._feed()) for _ in range(_AHEAD)]

    @property
    def is_loaded(self) -> bool:
        """Whether it computes."""
        return self._loaded.is_set()

    @property
    def describing(self) -> int:
        """Descriptions that wait or are written."""
        return len(self._texts)

    def end(self) -> None:
        """Let the device end."""
        self._ending = True
        for feeder in self._feeders:
            feeder.cancel()
        self._device.end()

    def _hear(self, said: Said | None) -> None:
        """From another thread."""
        try:
            self._loop.call_soon_threadsafe(self._heard, said)
        except RuntimeError:  # the server has ended
            return

    def _heard(self, said: Said | None) -> None:
        if isinstance(said, Ready):
            self._loaded.set()
            self._tell_ready(said)
        elif isinstance(said, Scored):
            self._scores.pop(said.number).set_result(said)
        elif isinstance(said, (Written, Done)):
            self._told(said.number, said)
        elif isinstance(said, Failed) and said.number is not None:
            self._told(said.number, Refused(422, "failed", f"no description: {said.message}"))
        elif isinstance(said, Failed) and self.is_loaded:
            logger.warning("%s", said.message)  # it ends, and is started again
        elif isinstance(said, Failed):
            self._ending = True
            self._tell_failed(said.message)
        else:
            self._lost()

    def _told(self, number: int, said: Written | Done | Refused) -> None:
        if number in self._texts:  # else nobody reads it any more
            self._texts[number].put_nowait(said)

    def _lost(self) -> None:
        """The process has ended, whyever: what it had is to be sent again."""
        self._loaded.clear()
        for answer in self._scores.values():
            answer.set_result(_gone())
        self._scores.clear()
        for text in self._texts.values():
            text.put_nowait(_gone())
        if self._ending:
            return
        self._tries += 1
        if self._tries > _TRIES:
            self._tell_failed(f"device {self._name}: its process has ended {self._tries} times; look at its memory")
            return
        logger.warning("device %s: its process has ended; it is started again", self._name)
        self._loop.call_later(_RESTART, self._restart)

    def _restart(self) -> None:
        if not self._ending:
            self._device = start_device(self._chosen, self._name, self._hear)

    async def _feed(self) -> None:
        while True:
            await self._loaded.wait()
            batch = await self._queue.take()
            await self._loaded.wait()  # it may have ended meanwhile
            outcomes = await self._scored(tuple(one.picture for one in batch), batch[0].attributes)
            for one, outcome in zip(batch, outcomes, strict=True):
                if not one.outcome.done():
                    one.outcome.set_result(outcome)

    async def _scored(self, pictures: tuple[Any, ...], attributes: bool) -> list[Judged | Refused]:
        number = next(self._numbers)
        answer = self._scores[number] = self._loop.create_future()
        try:
            await asyncio.to_thread(self._device.ask, ScoreThese(number, pictures, attributes))
            said = await answer
        except OSError:  # it has just ended
            self._scores.pop(number, None)
            said = _gone()
        except Exception as error:  # what cannot be handed over to another process
            del self._scores[number]
            said = Refused(422, "failed", f"cannot be handed over: {one_line(error)}")
        if isinstance(said, Refused):
            return [said] * len(pictures)
        return [one if isinstance(one, Judged) else Refused(422, "failed", one) for one in said.outcomes]

    async def describe(self, image: Image.Image, level: int | None) -> AsyncGenerator[Written | Done, None]:
        """Pieces of a description, the whole at last; it is written until then, or until nobody reads it.

        Raises:
            Refused: it cannot be written.
        """
        number = next(self._numbers)
        texts = self._texts[number] = asyncio.Queue()
        read = False
        try:
            await asyncio.to_thread(self._device.ask, Describe(number, image, level))
            while not read:
                said = await texts.get()
                read = not isinstance(said, Written)
                if isinstance(said, Refused):
                    raise said
                yield said
        except OSError:
            raise _gone() from None
        finally:
            del self._texts[number]
            if not read:
                self._forget(number)

    def _forget(self, number: int) -> None:
        with contextlib.suppress(OSError):
            self._device.ask(NoLonger(number))


def _gone() -> Refused:
    return busy("the process that computes has ended and is started again; send the request again", 503)

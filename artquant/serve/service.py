"""The models at work: pictures in, scores and descriptions out, whoever asks."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from typing import Any, Literal

from PIL import Image

from artquant.data.images import ImageError, read_image
from artquant.serve.lane import Lane
from artquant.serve.messages import Done, Judged, Preparing, Ready, Written
from artquant.serve.metrics import Metrics
from artquant.serve.queue import BatchingQueue
from artquant.serve.refusals import Refused, busy
from artquant.serve.settings import Chosen, Facts, Settings
from artquant.serve.uploads import Bodies, Upload

logger = logging.getLogger(__name__)

Status = Literal["loading", "ready", "draining"]
Task = Literal["score", "attributes", "describe"]
_LOADING = 5  # seconds after which a client is to ask again
_READ_AHEAD = 4  # batches of pictures that are read before they are scored


class Service:
    """All that requests share. Made and used within one event loop.

    failure: why there is nothing to serve, in one line.
    """

    def __init__(self, chosen: Chosen, devices: Sequence[str], settings: Settings):
        self.settings = settings
        self.bodies, self.metrics = Bodies(settings.limits), Metrics()
        self.draining, self.failure = False, ""
        self.requests = 0  # being answered
        self._facts: Facts | None = None
        self._processor: Preparing | None = None
        self._waiting, self._pixels = 0, 0
        self._large = threading.Lock()
        self._readers = ThreadPoolExecutor(settings.threads)
        self._read = asyncio.Semaphore(_READ_AHEAD * chosen.batch)
        self._queue = BatchingQueue(chosen.batch, settings.collect)
        self._lanes = [Lane(chosen, name, self._queue, self._ready, self._failed) for name in devices]

    def _ready(self, ready: Ready) -> None:
        self._facts, self._processor = ready.facts, ready.processor
        logger.info("loaded %s", ready.facts.identity.name)

    def _failed(self, message: str) -> None:
        self.failure = self.failure or message

    @property
    def status(self) -> Status:
        """What health says."""
        if self.draining:
            return "draining"
        return "ready" if any(lane.is_loaded for lane in self._lanes) else "loading"

    @property
    def known(self) -> Facts | None:
        """What is served, once it has been loaded."""
        return self._facts

    @property
    def waiting(self) -> int:
        """Pictures that were sent and have no score yet."""
        return self._waiting

    @property
    def describing(self) -> int:
        """Descriptions that wait or are written."""
        return sum(lane.describing for lane in self._lanes)

    def facts(self, task: Task | None = None) -> Facts:
        """What is served. Raises Refused: it is still loading, or was not trained for a task."""
        if self._facts is None or self.status == "loading":
            raise Refused(503, "loading", "the model is being loaded; ask again", after=_LOADING)
        if task is not None and task not in self._facts.can:
            name = self._facts.identity.name
            raise Refused(409, "not_trained", f"{name} was not trained to {_DOING[task]}; serve a model that was")
        return self._facts

    async def score(self, uploads: Sequence[Upload], attributes: bool = False) -> list[Judged | Refused]:
        """Of each picture its score, or why it has none.

        Raises:
            Refused: too many pictures wait, what computes has ended, or as `facts`.
        """
        self.facts("score")
        if attributes:
            self.facts("attributes")
        with self._room(len(uploads)):
            outcomes = await asyncio.gather(*(self._outcome(one, attributes) for one in uploads))
        gone = next((one for one in outcomes if isinstance(one, Refused) and one.status == 503), None)
        if gone is not None:  # it is not the pictures' fault
            raise gone
        for outcome in outcomes:
            self.metrics.judged(outcome.code if isinstance(outcome, Refused) else "scored")
        return outcomes

    @contextmanager
    def _room(self, pictures: int) -> Iterator[None]:
        if self._waiting + pictures > max(self.settings.limits.waiting, pictures if self._waiting == 0 else 0):
            raise busy(f"{self._waiting} pictures wait already; send the request again")
        self._waiting += pictures
        try:
            yield
        finally:
            self._waiting -= pictures

    async def _outcome(self, upload: Upload, attributes: bool) -> Judged | Refused:
        if isinstance(upload.data, Refused):
            return upload.data
        async with self._read:
            try:
                prepared = await self._in_reader(self._prepared, upload.data, upload.name)
            except Refused as refused:
                return refused
            return await self._queue.put(prepared, attributes)

    async def image(self, upload: Upload) -> Image.Image:
        """A picture's pixels. Raises Refused: it cannot be read."""
        if isinstance(upload.data, Refused):
            raise upload.data
        image: Image.Image = await self._in_reader(self._image, upload.data, upload.name)
        return image

    def _image(self, data: bytes, name: str) -> Image.Image:
        try:
            return read_image(data, name, self._large)
        except ImageError as error:
            raise Refused(422, "unreadable", str(error)) from None
        except MemoryError:
            raise Refused(422, "unreadable", f"{name}: takes more memory than there is; make it smaller") from None

    def _prepared(self, data: bytes, name: str) -> Any:
        if self._processor is None:
            raise Refused(503, "loading", "the model is being loaded; ask again", after=_LOADING)
        return self._processor.picture(self._image(data, name))

    async def _in_reader(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._readers, function, *arguments)

    def describe(self, image: Image.Image, level: int | None) -> AsyncIterator[Written | Done]:
        """Pieces of a description, the whole at last; None: the model's answer to the question of scoring.

        Raises:
            Refused: too many are being written, there is no such level, or as `facts`; while it is read: it cannot be
                written.
        """
        facts = self.facts() if level is None else self.facts("describe")
        if level is not None and level not in facts.levels:
            raise Refused(422, "bad_request", f"level {level}: there are {', '.join(map(str, facts.levels))}")
        limits, pixels = self.settings.limits, image.width * image.height
        if self.describing >= limits.describing or self._pixels > max(0, limits.pixels - pixels):
            raise busy(f"{self.describing} descriptions wait already; send the request again")
        lanes = [lane for lane in self._lanes if lane.is_loaded]
        return self._told(min(lanes, key=lambda lane: lane.describing), image, level)

    async def _told(self, lane: Lane, image: Image.Image, level: int | None) -> AsyncGenerator[Written | Done, None]:
        pixels = image.width * image.height
        self._pixels += pixels
        try:
            async with aclosing(lane.describe(image, level)) as texts:
                async for said in texts:
                    yield said
        finally:
            self._pixels -= pixels

    def end(self) -> None:
        """Let everything end that works for it."""
        for lane in self._lanes:
            lane.end()
        self._readers.shutdown(wait=False, cancel_futures=True)


_DOING: dict[Task, str] = {"score": "score", "attributes": "score attributes", "describe": "describe"}

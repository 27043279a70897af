"""Collecting: many pictures' loops at a time over one store, until all have an outcome or something ends the run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from artquant.data.images import ImageError
from artquant.errors import ArtQuantError, one_line
from artquant.files.opened import FileUnreadable
from artquant.files.progress_bar import progress_bar
from artquant.rad.chat import CallRefused, Chat, EndpointRefused, Picture, Reply, Request
from artquant.rad.client import OpenAIChat
from artquant.rad.collection import Collection
from artquant.rad.loop import Ask, describe_picture, is_canary, try_judges
from artquant.rad.money import Budget, BudgetSpent, cost_of, worst_case
from artquant.rad.outcome import Entry, Outcome
from artquant.rad.pictures import read_picture
from artquant.rad.settings import EndpointSettings
from artquant.rad.store import Call
from artquant.rad.structured import BadReply, parse_reply, repaired

logger = logging.getLogger(__name__)

REPAIRS = 2  # requests to correct a reply that does not fit its schema


class Halted(Exception):
    """The run ends: no further call is begun."""


class Asking(ABC):
    """Asks models on behalf of pictures; what is stored is not asked again."""

    def __init__(self, collection: Collection, budget: Budget) -> None:
        self.store, self.budget = collection.store, budget
        self.endpoints = collection.config.endpoints

    def about(self, image: str) -> Ask:
        """`Ask` for one picture."""

        async def ask(role: str, round_: int, request: Request) -> BaseModel:
            return await self._answer(image, role, round_, request)

        return ask

    async def _answer(self, image: str, role: str, round_: int, request: Request) -> BaseModel:
        calls, reason = [], ""
        for _ in range(1 + REPAIRS):
            calls.append(Call(image, round_, role, request.key))
            reply = self.store.reply(calls[-1]) or await self.reply(calls[-1], request)
            try:
                return parse_reply(reply.text, request.schema)
            except BadReply as bad:
                reason = str(bad)
                request = repaired(request, reply.text, reason)
        for call in calls:
            self.store.refused(call, reason)
        raise CallRefused(f"{role}, round {round_}: no reply of the wanted form in {1 + REPAIRS} calls: {reason}")

    @abstractmethod
    async def reply(self, call: Call, request: Request) -> Reply:
        """Get and keep the reply of a call that has none."""


class Calling(Asking):
    """Asks now."""

    def __init__(self, collection: Collection, budget: Budget, chats: Mapping[str, Chat]) -> None:
        super().__init__(collection, budget)
        self._chats = chats
        self.ended: ArtQuantError | None = None  # why the run ends
        self.is_halted = False

    async def reply(self, call: Call, request: Request) -> Reply:
        """Raises :class:`Halted` once the run is to end."""
        endpoint = self.endpoints[request.role.endpoint]
        try:
            async with self.budget.held(worst_case(request, endpoint)):
                chat = self._chats[request.role.endpoint]
                reply = await chat.complete(request, lambda: self._sending(call, request))
                cost = cost_of(reply.usage, endpoint)
                self.budget.spend(cost)
                return self.store.answered(call, reply, cost)
        except CallRefused as error:
            cost = cost_of(error.usage, endpoint)
            self.budget.spend(cost)
            self.store.refused(call, str(error), error.usage, cost)
            raise
        except (EndpointRefused, BudgetSpent) as error:
            self.ended, self.is_halted = self.ended or error, True
            raise Halted from None

    def _sending(self, call: Call, request: Request) -> None:
        if self.is_halted:  # while it waited for its turn
            raise Halted
        self.store.sending(call, request.role.endpoint, request.role.model)


async def outcome_of(collection: Collection, entry: Entry, ask: Ask) -> Outcome:
    """Whatever comes of a picture; raises what `ask` raises, but for calls that are refused."""
    try:
        picture = await _read(collection, entry)
    except (ImageError, FileUnreadable) as error:
        return Outcome(entry.image, "unreadable", one_line(error))
    try:
        outcome = await describe_picture(collection.task, entry, picture, ask)
    except CallRefused as error:
        return Outcome(entry.image, "failed", one_line(error))
    if outcome.state == "kept" and is_canary(collection.task, entry.image):
        return await _with_canaries(collection, entry, outcome, ask)
    return outcome


async def _with_canaries(collection: Collection, entry: Entry, outcome: Outcome, ask: Ask) -> Outcome:
    other = collection.far_from(entry)
    picture: Picture | None = None
    with contextlib.suppress(ImageError, FileUnreadable):
        picture = await _read(collection, other)
    try:
        canaries = await try_judges(collection.task, outcome.texts, other, picture, ask)
    except CallRefused as error:
        logger.warning("%s: its judges could not be tried: %s", entry.image, error)
        return outcome
    return replace(outcome, canaries=canaries)


async def _read(collection: Collection, entry: Entry) -> Picture:
    return await asyncio.to_thread(read_picture, collection.picture_path(entry), collection.config.source)


@contextlib.contextmanager
def _interruptible(asking: Calling) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM lets the calls in flight come home, the second does not wait for them."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop() -> None:
        if asking.is_halted and task is not None:
            task.cancel()
        elif not asking.is_halted:
            logger.warning("waiting for the replies in flight, which cost already; once more to leave at once")
        asking.is_halted = True

    signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
    try:
        for number in signals:
            loop.add_signal_handler(number, stop)
    except (ValueError, RuntimeError):  # not the main thread, where others decide
        signals = ()
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def _collect(collection: Collection, asking: Calling, workers: int, bar: Any) -> None:
    failed: list[str] = []
    waiting = collection.store.waiting()

    async def work() -> None:
        for entry in waiting:  # shared by all workers
            if asking.is_halted:
                return
            try:
                outcome = await outcome_of(collection, entry, asking.about(entry.image))
            except Halted:
                return
            collection.store.finish(outcome)
            if outcome.state == "failed":
                failed.append(outcome.image)
            bar.update()

    with _interruptible(asking):
        await asyncio.gather(*(work() for _ in range(workers)))
    if isinstance(asking.ended, EndpointRefused):  # which may be why these failed
        for image in failed:
            collection.store.reopen_picture(image)


async def _connected(collection: Collection, budget: Budget, bar: Any) -> Calling:
    used = {role.endpoint for role in collection.config.roles.chosen().values()}
    endpoints: dict[str, EndpointSettings] = {name: collection.config.endpoints[name] for name in sorted(used)}
    async with AsyncExitStack() as opened:
        chats = {name: await opened.enter_async_context(OpenAIChat(name, one)) for name, one in endpoints.items()}
        asking = Calling(collection, budget, chats)
        # A quarter more than can be in flight: while one reads its picture, another has the place.
        workers = 1 + sum(one.in_flight for one in endpoints.values()) * 5 // 4
        await _collect(collection, asking, workers, bar)
        return asking


def budget_of(collection: Collection) -> Budget:
    """The budget, less what was spent."""
    totals = collection.store.totals().values()
    return Budget(collection.config.budget, spent=sum(one.cost for one in totals))


def collect(collection: Collection, progress: bool = True) -> None:
    """Go on until every picture has an outcome.

    Raises:
        ArtQuantError: an endpoint takes no call, or the budget is spent; all that was answered is kept.
        KeyboardInterrupt: it was asked to end.
    """
    states, budget = collection.store.states(), budget_of(collection)
    done, total = sum(states.values()) - states.get("waiting", 0), sum(states.values())
    with progress_bar("collecting", "picture", progress, total, done) as bar:
        try:
            asking = asyncio.run(_connected(collection, budget, bar))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    if asking.ended is not None:
        raise asking.ended
    if asking.is_halted:
        raise KeyboardInterrupt

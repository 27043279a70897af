"""How many calls an endpoint gets at a time and how fast, learned from what it refuses."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from artquant.rad.settings import EndpointSettings

_BORNE = 0.1  # share of calls refused that does not lower the number in flight: some servers refuse at random
_CUT = 0.7
_RAISED_AFTER = 16  # successes, at most
_RUN = 3  # refusals one after the other, in the order of sending, that say: nothing goes now
_WINDOW = 32  # calls after which the rate is thought over
_STEADY = 3.0  # seconds at least between two raises of a rate that was measured well
_RAISE, _MOST_RAISE = 0.01, 0.5
_USELESS = 4  # cuts in a row that do not end the refusals: these do not come from the rate
_LATE = 0.05  # seconds that a timer may wake late without slowing the rate
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0  # seconds, where the server names none


@dataclass(frozen=True)
class Clock:
    """Time as the client sees it, in seconds; a test puts a faster one in its place."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass
class Pace:
    """A rate that is kept, with no more saved up than `burst` seconds of it (generic cell rate algorithm).

    What costs more than was saved goes at once and is paid off before the next.
    """

    rate: float | None  # a second; None: any
    burst: float = 0.0
    due: float = 0.0  # when the next may go

    def spend(self, now: float, cost: float = 1.0) -> None:
        """Something of this cost goes."""
        if self.rate is not None:
            self.due = max(self.due, now - self.burst) + cost / self.rate

    def return_(self, cost: float) -> None:
        """It cost so much less than was spent."""
        if self.rate is not None:
            self.due -= cost / self.rate


@dataclass
class Ticket:
    """A call that was let in."""

    sent: float
    tokens: float
    refused: bool = False


@dataclass
class Concurrency:
    """Additive increase, multiplicative decrease, between 1 and `most`."""

    most: int
    limit: float = field(init=False)
    _since: float = float("-inf")  # calls sent before this were sent under the limit before
    _successes: int = 0
    _refusals: int = 0

    def __post_init__(self) -> None:
        self.limit = self.most

    def accepted(self) -> None:
        """A call was answered: one more at a time after a window of these."""
        self._successes += 1
        if self._successes >= min(self.limit, _RAISED_AFTER):
            self.limit = min(self.most, self.limit + 1)
            self._successes = self._refusals = 0

    def refused(self, sent: float, now: float) -> None:
        """A call was refused: fewer at a time, once for those that were in flight together."""
        if sent < self._since:
            return
        self._refusals += 1
        if self._refusals >= max(1.0, _BORNE * self.limit):
            self.limit = max(1.0, self.limit * _CUT)
            self._since, self._successes, self._refusals = now, 0, 0


class LearnedRate:
    """The calls a second that a server takes, by what it refuses with 429.

    Unknown until calls are refused one after the other. Then nothing is sent for as long as the server asks; the rate
    afterwards is what was taken since the last such stop, over the time with the stop: true for servers that count
    by the minute and for those that refill steadily. It is raised slowly while next to nothing is refused and
    lowered by the share that is. Where lowering does not help, refusals do not come from the rate, and it is lifted.
    """

    def __init__(self, now: float) -> None:
        self.pace = Pace(None)
        self.closed_until = now
        self._opened = now
        self._stretch, self._taken = now, 0  # since the last stop before which calls were taken
        self._stopped: float | None = None  # when the stop under way began
        self._empty_stops = 0
        self._latest: deque[Ticket] = deque(maxlen=_RUN)
        self._window, self._sent, self._refused = now, 0, 0
        self._raise, self._measured, self._cuts = _RAISE, False, 0

    def wait(self, now: float) -> float:
        """Seconds until the next call may go; 0: now."""
        if now < self.closed_until:
            return self.closed_until - now
        if self._stopped is not None:
            self._reopen(now)
        return max(0.0, self.pace.due - now)

    def sent(self, ticket: Ticket) -> None:
        """A call goes now."""
        self.pace.spend(ticket.sent)
        self._latest.append(ticket)
        self._taken += 1
        self._sent += 1
        if self.pace.rate is not None and self._sent >= _WINDOW:
            self._think(ticket.sent)

    def refused(self, ticket: Ticket, now: float, after: float | None) -> None:
        """A call was refused; `after`: seconds that the server asks for."""
        ticket.refused = True
        self._taken -= ticket.sent >= self._stretch
        self._refused += ticket.sent >= self._window
        run = len(self._latest) == _RUN and all(one.refused for one in self._latest)
        if run and self._stopped is None and ticket.sent >= self._opened:
            self._stopped = now
            self._empty_stops = 0 if self._taken else self._empty_stops + 1
        if self._stopped is not None:
            self.closed_until = max(self.closed_until, now + self._pause() if after is None else now + after)

    def _pause(self) -> float:
        between = _FIRST_PAUSE if self.pace.rate is None else max(_FIRST_PAUSE, 1 / self.pace.rate)
        return min(_LONGEST_PAUSE, between * 1.5**self._empty_stops)

    def _reopen(self, now: float) -> None:
        self._stopped, self._opened = None, now
        found = max(1, self._taken) / max(1e-3, now - self._stretch)
        self.pace = Pace(found if self.pace.rate is None else min(found, self.pace.rate), _LATE, due=now)
        self._measured = self._measured or self._taken >= _WINDOW
        if self._taken:  # else the stretch goes on: nothing was taken yet
            self._stretch, self._taken = now, 0
        self._begin_window(now)
        self._raise, self._cuts = _RAISE, 0

    def _think(self, now: float) -> None:
        assert self.pace.rate is not None
        share = self._refused / self._sent
        if self._refused > 1 and share > 1 / _WINDOW:
            self._cuts, self._raise = self._cuts + 1, _RAISE
            self.pace.rate = None if self._cuts == _USELESS else self.pace.rate * (1 - share)
            self._cuts %= _USELESS
        elif self._measured and now - self._window < _STEADY:
            return
        else:
            self._cuts = 0
            self.pace.rate *= 1 + self._raise
            unhindered = not self._refused and not self._measured
            self._raise = min(_MOST_RAISE, 2 * self._raise) if unhindered else _RAISE
        self._begin_window(now)

    def _begin_window(self, now: float) -> None:
        self._window, self._sent, self._refused = now, 0, 0


class Admission:
    """The way in to one endpoint: calls wait here, in the order they came."""

    def __init__(self, settings: EndpointSettings, clock: Clock) -> None:
        self._clock = clock
        self.concurrency = Concurrency(settings.in_flight)
        self.learned = LearnedRate(clock.now())
        self._requests = Pace(_a_second(settings.requests_per_minute), burst=2 * _LATE)
        self._tokens = Pace(_a_second(settings.tokens_per_minute), burst=2 * _LATE)
        self._in_flight = 0
        self._turn = asyncio.Lock()
        self._left = asyncio.Event()

    async def enter(self, tokens: float) -> Ticket:
        """Wait until a call of so many tokens may be sent; whoever enters must :meth:`leave`."""
        async with self._turn:
            while True:
                if self._in_flight >= int(self.concurrency.limit):
                    self._left.clear()
                    await self._left.wait()
                    continue
                now = self._clock.now()
                wait = max(self.learned.wait(now), self._requests.due - now, self._tokens.due - now)
                if wait <= 0:
                    break
                await self._clock.sleep(wait)
            ticket = Ticket(now, tokens)
            self._in_flight += 1
            self._requests.spend(now)
            self._tokens.spend(now, tokens)
            self.learned.sent(ticket)
            return ticket

    def accepted(self, ticket: Ticket, tokens: float) -> None:
        """The call was answered; `tokens`: what it took in fact."""
        self.concurrency.accepted()
        self._tokens.return_(ticket.tokens - tokens)

    def refused(self, ticket: Ticket, after: float | None) -> None:
        """429: too many calls; `after`: seconds that the server asks to wait."""
        now = self._clock.now()
        self.concurrency.refused(ticket.sent, now)
        self.learned.refused(ticket, now, after)
        self._tokens.return_(ticket.tokens)

    def overloaded(self, ticket: Ticket) -> None:
        """503 or no answer in time: too many calls at a time."""
        self.concurrency.refused(ticket.sent, self._clock.now())

    def leave(self) -> None:
        """A call is over, however it ended."""
        self._in_flight -= 1
        self._left.set()


def _a_second(a_minute: float | None) -> float | None:
    return None if a_minute is None else a_minute / 60

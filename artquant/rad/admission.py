"""How many calls an endpoint gets at a time and how fast, learned from what it refuses."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from artquant.rad.settings import EndpointSettings

# Calls at a time
_BORNE = 0.1  # share of calls refused that does not lower it: some servers refuse at random
_CUT = 0.7
_RAISED_AFTER = 16  # successes, at most

# Calls a second. All of it was tried on simulated servers that count by the second or the minute, or refill.
_RUN = 3  # refusals one after the other, in the order of sending, that say: nothing goes now
_WINDOW = 32  # calls after which the rate is thought over
_LONG = 20.0  # seconds; a rate is measured well by so long a stretch, or by a window's calls
_SOON, _GUESS = 1.0, 0.5  # seconds at least from raise to raise of a rate that is not, and by how much of it
_STEADY, _RAISE, _MOST_RAISE = 3.0, 0.01, 0.16  # of one that is; doubled from raise to raise while none is refused
_NEAR, _FIRST_NEAR, _BEYOND = 1.2, 1.5, 0.04  # times what was measured; above it, at most so much is raised
_LEAST_CUT, _MOST_CUT = 0.1, 0.15  # of the rate: after a brief stop, for refusals here and there
_BRIEF = 0.1  # share of a stretch that was stopped: the rate was about right
_USELESS, _RANDOM = 4, 0.2  # so many cuts in a row, with fewer refused each time than this share, do not help
_LATE = 0.1  # seconds that a timer may wake late without slowing the rate, on a busy machine
_FEEL = 0.25  # seconds from the first call after a stop to the second; half as long to the third, ...
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGER = 0.5, 60.0, 1.25  # seconds where the server names none; times, stop by stop


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
    number: int = 0


@dataclass
class Concurrency:
    """Additive increase, multiplicative decrease, between 1 and `most`."""

    most: int
    limit: float = field(init=False)
    _since: float = float("-inf")  # calls sent before this were sent under the limit before
    _successes: int = 0
    _sent: int = 0
    _refusals: int = 0

    def __post_init__(self) -> None:
        self.limit = self.most

    def sent(self) -> None:
        """A call goes now."""
        self._sent += 1

    def accepted(self) -> None:
        """A call was answered: one more at a time after a window of these."""
        self._successes += 1
        if self._successes >= min(self.limit, _RAISED_AFTER):
            self.limit = min(self.most, self.limit + 1)
            self._successes = self._refusals = self._sent = 0

    def refused(self, sent: float, now: float) -> None:
        """A call was refused: fewer at a time, once for those that were in flight together."""
        if sent < self._since:
            return
        self._refusals += 1
        if self._refusals >= max(2.0, _BORNE * max(self.limit, self._sent)):
            self.limit = max(1.0, self.limit * _CUT)
            self._since, self._successes, self._refusals, self._sent = now, 0, 0, 0


class LearnedRate:
    """The calls a second that a server takes, by what it refuses with 429.

    Unknown until calls are refused one after the other. Then nothing is sent for as long as the server asks; the rate
    afterwards is what was taken since the last such stop, over the time with the stop: true for servers that count
    by the minute and for those that refill steadily. It is raised slowly while next to nothing is refused and
    lowered by the share that is. Where lowering does not help, refusals do not come from the rate, and it is lifted.
    """

    def __init__(self, now: float) -> None:
        self.pace = Pace(None)
        self._is_measured = False
        self._number, self._refusals = 0, deque[int](maxlen=4 * _RUN)  # of calls, in the order of sending
        # The stop under way or the last: when it began, when it ends
        self._is_open, self._opened, self._closed, self._closed_until = True, now, now, now
        self._stops, self._gap = 0, 0.0  # in a row without a call taken; between two calls, while it feels its way
        # The stretch since the last stop before which calls were taken: since when, calls, seconds that were stopped
        self._stretch, self._taken, self._stopped = now, 0, 0.0
        self._window, self._sent, self._refused = now, 0, 0
        self._cuts, self._raise, self._near = 0, _RAISE, 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next call may go; 0 or less: now."""
        if now < self._closed_until:
            return self._closed_until - now
        if not self._is_open:
            self._open(now)
        return self.pace.due - now

    def sent(self, ticket: Ticket) -> None:
        """A call goes now."""
        self.pace.spend(ticket.sent)
        self.pace.due = max(self.pace.due, ticket.sent + self._gap)
        self._gap = self._gap / 2 if self._gap > 1e-3 else 0.0
        self._number += 1
        ticket.number = self._number
        self._taken += 1
        self._sent += 1
        if self.pace.rate is not None:
            self.pace.rate = self._thought_over(ticket.sent, self.pace.rate)

    def refused(self, ticket: Ticket, now: float, after: float | None) -> None:
        """A call was refused; `after`: seconds that the server asks for."""
        self._refusals.append(ticket.number)
        self._taken -= ticket.sent >= self._stretch
        self._refused += ticket.sent >= self._window
        run = all(ticket.number - before in self._refusals for before in range(_RUN))
        if run and self._is_open and ticket.sent >= self._opened:
            self._is_open = False
            self._stops = 0 if self._taken else self._stops + 1
            self._closed = now
        if not self._is_open:
            self._closed_until = max(self._closed_until, now + (self._pause() if after is None else after))

    def _pause(self) -> float:
        return min(_LONGEST_PAUSE, max(0.01, self._few(1, _FIRST_PAUSE)) * _LONGER**self._stops)

    def _few(self, calls: float, otherwise: float) -> float:
        """Seconds that so many calls take at the rate, where it is measured."""
        return calls / self.pace.rate if self.pace.rate is not None and self._is_measured else otherwise

    def _open(self, now: float) -> None:
        self._is_open, self._opened, self._gap = True, now, self._few(2, _FEEL)
        self._cuts, self._raise = 0, _RAISE
        self._stopped += now - self._closed
        self._begin_window(now)
        if self._taken:
            lasted = max(1e-3, now - self._stretch)
            self.pace = Pace(self._found(lasted, self._taken / lasted), _LATE, due=now)
            self._is_measured = self._is_measured or self._taken >= _WINDOW or lasted >= _LONG
            self._stretch, self._taken, self._stopped = now, 0, 0.0

    def _found(self, lasted: float, taken: float) -> float:
        """The rate after a stretch of so many seconds in which so many calls a second were taken."""
        before = self.pace.rate
        if before is None:
            self._near, self._raise = _FIRST_NEAR * taken, 4 * _RAISE  # a short stretch with a long stop: too low
            return taken
        if self._is_measured and self._stopped < _BRIEF * lasted:
            self._near = max(taken, (1 - _LEAST_CUT) * before)
            return min(self._near, before)
        self._near = _NEAR * (taken if self._taken >= _WINDOW else max(taken, before))
        return min(taken, before)

    def _thought_over(self, now: float, rate: float) -> float | None:
        full, share, since = self._sent >= _WINDOW, self._refused / self._sent, now - self._window
        if full and self._refused > 1 and share > 1 / _WINDOW:
            self._begin_window(now)
            self._is_measured, self._raise = True, _RAISE
            self._cuts = (self._cuts + 1) % _USELESS if share < _RANDOM else 0
            lower = rate * (1 - min(_MOST_CUT, share))
            self._near = _NEAR * lower
            return lower if self._cuts or share >= _RANDOM else None
        if self._is_measured and full and since >= _STEADY:
            raised = self._raise if rate < self._near else min(self._raise, _BEYOND)
            self._raise = _RAISE if self._refused else min(_MOST_RAISE, 2 * raised)
        elif not self._is_measured and not self._refused and since >= _SOON:
            raised = _GUESS
        else:
            return rate
        self._begin_window(now)
        self._cuts = 0
        return rate * (1 + raised)

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
            self.concurrency.sent()
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

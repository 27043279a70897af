"""Replies by schema, money, and the rate that a server's refusals teach."""

import asyncio
import json
import random
from dataclasses import replace
from heapq import heappop, heappush

import pytest

pytest.importorskip("pydantic")

from artquant.rad.admission import LearnedRate, Ticket
from artquant.rad.chat import Picture, Request, Usage
from artquant.rad.money import Budget, BudgetSpent, cost_of, worst_case
from artquant.rad.replies import Mark, ScoreRead, UnseenClaims, marks_of
from artquant.rad.settings import EndpointSettings, RoleSettings
from artquant.rad.structured import BadReply, parse_reply, repaired, schema_sent

ASKED = Request(RoleSettings("here", "painter"), "Read the score.", None, ScoreRead)
SHOWN = replace(ASKED, picture=Picture(b"some picture", "image/jpeg", "0" * 64))


class Limited:
    """A server in made-up time: `rate` a second, refilled, or counted by a window of seconds."""

    def __init__(self, rate, window):
        self.rate, self.window, self.left, self.at, self.number = rate, window, rate, 0.0, -1

    def wait(self, now):
        if self.window and int(now / self.window) != self.number:
            self.number, self.left = int(now / self.window), self.rate * self.window
        elif not self.window:
            self.left = min(self.rate, self.left + (now - self.at) * self.rate)
            self.at = now
        if self.left >= 1:
            self.left -= 1
            return None
        return self.window - now % self.window if self.window else (1 - self.left) / self.rate


@pytest.mark.parametrize("says_when", [True, False])
@pytest.mark.parametrize(("rate", "window", "minutes"), [(10, 0, 2), (100, 0, 1), (20, 1, 2), (5, 60, 6)])
def test_the_rate_settles_near_the_limit(rate, window, minutes, says_when):
    draw = random.Random(0)
    learned, server, now = LearnedRate(0.0), Limited(rate, window), 0.0
    free, events, taken, refused = 64, [], [], []
    while now < 60 * minutes:
        wait = learned.wait(now)
        if free and wait <= 0:
            learned.sent(ticket := Ticket(now, 0))
            free -= 1
            after = server.wait(now)
            (taken if after is None else refused).append(now)
            answered = now + (0.01 if after is not None else draw.uniform(0.3, 0.7))
            heappush(events, (answered, len(taken) + len(refused), ticket, after))
        elif events and (not free or events[0][0] <= now + wait):
            now, _, ticket, after = heappop(events)
            free += 1
            if after is not None:
                learned.refused(ticket, now, after if says_when else None)
        else:
            now += wait + draw.uniform(0, 0.002)
    since = 20 * minutes
    settled = [sum(at >= since for at in times) for times in (taken, refused)]
    assert settled[0] / (40 * minutes) == pytest.approx(rate, rel=0.1)
    assert settled[1] < 0.05 * settled[0]


def test_replies_that_fit():
    assert parse_reply('{"score": 5}', ScoreRead).score == 5
    assert parse_reply('Here it is:\n```json\n{"score": 5.5}\n```\nDone.', ScoreRead).score == 5.5
    assert parse_reply('<think>{"score": 1}?</think>{"score": 6}', ScoreRead).score == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I cannot", "no JSON object"), ("[5]", "no JSON object"), ('{"score": 5', "not JSON"),
        ('{"score": NaN}', "NaN"), ('{"score": 1e999}', "finite"), ('{"score": 1, "score": 2}', "twice"),
        ('{"score": "5"}', "score"), ('{"score": true}', "score"), ('{"score": 5, "more": 1}', "more"), ("{}", "score"),
        ('{"score": 5} {"score": 6}', "more than one"), ('{"score": ' + "[" * 5_000, "not JSON"),
        ('{"score": ' + "9" * 5_000 + "}", "not JSON"), (" " * 300_000 + '{"score": 5}', "characters"),
    ],
)  # fmt: skip
def test_replies_that_do_not(text, said):
    with pytest.raises(BadReply, match=said) as caught:
        parse_reply(text, ScoreRead)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_lengths_and_ranges_are_checked_here():
    for text, schema in (('{"mark": 11, "reason": ""}', Mark), ('{"claims": ["\\ud800"]}', UnseenClaims)):
        with pytest.raises(BadReply):
            parse_reply(text, schema)
    sent = json.dumps(schema_sent(marks_of(("perception", "emotion"))))
    assert not any(keyword in sent for keyword in ("maximum", "minLength", "maxLength", "maxItems"))
    assert sent.count('"additionalProperties": false') == 2


def test_a_repair_tells_what_was_wrong():
    again = repaired(ASKED, "5", "no JSON object in it")
    assert again.key != ASKED.key
    assert again.earlier[0][0] == "5"
    assert "no JSON object in it" in again.earlier[0][1]
    assert '"required": ["score"]' in again.earlier[0][1]  # some servers take a schema and do not heed it


def test_money():
    priced = EndpointSettings("http://127.0.0.1:1/v1", input_price=1.0, output_price=10.0)
    assert cost_of(Usage(1_000_000, 100_000), priced) == 2.0
    assert worst_case(SHOWN, priced) > worst_case(ASKED, priced) > 1024 * 10 / 1e6


def test_a_budget_waits_for_calls_in_flight_and_is_not_exceeded():
    async def run():
        budget, order = Budget(1.0), []

        async def call(name):
            async with budget.held(0.6):
                order.append(name)
                await asyncio.sleep(0)
                budget.spend(0.2)

        await asyncio.gather(*(call(name) for name in "abc"))
        assert (order, budget.spent) == (list("abc"), pytest.approx(0.6))
        with pytest.raises(BudgetSpent, match=r"could cost 0\.6"):
            await call("d")
        async with Budget(0.0).held(0.0):
            pass  # what costs nothing needs no budget

    asyncio.run(run())

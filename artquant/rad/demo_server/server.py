"""The server: `POST /v1/chat/completions` and `GET /v1/models`, as OpenAI's, for the demo's pictures."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import random
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate

from aiohttp import web

from artquant.errors import ArtQuantError, one_line
from artquant.rad.demo_server.answers import Answers
from artquant.rad.demo_server.completion import Replied, replied
from artquant.rad.demo_server.faults import REFUSED, Faults, RetryAfter
from artquant.rad.demo_server.log import RequestLog
from artquant.rad.demo_server.pictures import Drawn
from artquant.rad.demo_server.refusal import Refusal
from artquant.rad.demo_server.request import Asked, read_request
from artquant.rad.settings import STRUCTURES, Structure

MODELS = ("demo", "demo-writer", "demo-judge")  # all the same
LARGEST_BODY = 1 << 26  # bytes of a request
_LOOKING = ("writer", "witness")  # roles that are shown the picture
_UNANSWERED = ("refused_429", "error_5xx", "dropped")
_ERRORS = (500, 502, 503, 529)


@dataclass(frozen=True)
class Behaviour:
    """How the server behaves."""

    faults: Faults = field(default_factory=Faults)
    rate_limit: float | None = None  # requests a minute; above it: 429
    retry_after: RetryAfter = "mixed"
    retry_seconds: float = 1.0  # of the fault refused_429; those of the rate limit are as they are
    latency: float = 0.0  # seconds, of each answer
    slow_seconds: float = 30.0  # more, of the fault slow
    structure: Structure = "json_schema"  # the strictest response_format that is taken
    vision: bool = True  # whether pictures are taken
    key: str | None = field(default=None, repr=False)  # that requests have to bear


@dataclass(frozen=True)
class _Call:
    """A request that was received."""

    number: int
    id: str
    in_flight: int  # requests at that moment, this one among them
    asked: Asked | None = None  # None: it asks nothing that is understood
    drawn: Drawn | None = None


class DemoServer:
    """Answers requests, and says in its log what became of each."""

    def __init__(self, answers: Answers, behaviour: Behaviour, log: RequestLog) -> None:
        self._answers, self._behaviour, self._log = answers, behaviour, log
        self._start = secrets.token_hex(4)  # so that the ids of a server that is started again are others
        self._received = self._in_flight = 0
        self._allowance = _Allowance(behaviour.rate_limit)

    def application(self) -> web.Application:
        """What aiohttp serves."""
        application = web.Application(client_max_size=LARGEST_BODY)
        application.router.add_post("/v1/chat/completions", self._chat)
        application.router.add_get("/v1/models", self._models)
        return application

    async def _models(self, request: web.Request) -> web.Response:
        try:
            self._check_key(request)
        except Refusal as refusal:
            return _error(refusal.status, str(refusal))
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "artquant"} for name in MODELS]
        return web.json_response({"object": "list", "data": models})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self._in_flight += 1
        try:
            data = await request.read()
            self._received += 1
            call = _Call(self._received, f"chatcmpl-{self._start}-{self._received}", self._in_flight)
            return await self._handled(request, data, call)
        except web.HTTPRequestEntityTooLarge:
            return _error(413, f"the request is larger than {LARGEST_BODY} bytes; send a smaller picture")
        except ArtQuantError as error:  # of the log
            return _error(500, str(error))
        finally:
            self._in_flight -= 1

    async def _handled(self, request: web.Request, data: bytes, call: _Call) -> web.StreamResponse:
        """An answer, a fault or a refusal."""
        fault, draw = self._behaviour.faults.draw(call.number)
        try:
            self._check_key(request)
            asked = read_request(data)
            call = replace(call, asked=asked)
            self._check_taken(asked)
            wait = self._allowance.wait()
            if wait or fault in _UNANSWERED:
                return self._unanswered(request, call, fault, wait, draw)
            call = replace(call, drawn=await self._shown(asked))
            answer = self._answers.answer(asked, call.drawn, wrong=fault == "wrong_marks")
        except Refusal as refusal:
            self._note(call, REFUSED, refusal.status)
            return _error(refusal.status, str(refusal))
        return await self._answered(request, call, replied(asked, answer, fault, draw))

    def _unanswered(
        self, request: web.Request, call: _Call, fault: str | None, wait: float, draw: random.Random
    ) -> web.Response:
        """The rate limit, or a fault that comes before any answer."""
        if wait or fault == "refused_429":
            self._note(call, "refused_429", 429)
            forms = ("seconds", "date", "none")
            form = draw.choice(forms) if self._behaviour.retry_after == "mixed" else self._behaviour.retry_after
            return _error(429, "too many requests", _retry_after(form, wait or self._behaviour.retry_seconds))
        if fault == "error_5xx":
            status = draw.choice(_ERRORS)
            self._note(call, fault, status)
            return _error(status, "the server is not well")
        self._note(call, "dropped", None)
        _hang_up(request)
        return web.Response()  # which goes nowhere

    async def _answered(self, request: web.Request, call: _Call, replied: Replied) -> web.StreamResponse:
        self._note(call, replied.outcome, 200, input=replied.input, output=replied.output)
        await asyncio.sleep(self._behaviour.latency + self._behaviour.slow_seconds * (replied.outcome == "slow"))
        body = json.dumps(replied.completion(call.id, int(time.time()))).encode()
        headers = {"x-request-id": call.id}
        if not replied.broken_off:
            return web.Response(body=body, content_type="application/json", headers=headers)
        response = web.StreamResponse(headers={**headers, "Content-Type": "application/json"})
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        _hang_up(request)
        return response

    def _check_key(self, request: web.Request) -> None:
        key = self._behaviour.key
        given = request.headers.get("Authorization", "")
        if key is not None and not hmac.compare_digest(_octets(given), _octets(f"Bearer {key}")):
            raise Refusal(401, "the API key is missing or wrong")

    def _check_taken(self, asked: Asked) -> None:
        """Raises Refusal: what this server does not take."""
        if asked.model not in MODELS:
            raise Refusal(404, f"there is no model {one_line(asked.model, 60)!r}; there are {', '.join(MODELS)}")
        if STRUCTURES.index(asked.structure) < STRUCTURES.index(self._behaviour.structure):
            raise Refusal(400, f"response_format of type {asked.structure} is not supported")
        if asked.pictures and not self._behaviour.vision:
            raise Refusal(400, "this model takes no image_url: it has no vision")

    async def _shown(self, asked: Asked) -> Drawn | None:
        """The picture, of roles that look at one. Raises Refusal: it is none of ours."""
        if asked.role not in _LOOKING:
            return None
        encoded, pictures = asked.picture(), self._answers.pictures
        drawn = pictures.find(encoded) or await asyncio.to_thread(pictures.find_alike, encoded)
        if drawn is None:
            raise Refusal(400, "the picture is none of the demo data's, and this server knows no other")
        return drawn

    def _note(self, call: _Call, outcome: str, status: int | None, **tokens: int) -> None:
        """What becomes of a request, in the log."""
        about = {} if call.asked is None else {"role": call.asked.role, "asked": call.asked.digest}
        shown = {} if call.drawn is None else {"picture": call.drawn.index}
        when = {"time": round(time.time(), 4), "in_flight": call.in_flight}
        self._log.write(id=call.id, **about, **shown, outcome=outcome, status=status, **tokens, **when)


class _Allowance:
    """Requests that may come: those of a second at once, and as many every second."""

    def __init__(self, per_minute: float | None) -> None:
        self._rate = None if per_minute is None else per_minute / 60
        self._left, self._seen = max(1.0, self._rate or 0.0), time.monotonic()

    def wait(self) -> float:
        """Seconds until a request may come; 0: this one is counted."""
        if self._rate is None:
            return 0.0
        now = time.monotonic()
        self._left = min(max(1.0, self._rate), self._left + (now - self._seen) * self._rate)
        self._seen = now
        if self._left < 1:
            return (1 - self._left) / self._rate
        self._left -= 1
        return 0.0


def _retry_after(form: str, seconds: float) -> dict[str, str]:
    if form == "none":
        return {}
    whole = math.ceil(seconds)
    return {"Retry-After": str(whole) if form == "seconds" else formatdate(time.time() + whole, usegmt=True)}


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """As OpenAI writes them."""
    kind = {429: "rate_limit_error"}.get(status, "invalid_request_error" if status < 500 else "server_error")
    body = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    return web.json_response(body, status=status, headers=headers)


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _hang_up(request: web.Request) -> None:
    """Close the connection, after what was written."""
    if request.transport is not None:
        request.transport.close()


@asynccontextmanager
async def serving(server: DemoServer, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve until the block ends; the URL for clients. Port 0: one that is free.

    Raises:
        ArtQuantError: the port is taken, or there is no such host.
    """
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            advice = "name another --host or --port"
            raise ArtQuantError(f"{host}:{port}: {one_line(error.strerror or error)}; {advice}") from None
        bound = runner.addresses[0][1]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound}/v1"
    finally:
        await runner.cleanup()

"""A chat endpoint in a process of its own that answers what the schema asks for: at once, late, or only so many."""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

TEXT = (
    "A broad field of warm colour lies beneath a pale sky, and a single dark tree holds the eye near the left edge; "
    "soft light runs along the hills and leaves the far water calm and open."
)


@dataclass(frozen=True)
class Manner:
    """How it answers. latency: seconds; rate: calls a second that it takes, any at all if 0."""

    latency: float = 0.0
    rate: float = 0.0
    window: float = 0.0  # seconds after which it counts anew; 0: refilled steadily (a bucket of one second)
    says_when: bool = True  # Retry-After


class Meter:
    """Counts what is taken and refused, by the second."""

    def __init__(self, manner: Manner) -> None:
        self._manner, self._begun, self._number = manner, time.monotonic(), -1
        self._left = manner.rate * (manner.window or 1.0)
        self._at = self._begun
        self.taken: list[float] = []
        self.refused: list[float] = []

    def take(self) -> float | None:
        """None: taken; else seconds until one may be."""
        manner, now = self._manner, time.monotonic()
        if manner.rate and manner.window:
            number = int((now - self._begun) / manner.window)
            if number != self._number:
                self._number, self._left = number, manner.rate * manner.window
            wait = self._begun + (number + 1) * manner.window - now
        elif manner.rate:
            self._left = min(max(1.0, manner.rate), self._left + (now - self._at) * manner.rate)
            self._at, wait = now, (1 - self._left) / manner.rate
        if not manner.rate or self._left >= 1:
            self._left -= 1
            self.taken.append(now)
            return None
        self.refused.append(now)
        return wait


def value_of(schema: dict, whole: dict | None = None):
    """A value that follows a JSON schema."""
    whole = whole or schema
    if "$ref" in schema:
        return value_of(whole["$defs"][schema["$ref"].rsplit("/", 1)[1]], whole)
    if schema["type"] == "object":
        return {name: value_of(inner, whole) for name, inner in schema["properties"].items()}
    return {"string": TEXT, "number": 9.0, "integer": 9, "array": [], "boolean": True}[schema["type"]]


def _serve(manner: Manner, told) -> None:
    meter = Meter(manner)

    async def answer(request: web.Request) -> web.Response:
        asked = json.loads(await request.read())
        wait = meter.take()
        if wait is not None:
            headers = {"Retry-After": str(math.ceil(wait))} if manner.says_when else {}
            return web.json_response({"error": {"message": "too many"}}, status=429, headers=headers)
        if manner.latency:
            await asyncio.sleep(manner.latency)
        text = json.dumps(value_of(asked["response_format"]["json_schema"]["schema"]))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
        return web.json_response({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})

    async def counted(request: web.Request) -> web.Response:
        return web.json_response({"taken": meter.taken, "refused": meter.refused})

    async def run() -> None:
        app = web.Application(client_max_size=1 << 26)
        app.add_routes([web.post("/v1/chat/completions", answer), web.get("/counted", counted)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        told.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def server(manner: Manner) -> Iterator[str]:
    """The address of a server, as long as it is wanted."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(manner, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()

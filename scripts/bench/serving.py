"""A served model under many clients: `python -m scripts.bench.serving MODEL --pictures DIR`.

Clients send requests at once, some with broken pictures, while the server is killed and started again. Every answer is
compared with offline scores: nothing may be answered twice or wrongly, no 500, no NaN. Throughput stands beside offline
scoring at the same batch, measured before and after; seconds of requests (p50, p99), waits for a killed server left
out; and the server's memory when it is warm and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from artquant.data.images import list_pictures, load_image
from artquant.infer.scorer import Scorer

_AGAIN = (429, 503)
_WARM = 0.2  # share of the requests after which memory is looked at first


@dataclass
class Served:
    """The server's process, started again on the same port whenever it is killed."""

    command: list[str]
    port: int
    process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it."""
        self.process = subprocess.Popen([*self.command, "--port", str(self.port)], stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """As a machine that fails."""
        self.process.kill()
        self.process.wait()

    def computed(self) -> float:
        """Seconds of processors that it and its children have taken: on a busy machine they say more than a clock."""
        process = psutil.Process(self.process.pid)
        each = [process, *process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in each)

    def memory(self) -> float:
        """MiB."""
        return psutil.Process(self.process.pid).memory_info().rss / (1 << 20)


@dataclass
class Found:
    """What came of the requests."""

    answered: Counter = field(default_factory=Counter)
    statuses: Counter = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unreached: int = 0
    farthest: float = 0.0  # from the offline score


def offline(scorer: Scorer, files: list[Path], batch: int) -> tuple[dict[str, float], float, float]:
    """Scores by name, pictures a second, and a processor's milliseconds a picture."""
    scores, begun, computed = {}, time.perf_counter(), time.process_time()
    for start in range(0, len(files), batch):
        some = files[start : start + batch]
        found = scorer([load_image(file) for file in some], batch_size=batch)
        scores |= {file.name: one.score for file, one in zip(some, found, strict=True)}
    took = 1000 * (time.process_time() - computed) / len(files)
    return scores, len(files) / (time.perf_counter() - begun), took


async def ask(session: aiohttp.ClientSession, url: str, name: str, data: bytes, found: Found) -> Any:
    """One request, sent again where the server is busy, gone or loading; its JSON."""
    while True:
        form = aiohttp.FormData()
        form.add_field("images", data, filename=name, content_type="image/png")
        begun = time.perf_counter()
        try:
            async with session.post(f"{url}/v1/score", data=form) as answer:
                found.statuses[answer.status] += 1
                body = await answer.read()
            if answer.status not in _AGAIN:
                found.seconds.append(time.perf_counter() - begun)
                return json.loads(body)
        except (aiohttp.ClientError, OSError):
            found.unreached += 1
        await asyncio.sleep(0.2)


def check(found: Found, number: int, name: str, expected: float | None, answer: Any) -> None:
    """Whether an answer is the one that belongs to its request."""
    found.answered[number] += 1
    [result] = answer.get("results") or [{}]
    score, error = result.get("score"), result.get("error")
    if result.get("id") != name or (expected is None) != (score is None) or (error is None) != (expected is not None):
        found.wrong.append(f"{name}: {result}")
    elif expected is not None:
        found.farthest = max(found.farthest, abs(score - expected))
        if not math.isfinite(score) or abs(score - expected) > 1e-4:
            found.wrong.append(f"{name}: {score}, offline {expected}")


async def load(arguments: argparse.Namespace, served: Served, scores: dict[str, float]) -> dict[str, Any]:
    """All requests; figures."""
    files = {file.name: file.read_bytes() for file in list_pictures(arguments.pictures)[: arguments.files]}
    draw, numbers, found, url = random.Random(0), itertools.count(), Found(), f"http://127.0.0.1:{served.port}"
    asked = [(draw.choice(list(files)), draw.random() < arguments.broken) for _ in range(arguments.requests)]
    kills = [round(arguments.requests * (one + 1) / (arguments.kills + 1)) for one in range(arguments.kills)]
    memory = []

    async def client(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            if number >= len(asked):
                return
            if kills and number >= kills[0]:
                del kills[0]
                await asyncio.to_thread(served.kill)
                served.start()
            if number == round(_WARM * len(asked)) and not arguments.kills:
                memory.append(served.memory())
            name, broken = asked[number]
            data = files[name][: len(files[name]) // 2] if broken else files[name]
            check(found, number, name, None if broken else scores[name], await ask(session, url, name, data, found))

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as session:
        while not await _is_ready(session, url):
            await asyncio.sleep(0.2)
        begun, computed = time.perf_counter(), served.computed()
        await asyncio.gather(*(client(session) for _ in range(arguments.clients)))
        took = time.perf_counter() - begun
    memory.append(served.memory())
    figures = _figures(found, arguments, took, memory)
    if not arguments.kills:
        figures["processor ms a request"] = round(1000 * (served.computed() - computed) / arguments.requests, 2)
    return figures


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/v1/ready") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, OSError):
        return False


def _figures(found: Found, arguments: argparse.Namespace, took: float, memory: list[float]) -> dict[str, Any]:
    ordered = sorted(found.seconds)
    return {
        "requests": arguments.requests,
        "answered once": sum(count == 1 for count in found.answered.values()),
        "wrong": len(found.wrong),
        "first wrong": found.wrong[:3],
        "farthest from offline": found.farthest,
        "statuses": dict(found.statuses),
        "not reached": found.unreached,
        "a second": round(arguments.requests / took, 2),
        "p50": round(ordered[len(ordered) // 2], 3),
        "p99": round(ordered[int(len(ordered) * 0.99)], 3),
        "memory, MiB": [round(one) for one in memory],
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.serving", description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--pictures", type=Path, required=True, help="folder")
    parser.add_argument("--files", type=int, default=200, help="pictures of it (default %(default)s)")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--broken", type=float, default=0.05, help="share of requests (default %(default)s)")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--devices", default="auto")
    arguments = parser.parse_args()
    files = list_pictures(arguments.pictures)[: arguments.files]
    scorer = Scorer.from_pretrained(arguments.model)
    offline(scorer, files[: arguments.batch], arguments.batch)
    scores, before, computed = offline(scorer, files, arguments.batch)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "artquant", "serve", arguments.model, "--quiet", "--batch", str(arguments.batch)]
    served = Served([*command, "--devices", arguments.devices], port)
    served.start()
    try:
        figures = asyncio.run(load(arguments, served, scores))
    finally:
        served.kill()
    _, after, again = offline(scorer, files, arguments.batch)
    figures |= {"processor ms a picture, offline": [round(computed, 2), round(again, 2)]}
    figures |= {"offline a second": [round(before, 2), round(after, 2)], "cores": os.cpu_count()}
    figures["of offline"] = round(2 * figures["a second"] / (before + after), 3)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()

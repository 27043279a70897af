"""How fast descriptions are collected, beside a server on the same machine: `python -m scripts.bench.rad --help`.

throughput: calls a second to a server that answers at once, 50 KB pictures, with the schema check and a commit before
and after each call; loop: the same through the whole collection (pictures read from files); memory: over so many
calls; latency: the share of the ideal rate at 2 seconds and 64 in flight; limits: the rate beside the server's own,
and the share of calls that it refused, of the settled part (the last two thirds).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
from PIL import Image

from artquant.rad.chat import CallRefused, Picture, Request
from artquant.rad.client import OpenAIChat
from artquant.rad.collection import open_collection
from artquant.rad.replies import descriptions_of
from artquant.rad.run import collect
from artquant.rad.settings import EndpointSettings, RadConfig, RoleSettings, RolesSettings, SourceSettings
from artquant.rad.store import Call, Store, open_store
from artquant.rad.structured import parse_reply
from scripts.bench.rad_server import Manner, server

PARTS = ("perception", "cognition", "emotion")
PROMPT = "Describe the picture in three texts. " * 60
ROLE = RoleSettings("server", "model")
_LIMITS = {
    "60 a second, refilled": Manner(0.1, 60),
    "60 a second, refilled, no Retry-After": Manner(0.1, 60, says_when=False),
    "300 a minute, counted by the minute": Manner(0.1, 5, 60),
    "300 a minute, counted by the minute, no Retry-After": Manner(0.1, 5, 60, False),
    "20 a second, counted by the second, slow": Manner(2.0, 20, 1),
}


def _jpeg(path: Path, seed: int, size: int = 50_000) -> bytes:
    """A JPEG file of about so many bytes: smooth with some noise."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((640, 427))
    noisy = (np.asarray(coarse) + draw.normal(0, 6, (427, 640, 3))).clip(0, 255).astype(np.uint8)
    for quality in range(95, 10, -5):
        Image.fromarray(noisy).save(path, quality=quality)
        if path.stat().st_size <= size:
            break
    return path.read_bytes()


def _memory() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


async def _calls(chat: OpenAIChat, store: Store | None, data: bytes, numbers: Iterator[int], memory: list) -> int:
    done = 0

    async def work() -> None:
        nonlocal done
        for number in numbers:
            picture = Picture(data, "image/jpeg", f"{number:064x}")
            request = Request(ROLE, PROMPT, picture, descriptions_of(PARTS))
            call = Call(f"{number}.jpg", 1, "writer", request.key)

            def sending(call: Call = call) -> None:
                if store is not None:
                    store.sending(call, "server", "model")

            with contextlib.suppress(CallRefused):
                reply = await chat.complete(request, sending)
                parse_reply(reply.text, request.schema)
                if store is not None:
                    store.answered(call, reply, 0.0)
                done += 1
                if done % 5_000 == 0:
                    memory.append(_memory())

    await asyncio.gather(*(work() for _ in range(80)))
    return done


def measure(manner: Manner, count: int, folder: Path, seconds: float = 1e9, kept: bool = True) -> dict[str, Any]:
    """So many calls, or as many as begin within the seconds: how long they took, and what the server counted."""
    memory: list[float] = []

    async def run(url: str) -> tuple[int, float]:
        async with OpenAIChat("server", EndpointSettings(f"{url}/v1", in_flight=64)) as chat:
            with contextlib.ExitStack() as opened:
                store = opened.enter_context(open_store(folder / f"{time.time_ns()}.sqlite", False)) if kept else None
                started = time.perf_counter()
                numbers = itertools.takewhile(lambda _: time.perf_counter() - started < seconds, range(count))
                done = await _calls(chat, store, _jpeg(folder / "picture.jpg", 0), numbers, memory)
                return done, time.perf_counter() - started

    with server(manner) as url:
        before = os.times()
        done, took = asyncio.run(run(url))
        after = os.times()
        with urlopen(f"{url}/counted") as stream:
            counted = json.load(stream)
    spent = after.user + after.system - before.user - before.system
    return {"calls": done, "seconds": took, "processor": spent, "memory": memory} | counted


def throughput(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Calls a second, the server answering at once."""
    found = measure(Manner(), arguments.calls, folder)
    rate = found["calls"] / found["seconds"]
    return {"calls a second": rate, "processor ms a call": 1e3 * found["processor"] / found["calls"]}


def memory(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """MB of the process after every 5,000 of 50,000 calls."""
    found = measure(Manner(), 50_000, folder)
    return {"MB": found["memory"], "calls a second": found["calls"] / found["seconds"]}


def latency(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Share of 64 calls in 2 seconds, over so many calls that the end counts little."""
    found = measure(Manner(2.0), 64 * 30, folder)
    return {"share of the ideal": found["calls"] / (found["seconds"] * 32)}


def limits(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The rate that a server took beside its limit; whole windows from the second third on."""
    results = {}
    for name, manner in _LIMITS.items():
        seconds = max(45.0, 3 * manner.window)
        found = measure(manner, 10**9, folder, seconds, kept=False)
        first = min(found["taken"])
        since, until = first + seconds / 3, first + seconds
        taken = sum(since <= at < until for at in found["taken"])
        refused = sum(since <= at < until for at in found["refused"])
        results[name] = {
            "settled rate / limit": taken / (until - since) / manner.rate,
            "refused, settled": refused / (taken + refused),
            "refused, all": len(found["refused"]) / (len(found["refused"]) + len(found["taken"])),
        }
        print(name, results[name], flush=True)
    return results


def loop(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A whole collection: calls and pictures a second."""
    pictures, count = folder / "pictures", arguments.calls // 2
    pictures.mkdir()
    for number in range(50):
        _jpeg(pictures / f"{number}.jpg", number)
    for number in range(50, count):
        (pictures / f"{number}.jpg").symlink_to(pictures / f"{number % 50}.jpg")
    records = [{"image": f"{number}.jpg", "gt_score": 1 + number % 90 / 10} for number in range(count)]
    (folder / "records.json").write_text(json.dumps(records))
    source = SourceSettings(folder / "records.json", pictures)
    with server(Manner()) as url:
        endpoints = {"server": EndpointSettings(f"{url}/v1", in_flight=64)}
        config = RadConfig("run", source, endpoints, RolesSettings(ROLE, ROLE), output=folder)
        with open_collection(config) as collection:
            started = time.perf_counter()
            collect(collection, progress=False)
            took = time.perf_counter() - started
            calls = collection.store.totals()[""].calls
            states = collection.store.states()
    return {"calls a second": calls / took, "pictures a second": count / took, "states": states}


TABLES = {table.__name__: table for table in (throughput, loop, memory, latency, limits)}


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.rad", description=__doc__.partition("\n")[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; default: all")
    parser.add_argument("--calls", type=int, default=6_000, help="of throughput and loop (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write every figure")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.tables if name not in TABLES]
    if unknown:
        parser.error(f"no table {unknown[0]}; there are {', '.join(TABLES)}")
    found = {}
    for name in arguments.tables or TABLES:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = TABLES[name](arguments, Path(folder))
        print(name, json.dumps(found[name], indent=1), flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

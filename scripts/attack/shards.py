"""Attacks a run over a drawn collection: workers are killed and stopped at random moments; the real reading, sharding,
writing and merging over a network that makes scores up.

python -m scripts.attack.shards --records 10000000 --kills 100 --stops 3       # about ten minutes on two cores
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from artquant.data.predictions import Prediction
from artquant.listing.entries import entries
from artquant.listing.entry import Entry
from artquant.shards.manifest import Run
from artquant.shards.merge import write_merged
from artquant.shards.plan import write_plan
from artquant.shards.work import score_shard, work

ORIGIN = {"model": "stub", "weights": ["none"]}
BATCH = 256


class Stub:
    """Reads nothing and scores names; `log` counts what was begun, and when."""

    def __init__(self, log: Path):
        self._log = log.open("ab", buffering=0)

    def read(self, listed: Sequence[Entry]) -> Iterator[list[tuple[Entry, Any, str | None, None]]]:
        """Every thousandth picture cannot be read."""
        for start in range(0, len(listed), BATCH):
            part = listed[start : start + BATCH]
            self._log.write(f"{os.getpid()} {time.time():.3f} {len(part)} {part[0].id}\n".encode())
            yield [
                (one, one.id, "unreadable" if zlib.crc32(one.id.encode()) % 1000 == 0 else None, None) for one in part
            ]

    def score_pictures(self, names: Sequence[str], attributes: Sequence[str] = ()) -> list[Prediction]:
        """Scores that depend on the names alone."""
        return [Prediction(1 + zlib.crc32(name.encode()) / 2**32 * 9, 0.5) for name in names]


def step(arguments: list[str]) -> int:
    """One process of the run: plan LIST RUN SIZE, work RUN K N LEASE, merge RUN OUT."""
    action, run, *rest = arguments
    if action == "plan":
        write_plan(entries([rest[0]], unique=False), Path(run), int(rest[1]), ORIGIN, {})
    elif action == "work":
        stub = Stub(Path(run) / "log")

        def score(listed: Sequence[Entry]) -> Iterable[dict[str, Any]]:
            return score_shard(listed, stub.read, stub)

        work(Run.open(Path(run)), score, (int(rest[0]), int(rest[1])), float(rest[2]))
    else:
        write_merged(Run.open(Path(run)), Path(rest[0]))
    return 0


def start(*arguments: object) -> subprocess.Popen[bytes]:
    """A step in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "scripts.attack.shards", "--step", *map(str, arguments)])


def measured(*arguments: object) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of a step. Raises RuntimeError: it failed."""
    began = time.monotonic()
    process = start(*arguments)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{arguments}: status {process.returncode}")
    return time.monotonic() - began, used.ru_maxrss / 1024


def disturb(run: Path, workers: int, kills: int, stops: int, pause: float, lease: float, draw: random.Random) -> float:
    """Work until all is done, killing and stopping meanwhile; the longest time from a worker's start to its work.

    Counted are starts while there was something that nobody had begun: later ones may have to wait for a lease.
    """
    alive = {number: start("work", run, number, workers, lease) for number in range(1, workers + 1)}
    began = {process.pid: time.time() for process in alive.values()}
    orders = [signal.SIGKILL] * kills + [signal.SIGSTOP] * stops
    draw.shuffle(orders)
    stopped: list[tuple[float, subprocess.Popen[bytes]]] = []
    while orders and any(process.poll() is None for process in alive.values()):
        time.sleep(draw.uniform(0, 2 * pause))
        number = draw.choice([*alive])
        order = orders.pop()
        alive[number].send_signal(order)
        if order == signal.SIGKILL:
            alive[number].wait()
        else:
            stopped.append((time.time() + 2 * lease, alive[number]))
        alive[number] = start("work", run, number, workers, lease)
        began[alive[number].pid] = time.time()
        for until, process in stopped:
            if until < time.time():
                process.send_signal(signal.SIGCONT)
    print(f"{kills + stops - len(orders)} of {kills + stops} disturbances came before all was done")
    for _, process in stopped:
        process.send_signal(signal.SIGCONT)
    for process in [*alive.values(), *(process for _, process in stopped)]:
        process.wait()
    first: dict[int, float] = {}
    last, seen = 0.0, set[int]()
    for pid, when, _, name in logged(run):
        first.setdefault(pid, when)
        last = last if hash(name) in seen else when
        seen.add(hash(name))
    waits = sorted(when - began[pid] for pid, when in first.items() if pid in began and when <= last)
    print(f"at work after a start: {waits[len(waits) // 2]:.1f} s (median of {len(waits)}), at most {waits[-1]:.1f} s")
    return waits[-1]


def logged(run: Path) -> Iterator[tuple[int, float, int, str]]:
    """Of each batch that was begun: process, time, pictures, name of the first."""
    with (run / "log").open() as stream:
        for line in stream:
            pid, when, pictures, name = line.split()
            yield int(pid), float(when), int(pictures), name


def scored(run: Path) -> int:
    """Pictures whose scoring was begun."""
    return sum(pictures for _, _, pictures, _ in logged(run))


def digest(file: Path) -> str:
    """Of a file of any size."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def attack(arguments: argparse.Namespace, folder: Path) -> int:
    """The undisturbed run and the disturbed one; the number of faults."""
    listed, count, size = folder / "list.txt", arguments.records, arguments.size
    (folder / "pictures").mkdir()
    with listed.open("w") as stream:
        stream.writelines(f"pictures/{number:08d}.jpg\n" for number in range(count))
    planned = measured("plan", folder / "calm", listed, size)
    print(f"plan: {planned[0]:.1f} s, {planned[1]:.0f} MiB", flush=True)
    began = time.monotonic()
    for process in [start("work", folder / "calm", number, 2, 60) for number in (1, 2)]:
        process.wait()
    seconds = time.monotonic() - began
    print(f"two workers: {seconds:.1f} s, {count / seconds:.0f} pictures a second", flush=True)
    merged = measured("merge", folder / "calm", folder / "calm.jsonl")
    print(f"merge: {merged[0]:.1f} s, {merged[1]:.0f} MiB", flush=True)
    share = (planned[0] + merged[0]) / (count / 200)
    print(f"plan and merge: {share:.2%} of the time at 200 pictures a second")
    measured("plan", folder / "wild", listed, size)
    kills, stops = arguments.kills, arguments.stops
    pause = 0.6 * seconds / max(1, kills + stops)
    slowest = disturb(folder / "wild", 2, kills, stops, pause, arguments.lease, random.Random(arguments.seed))
    measured("merge", folder / "wild", folder / "wild.jsonl")
    again, most = scored(folder / "wild") - count, size * 2 * (kills + stops)
    same = digest(folder / "calm.jsonl") == digest(folder / "wild.jsonl")
    lines = sum(1 for _ in (folder / "wild.jsonl").open("rb"))
    print(f"scored again: {again} pictures ({again / count:.1%}), at most {most}")
    print(f"merged: {lines} lines, {'the same' if same else 'NOT THE SAME'} as undisturbed, byte for byte")
    return (not same) + (lines != count) + (again > most) + (slowest > 5) + (share > 0.02)


def main() -> int:
    """Attack; status 1 if there are faults."""
    if sys.argv[1:2] == ["--step"]:
        return step(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m scripts.attack.shards", description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=4096, help="of a shard")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--stops", type=int, default=3)
    parser.add_argument("--lease", type=float, default=2.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attack-shards-") as folder:
        faults = attack(arguments, Path(folder))
    print(f"{faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())

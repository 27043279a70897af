"""Commands that are killed, stopped, or meet a full disk or a damaged picture while they work; and the same again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import bench, systems
from .bench import Around, Outcome, Running
from .ground import Ground

COMMANDS = ("train", "infer", "prepare", "export", "descriptions")
LIMIT = 300.0  # seconds: beside another process, on a busy machine
_EARLIER = 0.8  # where a kill that came too late is tried again, of where it was


def lines(ground: Ground, folder: Path) -> dict[str, list[str]]:
    """A command line of each that works long enough: two stages, all pictures, long lists."""
    longer = {
        str(ground.config): str(ground.folder / "two.yaml"),
        str(ground.records("few")): str(ground.records("all")),
        str(ground.records("structured")): str(ground.records("many")),
        str(ground.folder / "table.csv"): str(ground.folder / "long.csv"),
    }
    found = systems.writing(ground, folder)
    return {name: ["--quiet", *(longer.get(part, part) for part in found[name])] for name in COMMANDS}


def undisturbed(ground: Ground, name: str) -> dict[str, str]:
    """The digests of what it writes."""
    return systems.undisturbed(ground, name, lines, "undisturbed-long")


def says_who(outcome: Outcome) -> bool:
    """Whether a process was refused in one line, without a traceback."""
    return outcome.status == 2 and len(outcome.error.strip().splitlines()) == 1


@dataclass
class _Sight:
    """What was seen of a command: how long it takes, how often what it writes changes."""

    seconds: float
    changes: int


def _state(folder: Path) -> set[tuple[str, int]]:
    """Names and sizes of all that stands in a folder."""
    found = set()
    for place, folders, names in os.walk(folder):
        found |= {(name, 0) for name in folders}
        for name in names:
            with suppress(OSError):
                found.add((name, os.stat(os.path.join(place, name)).st_size))
    return found


def _watch(process: Running, folder: Path, before: set[tuple[str, int]], until: _Sight | None = None) -> _Sight:
    """Look at a command and its folder until so much was seen, or to its end; what was."""
    started, seen = time.monotonic(), set[tuple[str, int]]()
    while True:
        seen |= _state(folder) - before
        sight = _Sight(time.monotonic() - started, len(seen))
        if until is not None and sight.seconds >= until.seconds and sight.changes >= until.changes:
            return sight
        if not process.poll():
            return sight
        time.sleep(0.0005)


def _strike(ground: Ground, name: str, folder: Path, until: _Sight, second_at: float | None) -> Outcome | None:
    """Kill a command when so much of it was seen; what a second one came to. Raises TimeoutError: it ended before.

    Args:
        second_at: when the second starts, as a share of what is to be seen; None: there is none.
    """
    line, before = lines(ground, folder)[name], _state(folder)
    first, second = bench.start(line, Around(limit=LIMIT)), None
    if second_at is not None:
        begin = _Sight(until.seconds * second_at, round(until.changes * second_at))
        _watch(first, folder, before, begin)
        second = bench.start(line, Around(limit=LIMIT))
    _watch(first, folder, before, until)
    first.signal(signal.SIGKILL)
    ended, beside = first.wait(), second.wait() if second else None
    if ended.status != -signal.SIGKILL:
        raise TimeoutError
    return beside


def _fault(ground: Ground, name: str, folder: Path, beside: Outcome | None, line: list[str]) -> str:
    """Run a command again that was disturbed; what is wrong then."""
    again = bench.run(line, Around(limit=LIMIT))
    wanted, got = undisturbed(ground, name), systems.tree(folder / systems.OUT[name])
    differ = sorted(one for one in got.keys() | wanted.keys() if got.get(one) != wanted.get(one))
    if differ:
        return f"differing {differ[:4]}, status {again.status}: {again.error[-200:]}"
    # What is whole already is refused by the commands that never write over a folder.
    if not (again.status == 0 or says_who(again)):
        return f"status {again.status}: {again.error[-300:]}"
    if not (beside is None or beside.status == 0 or says_who(beside)):
        return f"the second process: status {beside.status}: {beside.error[-300:]}"
    return ""


def kills(ground: Ground, number: int, seed: int) -> int:
    """So many SIGKILLs of working commands, every other beside a second process; the faults, each on a line.

    Half of the moments are drawn by time, half by what was written. A command that ends before is tried again, earlier.
    Half of the folders are left as the kill leaves them, to be gone on with and killed once more.
    """
    tally = {name: Counter[str]() for name in COMMANDS}
    sights: dict[str, _Sight] = {}
    left: dict[str, Path] = {}
    for index in range(number):
        name, draw = COMMANDS[index % len(COMMANDS)], random.Random(f"{seed}/kills/{index}")
        if name not in sights:
            undisturbed(ground, name)
            sights[name] = _sight(ground, name)
        second_at = draw.random() if index // len(COMMANDS) % 2 else None
        folder, beside, how = _struck(ground, name, left.pop(name, None), sights[name], draw, second_at)
        tally[name] += how + Counter({"beside a second": int(second_at is not None)})
        if draw.random() < 0.5 and index + len(COMMANDS) < number:
            left[name] = folder
            tally[name]["killed again"] += 1
            continue
        if fault := _fault(ground, name, folder, beside, lines(ground, folder)[name]):
            tally[name]["faults"] += 1
            print(f"KILLS {index} {name}: {fault}", flush=True)
        systems.clean(folder)
        print(f"{index + 1} kills, {tally[name]['struck']} of {name}", file=sys.stderr, flush=True)
    columns = ("struck", "by time", "by what was written", "beside a second", "killed again", "late", "faults")
    print(f"\n| killed | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    for name, count in [*tally.items(), ("in all", sum(tally.values(), Counter[str]()))]:
        print(f"| {name} | {' | '.join(str(count[column]) for column in columns)} |")
    return sum(count["faults"] for count in tally.values())


def _struck(
    ground: Ground, name: str, left: Path | None, sight: _Sight, draw: random.Random, second_at: float | None
) -> tuple[Path, Outcome | None, Counter[str]]:
    """Kill a command while it works; its folder, what a second one came to, and how it came about."""
    share, by_time, count = draw.random(), draw.random() < 0.5, Counter[str]()
    while True:
        folder = left or Path(tempfile.mkdtemp(prefix="attack-"))
        until = _Sight(sight.seconds * share * by_time, round(sight.changes * share * (not by_time)))
        try:
            beside = _strike(ground, name, folder, until, second_at)
            count.update(("struck", "by time" if by_time else "by what was written"))
            return folder, beside, count
        except TimeoutError:
            if fault := _fault(ground, name, folder, None, lines(ground, folder)[name]):
                print(f"KILLS too late, {name}: {fault}", flush=True)
                count["faults"] += 1
            systems.clean(folder)
            count["late"] += 1
            left, share = None, share * _EARLIER


def _sight(ground: Ground, name: str) -> _Sight:
    """An undisturbed command, looked at."""
    folder = Path(tempfile.mkdtemp(prefix="attack-"))
    process = bench.start(lines(ground, folder)[name], Around(limit=LIMIT))
    seen = _watch(process, folder, set())
    process.wait()
    systems.clean(folder)
    return seen


def stops(ground: Ground, number: int, seed: int) -> int:
    """Training that is asked to stop, meets a full disk or a cut picture; then the same command; the faults."""
    ways = {"SIGTERM": _asked, "SIGINT": _asked, "full disk": _full, "picture cut": _cut, "picture skipped": _skipped}
    counts, faults, took = Counter[str](), Counter[str](), _sight(ground, "train").seconds
    undisturbed(ground, "train")
    for index in range(number):
        way, draw = list(ways)[index % len(ways)], random.Random(f"{seed}/stops/{index}")
        while True:
            folder = Path(tempfile.mkdtemp(prefix="attack-"))
            shutil.copytree(ground.images, folder / "images")
            images = [f"stages.{stage}.data.0.images={folder / 'images'}" for stage in ("descriptions", "scores")]
            line = [*lines(ground, folder)["train"], *images]
            is_stopped, fault = ways[way](draw, ground, line, way, took)
            if is_stopped:
                break
            systems.clean(folder)  # it was done before: once more
            took *= _EARLIER
        fault = fault or ("" if way == "picture skipped" else _fault(ground, "train", folder, None, line))
        counts[way] += 1
        if fault:
            faults[way] += 1
            print(f"STOPS {index} {way}: {fault}", flush=True)
        systems.clean(folder)
    print(f"\n{number} stops: {', '.join(f'{way} {count}' for way, count in counts.items())}; {faults.total()} faults")
    return faults.total()


_Stopped = tuple[bool, str]  # whether it was, and what is wrong about how


def _told(outcome: Outcome, right: bool) -> _Stopped:
    return outcome.status != 0, "" if right else f"status {outcome.status}: {outcome.error[-300:]}"


def _asked(draw: random.Random, ground: Ground, line: list[str], way: str, took: float) -> _Stopped:
    number = signal.Signals[way]
    process = bench.start(line, Around(limit=LIMIT))
    _watch(process, ground.folder / "base", set(), _Sight(draw.uniform(0, took), 0))
    process.signal(number)
    outcome = process.wait()
    return _told(outcome, outcome.status in (0, -number, 128 + number) and "Traceback" not in outcome.error)


def _full(draw: random.Random, ground: Ground, line: list[str], way: str, took: float) -> _Stopped:
    """No file may be as large as the largest one of a checkpoint."""
    sizes = [file.stat().st_size for file in (ground.folder / "undisturbed-long").rglob("checkpoint-*/*")]
    outcome = bench.run(line, Around(limit=LIMIT, largest_file=draw.randrange(1, max(sizes))))
    return _told(outcome, says_who(outcome))


def _with_cut(draw: random.Random, ground: Ground, line: list[str], more: tuple[str, ...] = ()) -> tuple[Outcome, str]:
    """Train with a picture that is cut, and made whole again afterwards; what came of it, and the picture's name."""
    whole = ground.images / draw.choice(json.loads(ground.records("score").read_text()))["image"]
    picture = Path(line[-1].partition("=")[2]) / whole.name
    picture.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    outcome = bench.run([*line, *more], Around(limit=LIMIT))
    shutil.copyfile(whole, picture)
    return outcome, picture.name


def _cut(draw: random.Random, ground: Ground, line: list[str], way: str, took: float) -> _Stopped:
    outcome, name = _with_cut(draw, ground, line)
    return _told(outcome, says_who(outcome) and name in outcome.error)


def _skipped(draw: random.Random, ground: Ground, line: list[str], way: str, took: float) -> _Stopped:
    """It goes on without the picture, and lists it."""
    more = tuple(f"stages.{stage}.unreadable=skip" for stage in ("descriptions", "scores"))
    outcome, name = _with_cut(draw, ground, line, more)
    lists = Path(line[-1].partition("=")[2]).parent.rglob("skipped.jsonl")
    listed = any(name in file.read_text() for file in lists)
    return True, _told(outcome, outcome.status == 0 and listed)[1]

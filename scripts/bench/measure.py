"""Ways of doing one thing, timed in turn, so that a busy machine slows all of them alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WORKER = Path(__file__).with_name("worker.py")
REPOSITORY = _WORKER.parents[2]


@dataclass(frozen=True)
class Figure:
    """Seconds of several rounds. peak: of the process, bytes."""

    seconds: tuple[float, ...]
    peak: int = 0

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        low, high = min(self.seconds), max(self.seconds)
        return f"{self.median:.3f} s [{low:.3f}, {high:.3f}]" + (f", {self.peak / 2**30:.1f} GiB" if self.peak else "")


@dataclass(frozen=True)
class Way:
    """One state of the code and how it computes. tree: the checkout; mode: as its worker takes them."""

    tree: Path = REPOSITORY
    mode: str = "plain"
    dtype: str = "float32"
    device: str = "cpu"


class Worker:
    """A process that holds a model in one way. script: which worker it runs; more: that one's own settings."""

    def __init__(
        self, way: Way, model: Path, pictures: Sequence[Path], threads: int, script: Path = _WORKER, **more: Any
    ):
        path = os.pathsep.join([str(way.tree), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            env=os.environ | {"PYTHONPATH": path},
            cwd=way.tree,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        settings = {"mode": way.mode, "dtype": way.dtype, "device": way.device, "threads": threads} | more
        self.ask(model=str(model), pictures=[str(one) for one in pictures], **settings)

    def ask(self, **work: Any) -> dict[str, Any]:
        """What it answers to one request: `seconds`, `result`, `peak`.

        Raises:
            RuntimeError: it has ended.
        """
        given, said = self._process.stdin, self._process.stdout
        assert given is not None
        assert said is not None
        given.write(json.dumps(work) + "\n")
        given.flush()
        line = said.readline()
        if not line:
            raise RuntimeError(
                f"the worker ended with status {self._process.wait()}; run {self._process.args[1]} alone"
            )
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def workers(
    ways: Mapping[str, Way], model: Path, pictures: Sequence[Path], threads: int, **more: Any
) -> Iterator[dict[str, Worker]]:
    """A worker for each way; more: as of `Worker`."""
    with ExitStack() as stack:
        found = {}
        for name, way in ways.items():
            found[name] = Worker(way, model, pictures, threads, **more)
            stack.callback(found[name].close)
        yield found


def in_turn(processes: Mapping[str, Worker], rounds: int, **work: Any) -> tuple[dict[str, Figure], dict[str, Any]]:
    """Figures of the same work in each way, and what came out; a first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in processes}
    last: dict[str, dict[str, Any]] = {}
    for round_ in range(rounds + 1):
        for name, process in processes.items():
            last[name] = process.ask(**work)
            if round_:
                seconds[name].append(last[name]["seconds"])
    figures = {name: Figure(tuple(values), last[name]["peak"]) for name, values in seconds.items()}
    return figures, {name: answer["result"] for name, answer in last.items()}


@contextmanager
def tree_of(revision: str, folder: Path) -> Iterator[Path]:
    """A checkout of a revision, in a git worktree that goes away again."""
    git = ["git", "-C", str(REPOSITORY), "worktree"]
    subprocess.run([*git, "add", "--detach", str(folder), revision], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True, capture_output=True)

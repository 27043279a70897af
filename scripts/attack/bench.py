"""Runs the command line in processes that are forked from a warm one: each case has its own limits, user and files."""

from __future__ import annotations

import atexit
import codecs
import contextlib
import encodings
import importlib
import os
import pkgutil
import resource
import runpy
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import transformers

import artquant

LIMIT = 10.0  # seconds of a case
_MEMORY = 8 * 2**30  # bytes of address space that a case may take beside what the warm process has
_TAIL = 20_000  # characters of output that are kept
NOBODY = 65534


@dataclass(frozen=True)
class Around:
    """What a case's process is put into; everything is undone with the process."""

    largest_file: int | None = None  # bytes that it may write into one file, as on a full disk
    as_nobody: bool = False  # without root's leave to read and write everything
    output: str | None = None  # path that standard output goes to; "closed": a pipe that nobody reads
    limit: float = LIMIT  # seconds
    folder: Path | None = None  # working folder


@dataclass
class Outcome:
    """What came of a process."""

    status: int  # exit status; minus the signal that ended it
    output: str = ""
    error: str = ""
    hung: bool = False
    left_behind: bool = False  # processes of its that go on after it
    seconds: float = 0.0


def warm_up() -> None:
    """Import everything that a command may need, and compute nothing: threads would not survive the fork."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    for module in pkgutil.walk_packages(artquant.__path__, "artquant."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ModuleNotFoundError):  # of an extra that is not installed
                importlib.import_module(module.name)
    for module in pkgutil.iter_modules(
        encodings.__path__, "encodings."
    ):  # a case that becomes nobody may not read them
        with contextlib.suppress(ImportError, LookupError):  # those of another operating system, no codecs
            importlib.import_module(module.name)
            codecs.lookup(module.name.removeprefix("encodings."))
    for name in (
        "peft",
        "scipy.stats",
        "scipy.optimize",
        "tensorboard",
        "torch.utils.data",
        "matplotlib.pyplot",
    ):
        importlib.import_module(name)
    transformers.logging.set_verbosity_error()  # as the command asks for before it imports it


@dataclass
class Running:
    """A process of the command line that was started."""

    pid: int
    around: Around
    pipes: dict[int, list[bytes]]  # by descriptor: what was read
    started: float = field(default_factory=time.monotonic)

    def wait(self) -> Outcome:
        """Until it ends, or its limit is over."""
        status = self._read(self.started + self.around.limit)
        hung = status is None
        if status is None:
            self.signal(signal.SIGKILL)
            status = os.waitpid(self.pid, 0)[1]
        seconds = time.monotonic() - self.started
        self._read(0.0)
        left = _ended_late(self.pid)
        for pipe in self.pipes:
            os.close(pipe)
        output, error = (b"".join(parts).decode("utf-8", "replace")[-_TAIL:] for parts in self.pipes.values())
        return Outcome(os.waitstatus_to_exitcode(status), output, error, hung, left and not hung, seconds)

    def poll(self) -> bool:
        """Whether it is still going on."""
        self._read(0.0)
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def signal(self, number: int) -> None:
        """Send a signal to it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _read(self, until: float) -> int | None:
        """Take what is in the pipes until the process has ended or the time is over; its wait status."""
        with selectors.DefaultSelector() as selector:
            for pipe in self.pipes:
                selector.register(pipe, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(0 if until == 0.0 else 0.005):
                    found = os.read(key.fd, 65536)
                    self.pipes[key.fd].append(found)
                    if not found:
                        selector.unregister(key.fd)
                if until == 0.0:
                    if not selector.select(0):
                        return None
                    continue
                done, status = os.waitpid(self.pid, os.WNOHANG)
                if done:
                    return status
                if not selector.get_map():
                    time.sleep(0.002)
                if time.monotonic() > until + _waited(self.pid):
                    return None


def _waited(pid: int) -> float:
    """Seconds that a process could have run and got no processor: a busy machine is no hang."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def _ended_late(group: int) -> bool:
    """Whether processes of a group that has lost its first live on for a second; they are ended then."""
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.02)
    os.killpg(group, signal.SIGKILL)
    return True


def start(arguments: Sequence[str | bytes | Path], around: Around = Around()) -> Running:
    """Start `artquant ARGUMENTS` in a process of its own."""
    pipes = [os.pipe() for _ in range(2)]
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become([os.fsdecode(part) for part in arguments], pipes, around)
    for _, writing in pipes:
        os.close(writing)
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, pid)  # the child does it too: whoever comes first
    for reading, _ in pipes:
        os.set_blocking(reading, False)
    return Running(pid, around, {reading: [] for reading, _ in pipes})


def run(arguments: Sequence[str | bytes | Path], around: Around = Around()) -> Outcome:
    """`artquant ARGUMENTS` to its end."""
    return start(arguments, around).wait()


def _become(arguments: list[str], pipes: list[tuple[int, int]], around: Around) -> None:
    """In the child: take the pipes and limits, be the command, end as an interpreter does. Does not return."""
    status = 1
    atexit._clear()  # what the warm process is to do at its end
    try:
        os.setpgid(0, 0)
        _redirect(pipes, around)
        _limit(around)
        status = _ended(lambda: _command(arguments))
    finally:
        os._exit(status)


def _redirect(pipes: list[tuple[int, int]], around: Around) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    output = pipes[0][1]
    if around.output == "closed":
        reading, output = os.pipe()
        os.close(reading)
    elif around.output is not None:
        output = os.open(around.output, os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(pipes[1][1], 2)
    os.closerange(3, 256)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr


def _limit(around: Around) -> None:
    if around.folder is not None:
        os.chdir(around.folder)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + _MEMORY, taken + _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if around.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (around.largest_file, around.largest_file))
    if around.as_nobody:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def _command(arguments: list[str]) -> None:
    sys.argv = ["artquant", *arguments]
    sys.modules.pop("artquant.__main__", None)
    runpy.run_module("artquant", run_name="__main__", alter_sys=True)


def _ended(body: Callable[[], None]) -> int:
    """The exit status that an interpreter ends with after the body."""
    status = 0
    try:
        body()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        print(f"Exception ignored while flushing sys.stdout: {error!r}", file=sys.stderr)
        status = 120
    sys.stderr.flush()
    return status

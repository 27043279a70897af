"""A run's workers on several devices of this machine: a process for each."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from multiprocessing.process import BaseProcess

from artquant.cli.terminal import complain
from artquant.files.child_processes import end_with_parent
from artquant.files.progress_bar import progress_bar
from artquant.shards.manifest import Run

_LOOK = 1.0  # seconds between two looks at how far they are
_GRACE = 5.0  # seconds that workers have to end by themselves


def run_on_devices(
    planned: Run, devices: Sequence[str], worker: tuple[int, int], others: Sequence[str], quiet: bool
) -> int:
    """Work on every device until all are done; the status.

    Args:
        worker: K of N machines, from 1. others: further options of `artquant shard run`.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of other threads
    first, count = (worker[0] - 1) * len(devices), worker[1] * len(devices)
    command = ["--quiet", "shard", "run", str(planned.folder), *others]
    processes = [
        context.Process(target=_child, args=([*command, "--devices", device, "--worker", f"{number}/{count}"],))
        for number, device in enumerate(devices, first + 1)
    ]
    for process in processes:
        process.start()
    try:
        with progress_bar("scoring", "image", not quiet, planned.manifest.pictures) as bar:
            while alive := [process for process in processes if process.is_alive()]:
                alive[0].join(_LOOK)
                bar.update(planned.pictures_done() - bar.n)
    finally:
        _end(processes)
    statuses = [process.exitcode or 0 for process in processes]
    for device, status in zip(devices, statuses, strict=True):
        if status < 0:
            name = signal.Signals(-status).name
            complain(f"artquant shard: warning: the worker on {device} was ended by {name}; others take up its shard")
    is_done = planned.pictures_done() == planned.manifest.pictures
    return 0 if is_done else max(1, *statuses)


def _end(processes: Sequence[BaseProcess]) -> None:
    """Those that are still there: a terminal's interrupt has reached them, too, and they give up their shards."""
    until = time.monotonic() + _GRACE
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        process.terminate()


def _child(command: list[str]) -> None:
    from artquant.cli import main

    end_with_parent()
    with redirect_stdout(StringIO()):  # the parent says it
        status = main(command)
    sys.exit(status)

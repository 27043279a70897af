"""Processes that work for this one."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Fresh processes (a fork would copy the locks of other threads) that end when this one does, however it ends."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that are started in the block compute on one thread each, unless the user has said how many."""
    missing = [
        name for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS") if name not in os.environ
    ]
    os.environ.update(dict.fromkeys(missing, "1"))
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


def end_with_parent(worker: int = 0) -> None:
    """For a process that works for another: one that is killed cannot send it home, so it waits for that itself.

    worker: its number, as a DataLoader says it.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:

        def wait() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()

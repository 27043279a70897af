"""Stopping on request: SIGTERM, as a cluster sends it before it takes a machine away."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from artquant.errors import ArtQuantError
from artquant.files.child_processes import end_with_parent


class TrainingStopped(ArtQuantError):
    """Training was asked to stop, saved a checkpoint, and has not finished."""


class StopRequest:
    """Notes SIGTERM while it is entered, instead of dying of it; outside the main thread it hears nothing."""

    def __init__(self) -> None:
        self.received = False
        self._before: Any = None  # handler

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.received = True

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)


def ignore_stop_signal(worker: int) -> None:
    """For processes that read pictures: the training process decides when they end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent(worker)

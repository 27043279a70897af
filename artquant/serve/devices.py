"""Where engines run: in a thread of this process, or each in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import queue
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Protocol

from artquant.errors import ArtQuantError, one_line
from artquant.files.child_processes import end_with_parent
from artquant.serve.messages import Asked, Failed, Said
from artquant.serve.settings import Chosen

_DRIVERS = ("/proc/driver/nvidia", "/dev/kfd")  # told without torch, which takes seconds to load

Hear = Callable[[Said | None], None]  # what an engine says, from a thread of its own; None: it has ended


class Device(Protocol):
    """An engine as the server sees it."""

    def ask(self, asked: Asked) -> None:
        """Give it a request. Raises OSError: it has ended."""

    def end(self) -> None:
        """Let it end after what it does."""


class ThreadDevice:
    """An engine in a thread of this process: of a processor that computes in other threads anyway."""

    def __init__(self, chosen: Chosen, name: str, hear: Hear):
        self._asked: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(chosen, name, hear), daemon=True).start()

    def _run(self, chosen: Chosen, name: str, hear: Hear) -> None:
        _engine(chosen, name, self, hear)
        hear(None)

    def next(self) -> Asked | None:
        """As of an `Inbox`."""
        return self._asked.get()

    def waits(self) -> bool:
        """As of an `Inbox`."""
        return not self._asked.empty()

    def ask(self, asked: Asked) -> None:
        """As of a `Device`."""
        self._asked.put(asked)

    def end(self) -> None:
        """As of a `Device`."""
        self._asked.put(None)


class ProcessDevice:
    """An engine in a process of its own: nothing that this one does holds its GPU up."""

    def __init__(self, chosen: Chosen, name: str, hear: Hear):
        context = multiprocessing.get_context("spawn")  # a fork would copy the locks of other threads
        self._here, there = context.Pipe()
        self._writing = threading.Lock()
        process = context.Process(target=_child, args=(chosen, name, there), daemon=True)
        process.start()
        there.close()
        threading.Thread(target=self._listen, args=(hear,), daemon=True).start()

    def _listen(self, hear: Hear) -> None:
        try:
            while True:
                hear(pickle.loads(self._here.recv_bytes()))  # written by our own process
        except (EOFError, OSError):
            hear(None)

    def ask(self, asked: Asked | None) -> None:
        """As of a `Device`; None: there will be no more."""
        with self._writing:
            self._here.send_bytes(pickle.dumps(asked))

    def end(self) -> None:
        """As of a `Device`."""
        with contextlib.suppress(OSError):
            self.ask(None)


class _Pipe:
    """The child's end of a pipe, as an `Inbox`."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def next(self) -> Asked | None:
        """As of an `Inbox`."""
        try:
            asked: Asked | None = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            return None
        return asked

    def waits(self) -> bool:
        """As of an `Inbox`."""
        return self._connection.poll()

    def say(self, said: Said) -> None:
        """To the server. Plain pickles: torch's own share tensors by open files, which run out."""
        self._connection.send_bytes(pickle.dumps(said))


def _child(chosen: Chosen, name: str, connection: Connection) -> None:
    end_with_parent()
    pipe = _Pipe(connection)
    _engine(chosen, name, pipe, pipe.say)


def _engine(chosen: Chosen, name: str, inbox: ThreadDevice | _Pipe, say: Callable[[Said], None]) -> None:
    """Load and run; whatever ends it is said."""
    try:
        from artquant.serve.engine import Engine  # takes torch: the server listens before that is loaded

        Engine(chosen, name, inbox, say).run()
    except ArtQuantError as error:
        say(Failed(None, str(error)))
    except Exception as error:  # of any library, such as no memory left on a GPU
        say(Failed(None, f"device {name}: {type(error).__name__}: {one_line(error)}"))


def start_device(chosen: Chosen, name: str, hear: Hear) -> Device:
    """An engine on a device by name, "auto" as in `Scorer`: a GPU has a process of its own."""
    alone = name.startswith("cuda") or (name == "auto" and any(map(os.path.exists, _DRIVERS)))
    return (ProcessDevice if alone else ThreadDevice)(chosen, name, hear)

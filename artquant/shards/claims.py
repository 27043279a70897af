"""Who works on a shard: files with a lease, which keep workers of any machine apart that see the same folder.

A claim is a file `SHARD.GENERATION` that its owner touches as long as it works. One that was not touched for the lease
is over: the next generation is made beside it, which only one process can. That a result is right does not depend on
claims: a worker that was stopped past its lease and goes on writes the same as the one that took over.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from artquant.files.unwritten import errors_named

LEASE = 60.0  # seconds


class Claims:
    """The claims of a run.

    Args:
        folder: that holds them. lease: seconds without a sign of life after which a claim is over.
    """

    def __init__(self, folder: Path, lease: float):
        self._folder = folder
        self._lease = lease
        self._clock = folder / ".clock"

    def take(self, shard: str) -> Claim | None:
        """A shard's claim; None: somebody works on it. Raises ArtQuantError: the folder cannot be written."""
        generation = self._generations().get(shard, 0)
        if generation and not self._is_over(self._file(shard, generation)):
            return None
        file = self._file(shard, generation + 1)
        with errors_named(file):
            try:
                handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except FileExistsError:  # another process was faster
                return None
        with suppress(OSError), open(handle, "w", encoding="utf-8") as stream:  # who it is only helps people
            stream.write(f"PID {os.getpid()} on {socket.gethostname()}\n")
        return Claim(self, shard, generation + 1, file, self._lease)

    def by_shard(self) -> dict[str, bool]:
        """The shards that are claimed, and whether their lease is over."""
        return {shard: self._is_over(self._file(shard, last)) for shard, last in sorted(self._generations().items())}

    def give_up(self, shard: str, generation: int) -> None:
        """Take away the claims up to a generation."""
        for number in range(generation, 0, -1):
            with suppress(OSError):
                self._file(shard, number).unlink(missing_ok=True)

    def give_up_all(self) -> None:
        """Take away all claims, for somebody who knows that nobody is at work."""
        for shard, generation in self._generations().items():
            self.give_up(shard, generation)

    def _file(self, shard: str, generation: int) -> Path:
        return self._folder / f"{shard}.{generation}"

    def _generations(self) -> dict[str, int]:
        """The newest generation of each claimed shard."""
        with errors_named(self._folder):
            names = [name.rpartition(".") for name in os.listdir(self._folder)]
        found: dict[str, int] = {}
        for shard, _, generation in names:
            if shard and generation.isdecimal():
                found[shard] = max(found.get(shard, 0), int(generation))
        return found

    def _is_over(self, file: Path) -> bool:
        try:
            return self._now() - file.stat().st_mtime > self._lease
        except FileNotFoundError:  # it was given up meanwhile: whoever wants it looks again
            return False

    def _now(self) -> float:
        """The time on the clock that claims are dated by, which on a network's disk is not this machine's."""
        try:
            self._clock.touch()
            return self._clock.stat().st_mtime
        except OSError:  # who may only read asks how far a run is; who cannot claim a shard is told then
            return time.time()


class Claim:
    """A context: a shard that this process works on, and says so until the block ends.

    generation: above 1: the process that had the shard before died, or was stopped and may go on.
    """

    def __init__(self, claims: Claims, shard: str, generation: int, file: Path, lease: float):
        self._claims = claims
        self._file = file
        self._shard = shard
        self.generation = generation
        self._pause = lease / 4
        self._ended = threading.Event()
        self._sign = threading.Thread(target=self._give_signs, daemon=True)

    def __enter__(self) -> Claim:
        self._sign.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._sign.join()
        self._claims.give_up(self._shard, self.generation)

    def _give_signs(self) -> None:
        while not self._ended.wait(self._pause):
            with suppress(OSError):
                os.utime(self._file)

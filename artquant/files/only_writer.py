"""One process at a time on whatever is written: a run, an output, an exported or a prepared folder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from artquant.errors import ArtQuantError
from artquant.files.unwritten import errors_named

_OURS = b"artquant "  # how a lock's file begins: then the process and its machine
_ATTEMPTS = 100  # at a lock that its holder is just making or giving up
_PAUSE = 0.01  # seconds


@contextmanager
def only_writer(path: Path | str) -> Iterator[None]:
    """Keep other processes that ask for the same away from a path until the block ends, or this process does.

    The lock is on a hidden file beside the path (of a link, beside its target). It is the process's own: processes that
    it started to read pictures do not keep it when it is killed. A file that a killed process left locks nothing.

    Raises:
        ArtQuantError: another process has it, which is named; or its folder cannot be written.
    """
    real = Path(os.path.realpath(path))
    if not real.name:
        raise ArtQuantError(f"{path}: is the root of all folders; name one in it")
    lock = real.parent / f".{real.name}.lock"
    with errors_named(path):
        made = [folder for folder in real.parents if not folder.exists()]
        handle = _taken(lock, Path(path))
    try:
        yield
    finally:
        with suppress(OSError):  # gone with its folder, or the disk can no longer be written: it locks nothing then
            if _is_there(handle, lock):
                lock.unlink()
        os.close(handle)
        for folder in made:  # where nothing was written after all
            with suppress(OSError):
                folder.rmdir()


def _taken(lock: Path, path: Path) -> int:
    """The lock's file, opened and locked; closing it, however that comes about, gives it back."""
    holder = ""
    for _ in range(_ATTEMPTS):
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        except FileNotFoundError:  # no folder yet, or its last writer took it away again
            lock.parent.mkdir(parents=True, exist_ok=True)
            continue
        with ExitStack() as opened:
            opened.callback(os.close, handle)
            said = os.pread(handle, 300, 0) if stat.S_ISREG(os.fstat(handle).st_mode) else b"something else"
            if said and not said.startswith(_OURS):
                raise ArtQuantError(f"{lock}: is there, and no lock of ours; move it away, or name another output")
            if not _is_locked(handle, path):
                holder = os.pread(handle, 300, 0).decode("utf-8", "replace").removeprefix(_OURS.decode()).strip()
            elif _is_there(handle, lock):
                try:
                    os.ftruncate(handle, 0)
                    os.pwrite(handle, _OURS + f"PID {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                except OSError:  # a full disk
                    lock.unlink()
                    raise
                with suppress(OSError):  # the next process may be another user's
                    os.fchmod(handle, 0o666)
                opened.pop_all()  # it stays open
                return handle
        if holder:
            break
        time.sleep(_PAUSE)
    who = f" ({holder})" if holder else ""
    raise ArtQuantError(f"{path}: another process is writing it{who}; wait for that, or name another output")


def _is_locked(handle: int, path: Path) -> bool:
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):  # another process has it
            return False
        raise ArtQuantError(f"{path}: cannot be locked: {error.strerror}; name an output on another disk") from None
    return True


def _is_there(handle: int, lock: Path) -> bool:
    """Whether an opened file is still the one of its name: a process that ends removes its own."""
    try:
        return os.path.samestat(os.fstat(handle), lock.stat())
    except FileNotFoundError:
        return False

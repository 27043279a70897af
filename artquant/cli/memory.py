"""How the process of a command holds memory."""

from __future__ import annotations

import ctypes
import sys

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of glibc's mallopt


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next tensors.

    A layer's activations are larger than what it keeps by itself: each would be mapped and cleared anew, a seventh of
    the time in which pictures are scored on a CPU. It is of the whole process, so commands do it, the library does not.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return
    if not mallopt(_MMAP_THRESHOLD, 1 << 30):
        mallopt(_MMAP_THRESHOLD, 1 << 25)  # the most that older releases of glibc take
    mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)

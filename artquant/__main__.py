"""`python -m artquant` is the command `artquant`."""

import atexit
import contextlib
import os
import sys


def _end_rank(status: list[int]) -> None:
    """End at once, after all else: taken apart, threads of gloo and DeepSpeed now and then abort a rank when done."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status[0])


def command() -> int:
    """What `artquant` runs; an interruption is met while its parts are still being loaded, too."""
    try:
        from artquant.cli import main

        return main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    status = [1]  # of a process that ends otherwise
    if "RANK" in os.environ:
        atexit.register(_end_rank, status)  # registered first, it comes last
    try:
        status[0] = command()
    except SystemExit as stop:  # the parser's, for help and unknown options
        status[0] = int(stop.code or 0)
    sys.exit(status[0])

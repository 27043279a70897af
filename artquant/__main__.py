"""`python -m artquant` is the command `artquant`."""

import atexit
import gc
import os
import sys


def _end_at_once(status: list[int]) -> None:
    """End after all else, as it is: taken apart, torch takes a second, and its threads now and then abort a rank."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        if "RANK" not in os.environ:
            return  # the interpreter tells of it, and has a status for it
    os._exit(status[0])


def command() -> int:
    """What `artquant` runs; an interruption is met while its parts are still being loaded, too."""
    status = [1]  # of a process that ends otherwise
    atexit.register(_end_at_once, status)  # registered first, it comes last
    gc.disable()  # until the command is loaded: what imports make stays, and looking through it again and again costs
    try:
        from artquant.cli import main

        status[0] = main()
    except KeyboardInterrupt:
        status[0] = 130
    except SystemExit as stop:  # the parser's, for help and unknown options
        status[0] = int(stop.code or 0)
    return status[0]


if __name__ == "__main__":
    sys.exit(command())

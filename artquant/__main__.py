"""`python -m artquant` is the command `artquant`."""

import atexit
import os
import sys

from artquant.cli import main


def _end_rank(status: list[int]) -> None:
    """End at once, after all else: taken apart, threads of gloo and DeepSpeed now and then abort a rank when done."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status[0])


if __name__ == "__main__":
    status = [1]  # of a process that ends otherwise
    if "RANK" in os.environ:
        atexit.register(_end_rank, status)  # registered first, it comes last
    try:
        status[0] = main()
    except SystemExit as stop:  # the parser's, for help and unknown options
        status[0] = int(stop.code or 0)
    sys.exit(status[0])

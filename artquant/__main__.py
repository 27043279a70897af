"""`python -m artquant` is the command `artquant`."""

import sys

from artquant.cli import main

if __name__ == "__main__":
    sys.exit(main())

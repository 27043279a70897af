"""Keep the pictures of a folder that score best: `python -m scripts.examples.filter_folder URL FOLDER --above 7`.

URL is of a server (`artquant serve MODEL`). Prints score and path of each picture above, as it is found; pictures that
the server cannot read are named on standard error. For collections of hours `artquant infer` is the better way.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from artquant.data.images import list_pictures
from artquant.reward import RewardClient, RewardError


def main() -> None:
    """Print what is above."""
    parser = argparse.ArgumentParser(prog="python -m scripts.examples.filter_folder", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--above", type=float, required=True, metavar="SCORE", help="on the model's scale")
    arguments = parser.parse_args()
    client = RewardClient(arguments.url, unit=False)
    for picture in list_pictures(arguments.folder):
        try:
            [score] = client([picture])
        except RewardError as error:
            print(f"{picture}: {error}", file=sys.stderr)
            continue
        if score > arguments.above:
            print(f"{score:.3f}\t{picture}", flush=True)


if __name__ == "__main__":
    main()

"""python -m scripts.bench [scoring] [describing] [infer] [--size middle] [--before REV] [--json FILE] ...

Each table compares ways of one thing within this run, in turn: `published`, as the published code computes (one picture
at a time, eager attention with its maps kept, logits of all words at all positions); `before`, an earlier commit;
`today`. Beside it stands the matrix rate: what large products of the same shapes reach on this machine, now. Drawn
weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from scripts.bench import ways
from scripts.bench.networks import SIZES, build

TABLES = {"scoring": ways.scoring, "describing": ways.describing, "infer": ways.infer}


def pictures(folder: Path, number: int) -> list[Path]:
    """JPEG files of 640 x 427 pixels, smooth with some noise, as photographs are."""
    folder.mkdir(parents=True, exist_ok=True)
    draw, files = np.random.default_rng(0), []
    for index in range(number):
        files.append(folder / f"{index}.jpg")
        if not files[-1].is_file():
            coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((640, 427))
            noise = draw.normal(0, 6, (427, 640, 3))
            Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def main() -> None:
    """Measure what is asked for and print Markdown tables."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; default: all")
    parser.add_argument("--size", choices=list(SIZES), default="middle", help="of the network (default %(default)s)")
    parser.add_argument("--dtype", nargs="+", default=["float32"], choices=list(ways.FORMATS))
    parser.add_argument("--before", help="a commit to compare with")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="pictures per forward pass")
    parser.add_argument("--count", type=int, default=8, help="pictures a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=200, help="of `infer` (default %(default)s)")
    parser.add_argument("--ground", type=Path, help="keep networks and pictures here for the next time")
    parser.add_argument("--json", type=Path, help="write every figure")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.tables if name not in TABLES]
    if unknown:
        parser.error(f"no table {unknown[0]}; there are {', '.join(TABLES)}")
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        ground = Path(temporary) if arguments.ground is None else arguments.ground.resolve()
        model = build(arguments.size, ground / arguments.size)
        files = pictures(ground / "pictures", max(8, arguments.files))
        found = {}
        for name in arguments.tables or TABLES:
            found[name] = TABLES[name](arguments, model, files, Path(temporary))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""How long `artquant` takes to start: its help and the score of one picture, beside importing its libraries.

    python -m scripts.bench.startup --model runs/demo/scores/model --picture painting.jpg

Processes one after the other, in turns. On a busy machine put `chrt -r 1` before the command (Linux): what it starts
then goes before everything else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

# Whatever uses a network of transformers needs the second: its base class loads most of what the first leaves out.
LIBRARIES = "import torch, transformers"
NETWORKS = "import torch; from transformers import PreTrainedModel"


def startup(model: Path, picture: Path, rounds: int = 5) -> dict[str, Any]:
    """Seconds of each command, by its name, and ratios to importing the libraries.

    Args:
        model: folder of a model that scores.
        rounds: how often each is measured, after once unmeasured.

    Returns:
        Of each command `seconds` and `cpu` (user and system), each as median, least and most; `ratios`: medians of the
        ratios within a round.

    Raises:
        CalledProcessError: a command fails.
    """
    artquant = [sys.executable, "-m", "artquant"]
    commands = {
        "help": [*artquant, "--help"],
        "libraries": [sys.executable, "-c", LIBRARIES],
        "networks": [sys.executable, "-c", NETWORKS],
        "score": [*artquant, "score", str(picture), "--model", str(model)],
    }
    runs = [{name: _run(command) for name, command in commands.items()} for _ in range(1 + rounds)][1:]
    figures: dict[str, Any] = {
        name: {kind: _spread([run[name][kind] for run in runs]) for kind in ("seconds", "cpu")} for name in commands
    }
    figures["ratios"] = {
        f"{name}/{below} ({kind})": median(run[name][kind] / run[below][kind] for run in runs)
        for name, below in (("score", "libraries"), ("score", "networks"), ("networks", "libraries"))
        for kind in ("seconds", "cpu")
    }
    return figures


def _run(command: list[str]) -> dict[str, float]:
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": seconds, "cpu": cpu}


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "least": min(values), "most": max(values)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a model that scores")
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    print(json.dumps(startup(**vars(parser.parse_args())), indent=1))

"""A training step, in turn with that of an earlier state and with the published way: python -m scripts.bench.training

Two descriptions and two scores of 448 px pictures, LoRA 128 with vision encoder and abstractor. Losses and gradients
are compared with those of the first way; peak memory is that of each way's process, and so are the seconds of
processors, which other jobs disturb less. Drawn weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file

from scripts.bench.measure import Figure, Way, Worker, tree_of, workers
from scripts.bench.networks import SIZES, build

_WORKER = Path(__file__).with_name("training_worker.py")
WAYS = ("now, checkpointing", "now", "before, checkpointing", "before", "published")


def pictures(folder: Path) -> list[Path]:
    """Two of them, of colours that run."""
    found = []
    for index in range(2):
        ramp = Image.linear_gradient("L").resize((448, 448)).rotate(90 * index)
        found.append(folder / f"{index}.png")
        Image.merge("RGB", (ramp, ramp.rotate(180), Image.new("L", ramp.size, 90))).save(found[-1])
    return found


def difference(first: Path, other: Path) -> float:
    """Of all gradients, relative to their norm."""
    one, two = load_file(first), load_file(other)
    if one.keys() != two.keys():
        raise RuntimeError(f"gradients of other parameters: {sorted(one.keys() ^ two.keys())[:3]}")
    squares = [((one[name] - two[name]).double().square().sum(), one[name].double().square().sum()) for name in one]
    off, whole = torch.tensor(squares).sum(0).sqrt()
    return float(off / whole)


def measured(processes: Mapping[str, Worker], rounds: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Figures of each way; a first step warms up, and writes the gradients down when the peak is known."""
    found: dict[str, dict[str, Any]] = {}
    for index, (name, process) in enumerate(processes.items()):
        terms = process.ask(gradients=str(folder / f"{index}.safetensors"))["result"]
        peak, shape = terms.pop("peak"), {key: terms.pop(key) for key in ("positions", "learned")}
        off = difference(folder / "0.safetensors", folder / f"{index}.safetensors")
        found[name] = {"terms": terms, "loss": sum(terms.values()), "gradients_off": off, "peak": peak, "shape": shape}
    answers = [(name, process.ask()) for _ in range(rounds) for name, process in processes.items()]
    for name, one in found.items():
        own = [answer for way, answer in answers if way == name]
        one["figure"] = Figure(tuple(answer["seconds"] for answer in own), one.pop("peak"))
        one["busy"] = statistics.median(answer["busy"] for answer in own)
    return found


def main() -> None:
    """Print a table, or values."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="middle")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="of which the first is compared with")
    parser.add_argument("--before", default="af3e2c4", help="revision that is the state before")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--words", type=int, default=200, help="of the longer description")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--model", type=Path, help="folder to keep the drawn model in")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        model = build(arguments.size, arguments.model or folder / "model").resolve()
        past = any("before" in way for way in arguments.ways)
        before = stack.enter_context(tree_of(arguments.before, folder / "before")) if past else folder
        ways = {}
        for way in arguments.ways:
            state, _, recomputed = way.partition(", ")
            mode = "published" if state == "published" else recomputed or "kept"
            ways[way] = Way(mode=mode, dtype=arguments.dtype, **({"tree": before} if state == "before" else {}))
        settings = {"script": _WORKER, "words": arguments.words}
        processes = stack.enter_context(workers(ways, model, pictures(folder), arguments.threads, **settings))
        found = measured(processes, arguments.rounds, folder)
    if arguments.json:
        values = {way: one | {"figure": vars(one["figure"])} for way, one in found.items()}
        print(json.dumps(vars(arguments) | {"model": None, "found": values}, indent=2))
        return
    first = found[arguments.ways[0]]
    print(f"{arguments.size}, {arguments.dtype}, {arguments.threads} threads, of a step: {first['shape']}")
    for way, one in found.items():
        slower, busier = one["figure"].median / first["figure"].median, one["busy"] / first["busy"]
        print(f"{way:<22} {one['figure']}; {slower:.2f} times; of processors {one['busy']:.1f} s, {busier:.2f} times")
        print(f"  loss off {abs(one['loss'] / first['loss'] - 1):.1e}, gradients {one['gradients_off']:.1e}")


if __name__ == "__main__":
    main()

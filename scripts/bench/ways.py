"""The tables: what is compared, and how it is told."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from scripts.bench.measure import REPOSITORY, Figure, Way, in_turn, tree_of, workers
from scripts.bench.networks import SIZES, flops
from scripts.bench.yardsticks import matrix_rate

_TEXT = 52  # positions of the published scoring prompt, the picture's not counted
# Of what products are made that `today`'s are compared with; int8 stands for `quantize: dynamic_int8`.
FORMATS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "int8": torch.float32,
    "bfloat16+int8": torch.bfloat16,
}


@contextmanager
def _ways(arguments: argparse.Namespace, dtype: str, folder: Path, published: bool) -> Iterator[dict[str, Way]]:
    today = Way(dtype=dtype, device=arguments.device)
    plain = str(FORMATS[dtype]).removeprefix("torch.")
    found = {"published": replace(today, mode="published", dtype=plain)} if published else {}
    if arguments.before is None or dtype.endswith("int8"):
        yield found | {"today": today}
        return
    with tree_of(arguments.before, folder / f"before-{dtype}") as tree:
        yield found | {"before": replace(today, tree=tree), "today": today}


def _told(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(header)} |\n| {' | '.join('---' for _ in header)} |")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def _ratios(figures: Mapping[str, Figure]) -> str:
    others = [name for name in figures if name != "today"]
    return ", ".join(f"{figures[name].median / figures['today'].median:.2f} x {name}" for name in others)


def scoring(arguments: argparse.Namespace, model: Path, files: Sequence[Path], folder: Path) -> list[dict[str, Any]]:
    """Seconds a picture from prepared pictures, and the share of the matrix rate."""
    rows, found = [], list[dict[str, Any]]()
    work = flops(SIZES[arguments.size], _TEXT)
    for dtype in arguments.dtype:
        rate = matrix_rate(FORMATS[dtype], arguments.device)
        with (
            _ways(arguments, dtype, folder, published=True) as ways,
            workers(ways, model, files[:8], arguments.threads) as processes,
        ):
            for batch in arguments.batch:
                asked = {"work": "score", "batch": batch, "count": arguments.count}
                figures, scores = in_turn(processes, arguments.rounds, **asked)
                after = matrix_rate(FORMATS[dtype], arguments.device)
                each = {name: figure.median / arguments.count for name, figure in figures.items()}
                share = work / each["today"] / max(rate, after)
                off = max(abs(a - b) for a, b in zip(scores["published"], scores["today"], strict=True))
                cells = ", ".join(f"{name} {value:.3f} s" for name, value in each.items())
                peaks = ", ".join(f"{figure.peak / 2**30:.1f}" for figure in figures.values())
                rows.append([dtype, str(batch), cells, _ratios(figures), f"{share:.0%}", f"{off:.1e}", peaks])
                kept = {name: asdict(figure) for name, figure in figures.items()}
                found.append({"dtype": dtype, "batch": batch, "figures": kept, "rate": [rate, after], "off": off})
    header = ("format", "batch", "a picture", "today", "of the matrix rate", "furthest off published", "peak, GiB")
    _told(f"Scoring, {arguments.size}, {work / 1e12:.2f} TFLOP a picture, {arguments.threads} threads", header, rows)
    return found


def describing(
    arguments: argparse.Namespace, model: Path, files: Sequence[Path], folder: Path, tokens: int = 64
) -> list[dict[str, Any]]:
    """Tokens a second, reading of the pictures included."""
    rows, found = [], list[dict[str, Any]]()
    for dtype in arguments.dtype:
        with (
            _ways(arguments, dtype, folder, published=False) as ways,
            workers(ways, model, files[:8], arguments.threads) as processes,
        ):
            one: dict[str, float] = {}
            for batch in arguments.batch:
                asked = {"work": "describe", "batch": batch, "count": arguments.count, "tokens": tokens}
                figures, _ = in_turn(processes, arguments.rounds, **asked)
                rates = {name: arguments.count * tokens / figure.median for name, figure in figures.items()}
                one = one or rates
                cells = ", ".join(f"{name} {rate:.1f} ({rate / one[name]:.2f})" for name, rate in rates.items())
                rows.append([dtype, str(batch), cells, _ratios(figures)])
                found.append({"dtype": dtype, "batch": batch, "figures": {k: asdict(v) for k, v in figures.items()}})
    header = ("format", "batch", f"tokens a second (of batch {arguments.batch[0]}'s)", "today")
    _told(f"Describing, {arguments.size}, {tokens} new tokens", header, rows)
    return found


def infer(arguments: argparse.Namespace, model: Path, files: Sequence[Path], folder: Path) -> list[dict[str, Any]]:
    """`artquant infer` on a folder of JPEG files, beside the network alone on as many prepared pictures."""
    rows, found = [], list[dict[str, Any]]()
    few = files[: arguments.files]
    for dtype in arguments.dtype:
        with workers({"today": Way(dtype=dtype, device=arguments.device)}, model, files[:8], arguments.threads) as one:
            bare, _ = in_turn(one, 1, work="score", batch=arguments.batch[-1], count=-(-len(few) // 4))
        each = bare["today"].median / -(-len(few) // 4)
        links = folder / f"few-{dtype}"
        links.mkdir()
        for file in few:
            (links / file.name).symlink_to(file)
        command = [sys.executable, "-m", "artquant", "--quiet", "infer", "--model", str(model), "--records", str(links)]
        command += ["--out", str(folder / f"{dtype}.jsonl"), "--device", arguments.device]
        command += ["--batch-size", str(arguments.batch[-1]), "--anyway"]
        command += ["--quantize", "dynamic_int8"] * dtype.endswith("int8")
        command += ["--dtype", dtype.partition("+")[0]] * (dtype != "int8")
        threads = {"OMP_NUM_THREADS": str(arguments.threads), "PYTHONPATH": str(REPOSITORY)}
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=os.environ | threads)
        seconds = time.perf_counter() - started
        rate = f"{len(few) / seconds:.3f}", f"{1 / each:.3f}", f"{seconds / len(few) / each - 1:+.1%}"
        rows.append([dtype, str(len(few)), *rate])
        found.append({"dtype": dtype, "pictures": len(few), "seconds": seconds, "bare": each})
    header = ("format", "files", "pictures/s, start and reading included", "network alone", "more time")
    _told(f"artquant infer, {arguments.size}, batch {arguments.batch[-1]}", header, rows)
    return found

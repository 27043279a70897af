"""What the machine can do: large products of the shapes that occur, by the best path that torch offers."""

from __future__ import annotations

import time

import torch
from torch.nn import functional

SHAPES = ((1025, 1024, 4096), (1025, 4096, 1024), (1025, 1024, 3072), (820, 1024, 2752))  # positions, inputs, outputs


def matrix_rate(dtype: torch.dtype, device: str = "cpu", rounds: int = 5) -> float:
    """Operations a second, the best of the paths, over all shapes; a product and a sum are two."""
    rates = []
    for positions, inputs, outputs in SHAPES:
        states = torch.randn(positions, inputs, device=device, dtype=dtype)
        weight = torch.randn(outputs, inputs, device=device, dtype=dtype)
        ways = {"plain": lambda states=states, weight=weight: functional.linear(states, weight)}
        if device == "cpu" and (dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()):
            packed = torch.ops.mkldnn._reorder_linear_weight(weight)
            ways["packed"] = lambda states=states, packed=packed: torch.ops.mkldnn._linear_pointwise(
                states, packed, None, "none", [], ""
            )
        if device == "cpu" and dtype == torch.bfloat16:
            ways["widened"] = lambda states=states, weight=weight: functional.linear(states.float(), weight.float())
        with torch.inference_mode():
            best = min(_fastest(way, device, rounds) for way in ways.values())
        rates.append((2 * positions * inputs * outputs, best))
    return sum(work for work, _ in rates) / sum(seconds for _, seconds in rates)


def _fastest(way, device: str, rounds: int) -> float:
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        way()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])

"""What a run reports while it trains: speed, memory, time left, and one JSON line for everything that is logged."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState

from artquant.files.json_files import write_json_lines
from artquant.files.line_file import LineFile
from artquant.files.progress_bar import progress_bar

HISTORY = "history.jsonl"


class Throughput:
    """Images and tokens since the last report, over all ranks of a run in lockstep.

    Counts are of this rank and multiplied by the number of ranks: they get batches of one size, and waiting for exact
    numbers would cost more than they are worth.
    """

    def __init__(self, ranks: int):
        self.ranks = ranks
        self.started = self.since = time.perf_counter()
        self.first_step: int | None = None
        self._images = 0
        self._tokens = 0

    def count(self, images: int, tokens: int) -> None:
        """Note a micro-batch."""
        self._images += images
        self._tokens = self._tokens + tokens

    def report(self, step: int, steps: int) -> dict[str, float]:
        """Figures since the last report, and start anew.

        Returns:
            images_per_second, tokens_per_second, peak_memory_gib (of this process: the GPU's if there is one, else
            main memory) and seconds_left, at the mean speed of this process so far.
        """
        now = time.perf_counter()
        elapsed = max(now - self.since, 1e-9)
        done = step - (self.first_step or 0)
        figures = {
            "images_per_second": self.ranks * self._images / elapsed,
            "tokens_per_second": self.ranks * self._tokens / elapsed,
            "peak_memory_gib": _peak_memory() / 2**30,
            "seconds_left": (now - self.started) / done * (steps - step) if done > 0 else 0.0,
        }
        self.since, self._images, self._tokens = now, 0, 0
        return {name: round(value, 3) for name, value in figures.items()}


def _peak_memory() -> int:
    """Bytes."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class ProgressLines(ProgressCallback):
    """transformers' progress bar, with a line to be read instead of a dictionary for what is logged."""

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """A bar of ours, which a log can bear."""
        if state.is_world_process_zero:
            bar: Any = progress_bar("training", "step", total=state.max_steps)
            self.training_bar = bar
        self.current_step = 0

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Write the line, unless it is the summary at the end."""
        if self.training_bar is not None and "train_runtime" not in logs:
            self.training_bar.write(progress_line(state.global_step, state.max_steps, logs))


def progress_line(step: int, steps: int, logs: Mapping[str, float]) -> str:
    """What is logged, in words."""
    parts = [f"step {step}/{steps}"]
    if "loss" in logs:
        terms = ", ".join(f"{name[5:].replace('_', ' ')} {_short(logs[name])}" for name in logs if name[:5] == "loss_")
        parts += [f"loss {_short(logs['loss'])}" + f" ({terms})" * bool(terms)]
        parts += [f"gradient {_short(logs['grad_norm'])}"] if "grad_norm" in logs else []
        parts += [f"rate {logs['learning_rate']:.1e}"]
    validation = [
        f"{name.removeprefix('eval_').replace('_', ' ')} {_short(value)}"
        for name, value in logs.items()
        if name.startswith("eval_")
    ]
    parts += ["validation: " + ", ".join(validation)] if validation else []
    if "images_per_second" in logs:
        left = timedelta(seconds=round(logs["seconds_left"]))
        parts += [f"{_short(logs['images_per_second'])} images/s", f"{logs['peak_memory_gib']:.2f} GiB", f"{left} left"]
    return "  ".join(parts)


def _short(value: float) -> str:
    return f"{value:.4g}"


class HistoryWriter(TrainerCallback):
    """Appends what is logged to a JSON-lines file; a resumed run first takes out what it will log again."""

    def __init__(self, file: Path):
        self.file = file
        self._lines = LineFile(file, "step")

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        with LineFile(self.file, "step") as before:
            lines = [line for _, line in before.read()]  # but a half one that a killed run left
        # A run that was stopped on request has written its summary.
        kept = [line for line in lines if line.get("step", 0) <= state.global_step and "train_runtime" not in line]
        if self.file.is_file():
            write_json_lines(self.file, kept)
        self._lines.close()
        self._lines = LineFile(self.file, "step")

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any) -> None:
        # JSON has no infinity and no NaN (the loss of a stretch of which every step was left out).
        values = {name: value if math.isfinite(value) else None for name, value in logs.items()}
        self._lines.append([{"step": state.global_step, **values}])

"""`artquant demo`: the whole path at a small size, command by command; `artquant demo-base`: what it starts from."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from artquant.errors import ArtQuantError

_INSIDE = Path(str(files("artquant.demo")))  # its configurations and its base come with the package
_LEVELS = ("descriptions_level_1", "descriptions_level_2", "descriptions_level_3")
_BASE_SEED = 1_000_000  # of the base's pictures: another than any demo's, so that no picture of theirs is among them


class _Failed(Exception):
    """A command has said why it failed."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def run(arguments: argparse.Namespace) -> int:
    """Run one of the two; the status of a command that fails."""
    try:
        if arguments.command == "demo":
            _demo(arguments)
        else:
            _make_base(arguments.out, arguments.captions, arguments.overrides, arguments.quiet)
    except _Failed as failed:
        return failed.status
    return 0


def _step(quiet: bool, *command: object) -> None:
    from artquant.cli import main

    status = main(["--quiet"] * quiet + [str(part) for part in command])
    if status:
        raise _Failed(status)


def _config(name: str) -> Path:
    """A configuration: the repository's where this is run in it, else the package's."""
    here = Path("configs") / "demo" / name
    return here if here.is_file() else _INSIDE / "configs" / name


def _demo(arguments: argparse.Namespace) -> None:
    if arguments.seed < 0:
        raise ArtQuantError(f"the seed must be 0 or more, got {arguments.seed}")
    started, quiet, internvl = time.monotonic(), arguments.quiet, arguments.internvl
    name = "demo" + "-short" * arguments.short + f"-{arguments.seed}" * bool(arguments.seed) + "-internvl" * internvl
    data = Path("dataset") / name
    # Those of --internvl are fewer, as its figures in docs/results.md are of.
    images, held_out = (120, 0.15) if arguments.short else (1800, 0.15) if internvl else (5400, 0.05)
    drawing = ("--images", images, "--seed", arguments.seed, "--test-fraction", held_out)
    _step(quiet, "demo-data", "--out", data, *drawing)
    base, config = _start(arguments, name, data)
    run = name + "-from-scratch" * arguments.from_scratch
    if internvl:
        learned = _sets("descriptions", data, *_LEVELS) + _sets("scores", data, "score")
    else:
        learned = _sets("descriptions", data, *_LEVELS, "captions") + _sets("scores", data, "score", *_LEVELS)
    settings = [f"run={run}", f"seed={arguments.seed}", f"base={base}", f"infer.records={data}/meta/test.json"]
    settings += [f"infer.images={data}/images", *learned]
    if arguments.short:
        settings += ["stages.descriptions.max_steps=6", "stages.scores.max_steps=6"]
    results = Path("runs") / run
    trained, records = results / "scores" / "model", data / "meta" / "score.json"
    _step(quiet, "train", "--config", config, *settings)
    _step(True, "familiar", "--model", trained, "--records", records, "--images", data / "images", "--pictures", 500)
    _step(quiet, "infer", "--config", config, "--device", "cpu", *settings)
    plots = [] if importlib.util.find_spec("matplotlib") else ["--no-plot"]
    _step(quiet, "eval", "--config", config, *settings, *plots)
    _report(results / "descriptions" / "model" if internvl else trained, data, results)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"\nDone in {minutes} min {seconds} s. Look at")
    print(f"  {data}/images  the pictures")
    print(f"  {results}/evaluation  metrics.json, scatter plots, what is said of held-out pictures (contact_sheet.png)")
    print(f"  {results}/predictions.jsonl  a score for each held-out picture")
    print(f"  {trained}  the model: artquant score IMAGE --model {trained}, or describe")


def _report(model: Path, data: Path, results: Path) -> None:
    from artquant.cli import demo_report

    sys.stdout.flush()
    demo_report.report(data, model, results / "predictions.jsonl", results / "evaluation")


def _start(arguments: argparse.Namespace, name: str, data: Path) -> tuple[Path, Path]:
    """The model that training starts from, and the configuration."""
    if arguments.internvl:
        base = Path("ModelZoo") / name
        if not (base / "config.json").is_file():
            texts = f"texts=[{data}/meta/descriptions_level_3.json, {data}/meta/score.json]"
            drawn = ("--config", _config("internvl_model.yaml"), "--out", base, f"seed={arguments.seed}", texts)
            _step(arguments.quiet, "init-model", *drawn)
        return base, _config("internvl.yaml")
    if arguments.from_scratch:
        base = Path("ModelZoo") / f"{name}-from-scratch"
        few = ["stages.captions.max_steps=4"] if arguments.short else []
        _make_base(base, 60 if arguments.short else 40_000, few, arguments.quiet)
        return base, _config("demo.yaml")
    here = Path("ModelZoo") / "demo"
    return here if (here / "config.json").is_file() else _INSIDE / "base", _config("demo.yaml")


def _sets(stage: str, data: Path, *names: str) -> list[str]:
    """The configuration's own settings of a stage, but for the names of its data sets."""
    return [
        f"stages.{stage}.data.{place}.{key}={value}"
        for place, name in enumerate(names)
        for key, value in (("records", f"{data}/meta/{name}.json"), ("images", f"{data}/images"))
    ]


def _make_base(out: Path, captions: int, more: Sequence[str], quiet: bool) -> None:
    """Draw pictures, let a drawn network learn to say what is there, and export it in bfloat16."""
    name = f"demo-base-{captions}"
    data, drawn = Path("dataset") / name, Path("ModelZoo") / f"demo-drawn-{captions}"
    size = ("--images", captions, "--seed", _BASE_SEED, "--test-fraction", 0.0075)
    _step(quiet, "demo-data", "--out", data, *size)
    if not (drawn / "config.json").is_file():
        texts = ", ".join(f"{data}/meta/{file}.json" for file in ("descriptions_level_3", "captions", "score"))
        _step(quiet, "init-model", "--config", _config("model.yaml"), "--out", drawn, f"texts=[{texts}]")
    settings = [f"run={name}", f"base={drawn}", f"infer.records={data}/meta/test.json", f"infer.images={data}/images"]
    _step(quiet, "train", "--config", _config("base.yaml"), *settings, *_sets("captions", data, "captions"), *more)
    if not out.is_dir():
        model = Path("runs") / name / "captions" / "model"
        _step(quiet, "export", model, "--to", "merged", "--dtype", "bfloat16", "--out", out)

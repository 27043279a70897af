"""`artquant demo`: the whole path at a small size, command by command; `artquant demo-base`: what it starts from."""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from artquant.cli.terminal import finish, say
from artquant.config.load import load_config
from artquant.config.schema import StageConfig
from artquant.errors import ArtQuantError

_INSIDE = Path(str(files("artquant.demo")))  # its configurations and its base come with the package
_BASE_SEED = 1_000_000  # of the base's pictures: another than any demo's, so that no picture of theirs is among them


class CommandFailed(Exception):
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
    except CommandFailed as failed:
        return failed.status
    return 0


def step(quiet: bool, *command: object) -> None:
    """Run a command in this process. Raises CommandFailed: it has said why."""
    from artquant.cli import main

    status = main(["--quiet"] * quiet + [str(part) for part in command])
    if status:
        raise CommandFailed(status)


def demo_config(name: str) -> Path:
    """A configuration: the repository's where this is run in it, else the package's."""
    here = Path("configs") / "demo" / name
    return here if here.is_file() else _INSIDE / "configs" / name


def _demo(arguments: argparse.Namespace) -> None:
    if arguments.seed < 0:
        raise ArtQuantError(f"the seed must be 0 or more, got {arguments.seed}")
    started, quiet, network = time.monotonic(), arguments.quiet, arguments.network
    name = "demo" + "-short" * arguments.short + "-long" * arguments.long + f"-{arguments.seed}" * bool(arguments.seed)
    name += f"-{network}" * (network is not None)
    data = Path("dataset") / name
    # Those of other networks are fewer, as their figures in docs/results.md are of.
    images, held_out = (120, 0.15) if arguments.short else (5400, 0.05) if network is None else (1800, 0.15)
    drawing = ("--images", images, "--seed", arguments.seed, "--test-fraction", held_out)
    step(quiet, "demo-data", "--out", data, *drawing)
    base, config = _start(arguments, name, data)
    run = name + "-from-scratch" * arguments.from_scratch
    stages = load_config(config).stages
    settings = [f"run={run}", f"seed={arguments.seed}", f"base={base}", f"infer.records={data}/meta/test.json"]
    settings += [f"infer.images={data}/images", *_sets(stages, data)]
    settings += [f"stages.{stage.name}.max_steps=6" for stage in stages if arguments.short]
    settings += [f"stages.{stages[-1].name}.epochs={3 * stages[-1].epochs}"] * arguments.long
    results = Path("runs") / run
    scoring, records = results / stages[-1].name / "model", data / "meta" / "score.json"
    step(quiet, "train", "--config", config, *settings)
    step(True, "familiar", "--model", scoring, "--records", records, "--images", data / "images", "--pictures", 500)
    step(quiet, "infer", "--config", config, "--device", "cpu", *settings)
    plots = [] if importlib.util.find_spec("matplotlib") else ["--no-plot"]
    step(quiet, "eval", "--config", config, *settings, *plots)
    telling = [stage for stage in stages if any("descriptions" in one.records.stem for one in stage.data)]
    _report(results / telling[-1].name / "model", data, results)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    short = " (--short: the figures above mean nothing)" * arguments.short
    say(f"\nDone in {minutes} min {seconds} s{short}. Look at")
    say(f"  {data}/images  the pictures")
    say(f"  {results}/evaluation/report.html  figures, and the pictures behind them (open it in a browser)")
    say(f"  {results}/evaluation  metrics.json, scatter plots, what is said of held-out pictures (contact_sheet.png)")
    say(f"  {results}/predictions.jsonl  a score for each held-out picture")
    say(f"  {scoring}  the model: artquant score IMAGE --model {scoring}, or describe")


def _report(model: Path, data: Path, results: Path) -> None:
    from artquant.cli import demo_report

    finish()
    demo_report.report(data, model, results / "predictions.jsonl", results / "evaluation")


def _start(arguments: argparse.Namespace, name: str, data: Path) -> tuple[Path, Path]:
    """The model that training starts from, and the configuration."""
    if arguments.network is not None:
        shape, config = demo_config(f"{arguments.network}_model.yaml"), demo_config(f"{arguments.network}.yaml")
        if not (shape.is_file() and config.is_file()):
            raise ArtQuantError(f"--network {arguments.network}: no {shape.name} or {config.name}; see configs/demo")
        base = Path("ModelZoo") / name
        if not (base / "config.json").is_file():
            texts = f"texts=[{data}/meta/descriptions_level_3.json, {data}/meta/score.json]"
            step(arguments.quiet, "init-model", "--config", shape, "--out", base, f"seed={arguments.seed}", texts)
        return base, config
    if arguments.from_scratch:
        base = Path("ModelZoo") / f"{name}-from-scratch"
        few = ["stages.captions.max_steps=4"] if arguments.short else []
        _make_base(base, 60 if arguments.short else 40_000, few, arguments.quiet)
        return base, demo_config("demo.yaml")
    return start_model(), demo_config("demo.yaml")


def start_model() -> Path:
    """The base that comes with the repository, or with the package."""
    here = Path("ModelZoo") / "demo"
    return here if (here / "config.json").is_file() else _INSIDE / "base"


def _sets(stages: Sequence[StageConfig], data: Path) -> list[str]:
    """The data sets of stages, in another folder than the configuration's."""
    return [
        f"stages.{stage.name}.data.{place}.{key}={value}"
        for stage in stages
        for place, one in enumerate(stage.data)
        for key, value in (("records", f"{data}/meta/{one.records.name}"), ("images", f"{data}/images"))
    ]


def _make_base(out: Path, captions: int, more: Sequence[str], quiet: bool) -> None:
    """Draw pictures, let a drawn network learn to say what is there, and export it in bfloat16."""
    name = f"demo-base-{captions}"
    data, drawn = Path("dataset") / name, Path("ModelZoo") / f"demo-drawn-{captions}"
    size = ("--images", captions, "--seed", _BASE_SEED, "--test-fraction", 0.0075)
    step(quiet, "demo-data", "--out", data, *size)
    if not (drawn / "config.json").is_file():
        texts = ", ".join(f"{data}/meta/{file}.json" for file in ("descriptions_level_3", "captions", "score"))
        step(quiet, "init-model", "--config", demo_config("model.yaml"), "--out", drawn, f"texts=[{texts}]")
    settings = [f"run={name}", f"base={drawn}", f"infer.records={data}/meta/test.json", f"infer.images={data}/images"]
    config = demo_config("base.yaml")
    step(quiet, "train", "--config", config, *settings, *_sets(load_config(config).stages, data), *more)
    if not out.is_dir():
        model = Path("runs") / name / "captions" / "model"
        step(quiet, "export", model, "--to", "merged", "--dtype", "bfloat16", "--out", out)
        from artquant.cli import demo_report

        finish()
        demo_report.caption_report(data, out)

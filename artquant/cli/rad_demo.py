"""`artquant rad demo`: descriptions collected for drawn pictures, and trained on beside the built-in ones."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from artquant.cli.demo import CommandFailed, demo_config, start_model, step
from artquant.cli.terminal import say
from artquant.config.load import load_config
from artquant.config.schema import StageConfig
from artquant.errors import ArtQuantError

_SERVING = "serving on "


def run(arguments: argparse.Namespace) -> int:
    """Draw, collect, export, train both, compare."""
    try:
        _demo(arguments)
    except CommandFailed as failed:
        return failed.status
    return 0


def _demo(arguments: argparse.Namespace) -> None:
    started, quiet = time.monotonic(), arguments.quiet
    name = f"rad-demo-{arguments.images}" + f"-{arguments.seed}" * bool(arguments.seed)
    data, folder = Path("dataset") / name, Path("runs") / name
    drawing = ("--images", arguments.images, "--seed", arguments.seed, "--test-fraction", 0.1)
    step(quiet, "demo-data", "--out", data, *drawing)
    with _served(data, folder / "server.jsonl") as url:
        config = demo_config("rad.yaml")
        settings = [f"run={name}", f"source.records={data}/meta/score.json", f"source.images={data}/images"]
        settings += [f"seed={arguments.seed}", f"endpoints.local.url={url}"]
        step(quiet, "rad", "run", "--config", config, *settings)
    collected = folder / "collected"
    step(quiet, "rad", "export", "--config", config, *settings, "--out", collected)
    step(quiet, "rad", "report", "--config", config, *settings)
    sets = {"collected": collected, "built-in": data / "meta"}
    predictions = [_trained(arguments, f"{name}-{kind}", data, texts) for kind, texts in sets.items()]
    say("", "trained on the collected descriptions, then on the built-in ones; same pictures, scores and steps")
    named = [part for file in predictions for part in ("--predictions", file)]
    step(quiet, "eval", *named, "--truth", data / "meta" / "test.json")
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    short = " (--short: the figures above mean nothing)" * arguments.short
    say(f"\nDone in {minutes} min {seconds} s{short}. Look at")
    say(f"  {folder}/report.html  what came of it, in a browser")
    say(f"  {collected}  the descriptions, in parts and as a training file for each level")


@contextmanager
def _served(data: Path, log: Path) -> Iterator[str]:
    """The URL of a server that knows what was drawn, in a process of its own."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "artquant", "rad", "serve-demo", "--data", str(data), "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line.startswith(_SERVING):
                raise ArtQuantError(f"{data}: its server did not start; try it by itself: artquant rad serve-demo")
            yield line.removeprefix(_SERVING).split(";")[0]
        finally:
            server.terminate()


def _trained(arguments: argparse.Namespace, run: str, data: Path, texts: Path) -> Path:
    """Both stages of the demo's recipe on a set of descriptions; the predictions."""
    config = demo_config("demo.yaml")
    describing, scoring = load_config(config).stages
    settings = [f"run={run}", f"seed={arguments.seed}", f"base={start_model()}", f"infer.records={data}/meta/test.json"]
    settings += [f"infer.images={data}/images"]
    for stage in (describing, scoring):
        settings += [f"stages.{stage.name}.data=[{', '.join(_data(stage, data, texts))}]"]
    if arguments.short:
        settings += [f"stages.{stage.name}.max_steps=6" for stage in (describing, scoring)]
    step(arguments.quiet, "train", "--config", config, *settings)
    step(arguments.quiet, "infer", "--config", config, "--device", "cpu", *settings)
    return Path("runs") / run / "predictions.jsonl"


def _data(stage: StageConfig, data: Path, texts: Path) -> Iterator[str]:
    """A stage's data sets with other descriptions, in the recipe's shares; without captions, which nobody collects."""
    for one in stage.data:
        folder = texts if one.records.stem.startswith("descriptions") else data / "meta"
        records = folder / one.records.name
        if records.exists() and one.records.stem != "captions":
            images = f"images: {data}/images, attributes: {str(one.attributes).lower()}"
            yield f"{{records: {records}, {images}, weight: {one.weight}}}"

"""Disturbs a run of the demo in every way that a cluster does, and compares what comes out with an undisturbed run.

    sh scripts/demo.sh --short                      # data
    python scripts/fault_test.py --kills 24 --out runs/faults

Both stages train on the short demo's pictures with a checkpoint every few steps. The run is killed with SIGKILL at
random moments (every third time as soon as a checkpoint is being written) and started again with the same command; then
the same with SIGTERM, with a limit on file sizes that a checkpoint runs into, and with a picture cut short. Prints a
table; exits with status 1 if losses or weights differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from artquant.config.load import load_config

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = "configs/demo/demo.yaml"
STAGES = ("descriptions", "scores")
MACHINE = ("images_per_second", "tokens_per_second", "peak_memory_gib", "seconds_left")
TIMES = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos", "train_loss")


@dataclass
class Case:
    """One way of disturbing a run, and what came of it."""

    name: str
    disturbed: int = 0
    while_writing: int = 0
    lost_steps: list[int] = field(default_factory=list)
    note: str = ""


def command(run: str, arguments: argparse.Namespace, extra: tuple[str, ...] = ()) -> list[str]:
    """`artquant train` on the short demo's data."""
    data, steps = arguments.data, arguments.steps
    settings = [f"run={run}", f"output={arguments.out}", f"base={arguments.base}"]
    for one in load_config(REPOSITORY / CONFIG).stages:
        for place, part in enumerate(one.data):
            here = f"stages.{one.name}.data.{place}"
            settings += [f"{here}.records={data}/meta/{part.records.name}", f"{here}.images={data}/images"]
    for stage in STAGES:
        settings += [f"stages.{stage}.{key}" for key in (f"max_steps={steps}", "save_steps=3", "log_steps=1")]
        settings += [f"stages.{stage}.batch_size=8"]
    return [sys.executable, "-m", "artquant", "--quiet", "train", "--config", CONFIG, *settings, *extra]


def start(run: str, arguments: argparse.Namespace, extra: tuple[str, ...] = (), largest_file: int | None = None):
    """Start training; `largest_file` bytes is what the process may write into one file."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(run, arguments, extra),
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=None if largest_file is None else limit,
    )


def finish(run: str, arguments: argparse.Namespace, extra: tuple[str, ...] = ()) -> None:
    """Train to the end."""
    process = start(run, arguments, extra)
    error = process.communicate()[1]
    if process.returncode:
        raise SystemExit(f"{run}: status {process.returncode}: {error[-2000:]}")


def steps_done(folder: Path) -> int:
    """Lines of the histories so far: steps that were logged."""
    files = [folder / stage / "history.jsonl" for stage in STAGES]
    return sum(len(file.read_text().splitlines()) for file in files if file.is_file())


def being_written(folder: Path) -> bool:
    """Whether a checkpoint or a model is being written at this moment."""
    partial = [folder / stage / "checkpoints" / ".partial" for stage in STAGES]
    return any(path.is_dir() and any(path.iterdir()) for path in partial) or any(folder.glob("*/.model.partial"))


def outcome(folder: Path) -> tuple[list, dict[str, str]]:
    """Everything logged but speeds, and the hash of every weights file."""
    history = []
    for stage in STAGES:
        for line in (folder / stage / "history.jsonl").read_text().splitlines():
            history.append({k: v for k, v in json.loads(line).items() if k not in (*MACHINE, *TIMES)})
    weights = {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.glob("*/model/**/*.safetensors"))
    }
    return history, weights


def kill_often(case: Case, run: str, arguments: argparse.Namespace, draw: random.Random) -> None:
    """SIGKILL, again and again, at random moments; every third while something is being written."""
    folder = arguments.out / run
    while case.disturbed < arguments.kills:
        process = start(run, arguments)
        wanted_writing = case.disturbed % 3 == 2
        before = steps_done(folder)
        patience = draw.uniform(0.2, 6.0)
        deadline = None
        while process.poll() is None:
            if deadline is None and steps_done(folder) != before:
                deadline = time.monotonic() + patience  # the moment counts from the first new step
            if (wanted_writing and deadline and being_written(folder)) or (
                not wanted_writing and deadline and time.monotonic() > deadline
            ):
                break
            time.sleep(0.002)
        if process.poll() is not None:
            if process.returncode:
                raise SystemExit(f"{run}: status {process.returncode}: {process.stderr.read()[-2000:]}")
            shutil.rmtree(folder)  # it was done before all kills were spent: another round from the beginning
            continue
        process.send_signal(signal.SIGKILL)
        process.communicate()
        case.disturbed += 1
        case.while_writing += being_written(folder)
    finish(run, arguments)


def stop_often(case: Case, run: str, arguments: argparse.Namespace, draw: random.Random) -> None:
    """SIGTERM at random moments: a checkpoint, status 143, and no step lost."""
    folder = arguments.out / run
    for _ in range(arguments.stops):
        process = start(run, arguments)
        before = steps_done(folder)
        while process.poll() is None and steps_done(folder) == before:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.1, 1.5))
        process.send_signal(signal.SIGTERM)
        error = process.communicate()[1]
        if process.returncode == 0:
            break
        if process.returncode != 143:
            raise SystemExit(f"{run}: status {process.returncode} on SIGTERM: {error[-2000:]}")
        case.disturbed += 1
    finish(run, arguments)


def fill_disk(case: Case, run: str, arguments: argparse.Namespace, draw: random.Random) -> None:
    """No file may grow beyond a size that weights stay below and the optimizer's state does not."""
    sizes = sorted(file.stat().st_size for file in (arguments.out / "undisturbed").rglob("checkpoint-*/*.*"))
    process = start(run, arguments, largest_file=(sizes[-1] + sizes[-1] // 2) // 2)
    error = process.communicate()[1]
    if process.returncode != 2 or "could not be written" not in error:
        raise SystemExit(f"{run}: status {process.returncode} on a full disk: {error[-2000:]}")
    case.disturbed = 1
    case.note = "status 2, names the last whole checkpoint"
    finish(run, arguments)


def cut_a_picture(case: Case, run: str, arguments: argparse.Namespace, draw: random.Random) -> None:
    """A picture that is cut short stops the run; put back, the same command goes on."""
    records = json.loads((arguments.data / "meta" / "score.json").read_text())
    picture = arguments.data / "images" / draw.choice(records)["image"]
    whole = picture.read_bytes()
    try:
        picture.write_bytes(whole[: len(whole) // 2])
        process = start(run, arguments)
        error = process.communicate()[1]
    finally:
        picture.write_bytes(whole)
    if process.returncode != 2 or picture.name not in error:
        raise SystemExit(f"{run}: status {process.returncode} on a damaged picture: {error[-2000:]}")
    case.disturbed = 1
    case.note = "status 2, names picture and record"
    finish(run, arguments)


def skip_a_picture(case: Case, run: str, arguments: argparse.Namespace, draw: random.Random) -> bool:
    """With `unreadable: skip` the run goes on without it, says so and lists it."""
    records = json.loads((arguments.data / "meta" / "score.json").read_text())
    picture = arguments.data / "images" / draw.choice(records)["image"]
    whole = picture.read_bytes()
    try:
        picture.write_bytes(whole[: len(whole) // 2])
        finish(run, arguments, tuple(f"stages.{stage}.unreadable=skip" for stage in STAGES))
    finally:
        picture.write_bytes(whole)
    listed = [arguments.out / run / stage / "skipped.jsonl" for stage in STAGES]
    case.disturbed = 1
    case.note = "goes on without it, lists it"
    return all(file.is_file() and picture.name in file.read_text() for file in listed)


def main() -> int:
    """Run every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/faults"), help="folder of the runs (emptied)")
    parser.add_argument("--data", type=Path, default=Path("dataset/demo-short"))
    parser.add_argument("--base", type=Path, default=Path("ModelZoo/demo"))
    parser.add_argument("--steps", type=int, default=60, help="of each stage")
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--stops", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out, ignore_errors=True)
    draw = random.Random(arguments.seed)
    finish("undisturbed", arguments)
    expected = outcome(arguments.out / "undisturbed")
    print(f"two stages of {arguments.steps} steps, a checkpoint every 3; seed {arguments.seed}\n")
    print("| disturbance | times | of them while writing | losses | weights | |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    same = True
    ways = {
        "SIGKILL, then the same command": kill_often,
        "SIGTERM, then the same command": stop_often,
        "disk full at a checkpoint, then the same command": fill_disk,
        "a picture cut short, then mended and the same command": cut_a_picture,
    }
    for number, (name, disturb) in enumerate(ways.items()):
        case, run = Case(name), f"disturbed-{number}"
        disturb(case, run, arguments, draw)
        history, weights = outcome(arguments.out / run)
        figures = [
            "identical" if got == want else "DIFFERENT" for got, want in zip((history, weights), expected, strict=True)
        ]
        same = same and "DIFFERENT" not in figures
        writing = case.while_writing if disturb is kill_often else ""
        print(f"| {name} | {case.disturbed} | {writing} | {' | '.join(figures)} | {case.note} |", flush=True)
    case = Case("a picture cut short, with `unreadable: skip`")
    listed = skip_a_picture(case, "skipping", arguments, draw)
    print(f"| {case.name} | 1 | | - | - | {case.note if listed else 'NOT LISTED'} |", flush=True)
    return 0 if same and listed else 1


if __name__ == "__main__":
    sys.exit(main())

"""Attacks on running commands: two at once; and every file of a model folder in turn."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from pathlib import Path

from . import bench, inputs, systems
from .bench import Around
from .ground import Ground
from .interrupted import COMMANDS, LIMIT, lines, says_who, undisturbed
from .judge import Case, judge


def races(ground: Ground, number: int, seed: int) -> int:
    """Two of one command on one output at once: one works, the other works after it or says why not; the faults."""
    faults = 0
    for index in range(number):
        draw = random.Random(f"{seed}/races/{index}")
        name = COMMANDS[index % len(COMMANDS)]
        wanted, folder = undisturbed(ground, name), Path(tempfile.mkdtemp(prefix="attack-"))
        first = bench.start(lines(ground, folder)[name], Around(limit=LIMIT))
        time.sleep(draw.choice((0.0, draw.uniform(0, 0.3))))
        second = bench.start(lines(ground, folder)[name], Around(limit=LIMIT))
        both = (first.wait(), second.wait())
        statuses = sorted(one.status for one in both)
        same = systems.tree(folder / systems.OUT[name]) == wanted
        if not same or statuses[0] != 0 or not (statuses[1] == 0 or any(map(says_who, both))):
            faults += 1
            said = " / ".join(one.error.strip()[-120:] for one in both)
            print(
                f"RACES {index} {name}: statuses {statuses}, result {'' if same else 'not '}right: {said}", flush=True
            )
        systems.clean(folder)
    print(f"\n{number} races: {faults} faults")
    return faults


def one_byte(ground: Ground) -> int:
    """Each file of each model folder removed, cut in half, or changed in its middle byte; the faults."""
    faults, picture = 0, ground.pictures[0]
    print("\n| file | removed | cut | one byte changed |\n| --- | --- | --- | --- |")
    for name, model in ground.models.items():
        expected = ground.scores[picture.name if name == "whole" else f"adapter/{picture.name}"]
        for file in [file for file in sorted(model.rglob("*")) if file.is_file()]:
            verdicts = []
            for way in ("removed", "cut", "changed"):
                folder = Path(tempfile.mkdtemp(prefix="attack-"))
                shutil.copytree(model, folder / "model")
                _damage(folder / "model" / file.relative_to(model), way)
                verdicts.append(_verdict(ground, folder / "model", file, picture, expected))
                systems.clean(folder)
            print(f"| {name}/{file.relative_to(model)} | {' | '.join(verdicts)} |", flush=True)
            faults += sum(verdict not in ("right", "clear", "found") for verdict in verdicts)
    print(f"\none byte: {faults} faults")
    return faults


def _damage(file: Path, way: str) -> None:
    data = file.read_bytes()
    middle = len(data) // 2
    if way == "removed":
        file.unlink()
    elif way == "cut":
        file.write_bytes(data[:middle])
    else:
        file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])


def _verdict(ground: Ground, model: Path, file: Path, picture: Path, expected: float) -> str:
    arguments = ["--quiet", "score", str(picture), "--model", str(model), "--json", "--device", "cpu"]
    case = Case(
        "", arguments, (str(model), file.name), inputs.scored(expected), found=inputs.found_by_check(ground, model)
    )
    return judge(case, bench.run(arguments))[0]

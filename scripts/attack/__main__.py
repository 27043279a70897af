"""Attacks the command line by seeds, and counts what comes of it. docs/reliability.md says what each kind promises.

python -m scripts.attack 3000 --seed 0                   # cases of every kind; a table at the end
python -m scripts.attack --only pictures:17 --seed 0     # one of them again, with all that it said
python -m scripts.attack 0 --kills 100 --stops 20 --races 50 --one-byte
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from . import bench, commands, disturbed, ground, inputs, interrupted, systems
from .judge import FAULTS, VERDICTS, Case, judge

Kind = Callable[[random.Random, ground.Ground, Path], Case]
KINDS: dict[str, Kind] = {
    "pictures": inputs.pictures,
    "models": inputs.models,
    "records": inputs.records,
    "configurations": commands.configurations,
    "commands": commands.commands,
    "systems": systems.systems,
}


def attack(kind: str, number: int, seed: int, made: ground.Ground, show: bool = False) -> tuple[str, str]:
    """Run one case; the verdict, and a line on it."""
    folder = Path(tempfile.mkdtemp(prefix="attack-"))
    folder.chmod(0o755)
    try:
        case = KINDS[kind](random.Random(f"{seed}/{kind}/{number}"), made, folder)
        outcome = bench.run(case.arguments, case.around)
        verdict, why = judge(case, outcome)
        if any(folder.rglob("executed")):
            verdict, why = "executed", "a file of the attack's was made"
        if show:
            print(shlex.join(os.fsdecode(part) for part in case.arguments).encode("utf-8", "backslashreplace").decode())
            print(f"status {outcome.status} after {outcome.seconds:.1f} s\n{outcome.output}\n{outcome.error}")
        return verdict, f"{kind}:{number} {case.what[:160]}: {why[:240]}"
    finally:
        systems.clean(folder)


def run_kinds(arguments: argparse.Namespace, made: ground.Ground) -> int:
    """All cases of all kinds in turn, and the table; the number of faults."""
    kinds = arguments.kinds or list(KINDS)
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    started = time.monotonic()
    for number in range(arguments.start, arguments.start + arguments.cases):
        kind = kinds[number % len(kinds)]
        verdict, line = attack(kind, number // len(kinds), arguments.seed, made)
        counts[kind][verdict] += 1
        if verdict in FAULTS:
            print(f"{verdict.upper()} {line}".encode("utf-8", "backslashreplace").decode(), flush=True)
    print(f"\n{arguments.cases} cases, seed {arguments.seed}, {time.monotonic() - started:.0f} s\n")
    print(f"| attacked | cases | {' | '.join(VERDICTS)} |\n|{' --- |' * (len(VERDICTS) + 2)}")
    for kind, count in [*counts.items(), ("in all", sum(counts.values(), Counter()))]:
        print(f"| {kind} | {count.total()} | {' | '.join(str(count[verdict]) for verdict in VERDICTS)} |")
    return sum(count[fault] for count in counts.values() for fault in FAULTS)


def main() -> int:
    """Run what is asked for; status 1 if there are faults."""
    parser = argparse.ArgumentParser(prog="python -m scripts.attack", description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="?", type=int, default=0, help="how many, of all kinds together")
    parser.add_argument(
        "--start", type=int, default=0, metavar="N", help="of these cases the first, to run them in parts"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), help="only these")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="this case alone, with all that it says")
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="kills of writing commands")
    parser.add_argument(
        "--stops", type=int, default=0, metavar="N", help="training that is stopped, or meets a full disk"
    )
    parser.add_argument("--races", type=int, default=0, metavar="N", help="two of everything at once")
    parser.add_argument("--one-byte", action="store_true", help="each file of a model folder removed, cut, changed")
    parser.add_argument("--ground", type=Path, metavar="DIR", help="keep what is attacked here (default: made anew)")
    arguments = parser.parse_args()
    bench.warm_up()
    with tempfile.TemporaryDirectory(prefix="attack-ground-") as new:
        Path(new).chmod(0o755)
        made = ground.make(arguments.ground or Path(new) / "ground")
        if arguments.only:
            kind, _, number = arguments.only.partition(":")
            verdict, line = attack(kind, int(number), arguments.seed, made, show=True)
            print(f"{verdict.upper()} {line}".encode("utf-8", "backslashreplace").decode())
            return int(verdict in FAULTS)
        faults = run_kinds(arguments, made) if arguments.cases else 0
        faults += interrupted.kills(made, arguments.kills, arguments.seed) if arguments.kills else 0
        faults += interrupted.stops(made, arguments.stops, arguments.seed) if arguments.stops else 0
        faults += disturbed.races(made, arguments.races, arguments.seed) if arguments.races else 0
        faults += disturbed.one_byte(made) if arguments.one_byte else 0
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())

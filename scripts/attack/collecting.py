"""Collecting from a server that misbehaves, killed again and again; what the server's log and the store say after it.

python -m scripts.attack.collecting --pictures 2000 --faults 0.05 --kills 10 --ground DIR
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "demo" / "rad.yaml"
IN_FLIGHT = 16  # of that configuration
USABLE = ("answered", "wrong_marks")  # outcomes with an answer that comes whole, in time and in form
OUTCOMES = {*USABLE, "broken_json", "refused_429", "error_5xx", "slow", "dropped", "cut_off"}
ARTQUANT = (sys.executable, "-m", "artquant")


def serve(folder: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """The demo's server over a folder's pictures, and its URL."""
    command = [*ARTQUANT, "rad", "serve-demo", "--data", "dataset/demo", "--log", "server.jsonl", *options]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("serving on "), line
    return server, line.split()[2].rstrip(";")


def collect(folder: Path, url: str, kills: int, longest: float, draw: random.Random) -> list[float]:
    """Run to the end, killed so many times; the seconds after which it was."""
    command = [
        *ARTQUANT,
        "--quiet",
        "rad",
        "run",
        str(CONFIG),
        f"endpoints.local.url={url}",
        "endpoints.local.timeout=3",
    ]
    struck: list[float] = []
    while True:
        run = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        after = draw.uniform(1.5, longest) if len(struck) < kills else None
        try:
            status = run.wait(after)
        except subprocess.TimeoutExpired:
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
            struck.append(round(after or 0.0, 1))
            continue
        assert status == 0, f"status {status}"
        return struck


def judged(folder: Path, kills: int) -> list[str]:
    """What is wrong with a finished collection, measured by the server's log; prints the figures."""
    log = [json.loads(line) for line in (folder / "server.jsonl").read_text(encoding="utf-8").splitlines()]
    store = sqlite3.connect(folder / "runs" / "rad-demo" / "rad.sqlite")
    outcomes = Counter(line["outcome"] for line in log)
    states = dict(store.execute("SELECT state, COUNT(*) FROM picture GROUP BY state"))
    [(calls, attempts, answered, tokens)] = store.execute(
        "SELECT COUNT(*), SUM(attempts), SUM(state = 'answered'), SUM(input + output) FROM call"
    )
    usable = Counter((line["asked"], line.get("picture")) for line in log if line["outcome"] in USABLE)
    twice = sum(count - 1 for count in usable.values())
    served = sum(line.get("input", 0) + line.get("output", 0) for line in log if line["outcome"] in USABLE)
    print(f"server: {len(log):,} requests: {dict(outcomes)}")
    print(f"store: {states}; {calls:,} calls, {attempts:,} attempts, {answered:,} answered, {tokens:,} tokens")
    print(f"usable answers given twice: {twice} (at most {kills * IN_FLIGHT}); tokens of usable answers: {served:,}")
    lost = attempts - len(log)
    faults = [
        (states.get("waiting", 0) != 0, "pictures still wait"),
        (store.execute("PRAGMA integrity_check").fetchone() != ("ok",), "the store is damaged"),
        (twice > kills * IN_FLIGHT, "more calls were made twice than can have been in flight"),
        (not 0 <= lost <= kills * IN_FLIGHT, f"{lost} attempts that the server does not know"),
        (not set(outcomes) <= OUTCOMES, "the server refused requests"),
        (not served <= tokens, f"{tokens:,} tokens are counted, fewer than were served"),
    ]
    return [what for wrong, what in faults if wrong]


def main() -> int:
    """Run it; status 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--faults", type=float, default=0.05, help="share of each kind")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--longest", type=float, default=20.0, help="seconds that a run may go before it is killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ground", type=Path, help="folder (kept); default: a temporary one")
    arguments = parser.parse_args()
    folder = arguments.ground or Path(tempfile.mkdtemp(prefix="collecting-"))
    folder.mkdir(parents=True, exist_ok=True)
    drawn = ("--images", str(arguments.pictures + 2), "--test-fraction", "0.001", "--out", "dataset/demo")
    subprocess.run([*ARTQUANT, "--quiet", "demo-data", *drawn], cwd=folder, check=True)
    faults = ("--faults", str(arguments.faults), "--slow-seconds", "4", "--seed", str(arguments.seed))
    server, url = serve(folder, *faults)
    started = time.monotonic()
    try:
        struck = collect(folder, url, arguments.kills, arguments.longest, random.Random(arguments.seed))
    finally:
        server.terminate()
        server.wait()
    print(f"killed {len(struck)} times, after {struck} s; {time.monotonic() - started:.0f} s in all")
    wrong = judged(folder, len(struck))
    print("\n".join(wrong) or "nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""The attack script finds what it is to find, and a case is the same again."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    return tmp_path_factory.mktemp("attack") / "ground"


def attack(ground: Path, *arguments: object) -> str:
    command = [sys.executable, "-m", "scripts.attack", "--ground", str(ground), *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_sixty_cases_and_one_of_them_again(ground):
    said = attack(ground, 60, "--seed", 3, "--kinds", "pictures", "models", "records", "commands")
    [cells] = re.findall(r"^\| in all \| (.*) \|$", said, re.MULTILINE)
    cases, right, clear, _, _, unclear, traceback, _, silent, damaged, executed = map(int, cells.split(" | "))
    assert cases == 60 and right >= 5 and clear >= 5
    assert (unclear, traceback, silent, damaged, executed) == (0,) * 5, said  # a hang may be the machine's
    verdict = attack(ground, "--seed", 3, "--only", "pictures:0").splitlines()[-1]
    assert re.match(r"(RIGHT|CLEAR|OTHER|[A-Z]+) pictures:0 ", verdict)
    faulty = re.search(r"^[A-Z]+ pictures:0 ", said, re.MULTILINE)
    assert (faulty is None) == verdict.startswith(("RIGHT", "CLEAR", "OTHER"))

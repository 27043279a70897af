"""The walk through the house names files and things that are there."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "artquant"
PAGE = (REPOSITORY / "docs" / "walk.md").read_text(encoding="utf-8")
ELSEWHERE = {"artquant/", "predictions.jsonl", "input_ids", "attention_mask"}  # a folder, a run's file, tensors
FILE, NAME = r"`([\w/]+\.py)`", r"`(\w+)`"


def defined(file: Path) -> set[str]:
    """Classes, functions, and fields with a type."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    named = {node.name for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    return named | {
        node.target.id for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and hasattr(node.target, "id")
    }


@pytest.fixture(scope="module")
def names() -> dict[str, set[str]]:
    return {file.relative_to(PACKAGE).as_posix(): defined(file) for file in PACKAGE.rglob("*.py")}


def test_everything_in_backticks_is_there(names):
    everywhere = set().union(*names.values())
    mentioned = set(re.findall(r"`([^`]+)`", PAGE)) - ELSEWHERE
    assert {name for name in mentioned if name not in names and name not in everywhere} == set()
    assert len(mentioned) > 40


def test_steps_name_what_their_file_defines(names):
    rows = re.findall(r"^\| \d+ \|.*\|$", PAGE, re.M)
    assert len(rows) == 20
    for row in rows:
        where = row.split("|")[-2]
        pairs = re.findall(f"{FILE} {NAME}", where)
        assert pairs and all(name in names[file] for file, name in pairs), row


def test_the_house_shows_every_room():
    tree = (REPOSITORY / "docs" / "house.md").read_text(encoding="utf-8").split("```")[1]
    shown = set(re.findall(r"^  (\w+)(?:/|\.py) ", tree, re.M))
    inside = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert shown == {name for name in inside if not name.startswith("__")}


def test_at_most_ten_steps_each():
    for part in PAGE.split("\n## ")[1:]:
        assert 1 <= len(re.findall(r"^\| \d+ \|", part, re.M)) <= 10

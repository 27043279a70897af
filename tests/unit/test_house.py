"""The house: imports run one way, files and functions stay short, families and readouts are named at home."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artquant.texts.prompt import PROMPTS

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "artquant"
FILES = sorted(PACKAGE.rglob("*.py"))
HELPERS = sorted([*(REPOSITORY / "scripts").rglob("*.py"), *(REPOSITORY / "tests").rglob("*.py")])

# From the ground up: a room imports only rooms named before it, in functions and for types too.
ROOMS = (
    *("errors", "files", "labels", "config", "data", "texts", "pages", "listing", "readouts", "models", "batches"),
    *("evaluate", "compare", "infer", "shards", "hub_folders", "check", "prepare", "demo", "rad", "report", "train"),
    *("plan", "reward", "serve", "cli"),
)
MOST_LINES = 400  # of a file
LONGEST_FUNCTION = 60  # lines

# Of one backbone: may stand in its folder and in the table of families.
FAMILY_NAMES = ("mplug", "internvl", "llava", "gemma", "idefics", "smolvlm", "ovis", "qwen", "paligemma")
FAMILIES = PACKAGE / "models" / "families.py"
# Of readouts: may stand in their room.
READOUT_NAMES = (*("ratinglevels", "rating_levels", "scoretokens", "score_tokens", "valuetokens", "value_tokens"),)
# Of the scale: may stand where it is made, and where texts are made or searched with it.
RATING_WORDS = ("excellent", "good", "fair", "poor", "bad")
WORD_ROOMS = ("labels", "prepare", "demo")


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and room of every import from the package."""
    for node in ast.walk(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        for module in modules:
            package, _, rest = module.partition(".")
            if package == "artquant" and rest.split(".")[0] in ROOMS:
                yield node.lineno, rest.split(".")[0]


def names(tree: ast.Module, texts_only: bool = False) -> Iterator[tuple[int, str]]:
    """Line and text of every name, module, keyword and text in code; docstrings and comments are no code."""
    explaining = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None
        if isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        found: list[str] = []
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explaining:
            found = [node.value]
        elif texts_only:
            continue
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found = [alias.name for alias in node.names] + [str(getattr(node, "module", ""))]
        else:
            found = [str(getattr(node, field)) for field in ("id", "attr", "name", "arg") if hasattr(node, field)]
        for name in found:
            yield getattr(node, "lineno", 0), name


def strangers(files: list[Path], is_strange: Callable[[str], bool], texts_only: bool = False) -> list[str]:
    """Where strange names stand in files."""
    return [
        f"{file.relative_to(REPOSITORY)} line {line}: {name[:60]!r}"
        for file in files
        for line, name in names(tree_of(file), texts_only)
        if is_strange(name.lower())
    ]


def test_every_room_is_in_the_order():
    assert {room_of(file) for file in FILES} - {"__init__", "__main__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_no_import_runs_upwards(room):
    allowed = ROOMS[: ROOMS.index(room) + 1]
    upwards = [
        f"{file.relative_to(REPOSITORY)} line {line} imports {other}"
        for file in FILES
        if room_of(file) == room
        for line, other in imported(tree_of(file))
        if other not in allowed
    ]
    assert upwards == []


@pytest.mark.parametrize("file", [*FILES, *HELPERS], ids=lambda file: file.relative_to(REPOSITORY).as_posix())
def test_files_and_functions_are_short(file):
    lines = file.read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES, f"{lines} lines"
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(tree_of(file))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if node.end_lineno - node.lineno >= LONGEST_FUNCTION
    }
    assert long == {}


def test_families_are_named_at_home():
    folders = {folder.name for folder in (PACKAGE / "models").iterdir() if folder.is_dir()}
    away = [file for file in FILES if file != FAMILIES and not folders & set(file.relative_to(PACKAGE).parts[1:2])]
    said = PROMPTS["artimuse"].system.lower()  # a sentence that models are told names one
    assert strangers(away, lambda name: name != said and any(word in name for word in FAMILY_NAMES)) == []


def test_readouts_are_named_at_home():
    away = [file for file in FILES if room_of(file) != "readouts"]
    assert strangers(away, lambda name: any(word in name for word in READOUT_NAMES)) == []


def test_rating_words_are_named_at_home():
    away = [file for file in FILES if room_of(file) not in WORD_ROOMS]
    assert strangers(away, lambda name: name in RATING_WORDS, texts_only=True) == []

"""Every command of the pages is run beside a demo's model and data: it works, or one line names what is not at hand."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from cards import unlisted
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
PAGES += [REPOSITORY / folder / "README.md" for folder in ("dataset", "ModelZoo", "configs")]
SCRIPTS = {"train.sh": "train", "infer.sh": "infer", "eval.sh": "eval"}
DONE = (  # beginnings of commands for which everything is at hand
    "artquant score a.jpg b.jpg --model runs/demo",
    "artquant describe a.jpg --model runs/demo",
    "artquant prepare generic scores.csv",
)
ABSENT = re.compile(
    "no such|[Nn]ot there|No such file|not a model folder|not to be had|this machine has|too few to know"
)


def blocks(page: Path, language: str = "") -> list[str]:
    """Fenced blocks of a language."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    return [text for named, text in fences if named == language]


def commands() -> list[tuple[str, str]]:
    """Page and command, each command once."""
    found = {}
    for page in PAGES:
        rows = re.findall(r"`(artquant prepare [^`]*)`", page.read_text(encoding="utf-8"))
        lines = [line for block in blocks(page) for line in block.splitlines()]
        for line in lines + (rows if page.parent.name == "dataset" else []):
            if re.match(r"artquant [a-z]|sh (train|infer|eval)\.sh .*yaml", line):
                found.setdefault(line.split("  #")[0].strip(), page.relative_to(REPOSITORY).as_posix())
    return [(page, command) for command, page in found.items()]


@pytest.fixture(scope="module")
def workplace(lab, two_stages, tmp_path_factory):
    """A folder in which the demo has run, with some pictures and a table of scores."""
    place = tmp_path_factory.mktemp("workplace")
    (place / "configs").symlink_to(REPOSITORY / "configs")
    model = shutil.copytree(two_stages / "scores" / "model", place / "runs" / "demo" / "scores" / "model")
    unlisted(model, attributes=["Color"])  # as the demo's
    (place / "dataset").mkdir()
    (place / "dataset" / "demo").symlink_to(lab.data)
    for name in ("a.jpg", "b.jpg", "painting.jpg"):
        Image.open(lab.images / "00000.png").convert("RGB").save(place / name)
    (place / "scores.csv").write_text("image,score\na.jpg,4.5\nb.jpg,2.25\n", encoding="utf-8")
    return place


def test_there_are_commands_to_run():
    assert len(commands()) > 30
    for start in DONE:
        assert any(command.startswith(start) for _, command in commands()), start


@pytest.mark.parametrize(("page", "command"), commands())
def test_command(lab, workplace, monkeypatch, capsys, page, command):
    monkeypatch.chdir(workplace)
    program, *arguments = shlex.split(command)
    if program == "sh":
        script, *arguments = arguments
        arguments = [SCRIPTS[script], *(argument for argument in arguments if argument not in ("0", "cpu"))]
    status = lab.artquant("--quiet", *arguments)
    said = capsys.readouterr()
    if status == 0 or command.startswith(DONE):
        assert status == 0, said.err
    elif arguments[0] == "check":
        assert status == 1 and ABSENT.search(said.out)
    else:
        [line] = said.err.splitlines()
        assert status == 2 and ABSENT.search(line), line


@pytest.mark.parametrize("page", ["README.md", "docs/using.md"])
def test_python(workplace, monkeypatch, capsys, page):
    monkeypatch.chdir(workplace)
    [code] = blocks(REPOSITORY / page, "python")
    exec(compile(code, page, "exec"), {})
    assert "tensor([" in capsys.readouterr().out


def test_the_configuration_for_own_data(lab, tmp_path):
    [text] = blocks(REPOSITORY / "configs" / "README.md", "yaml")
    for name, file in (("meta/score.json", lab.records("score")), ("meta/test.json", lab.records("test"))):
        text = text.replace(f"dataset/MINE/{name}", str(file))
    text = text.replace("dataset/MINE/images", str(lab.images)).replace("ModelZoo/demo", str(lab.base))
    (tmp_path / "mine.yaml").write_text(f"{text}output: {tmp_path / 'runs'}\n", encoding="utf-8")
    assert lab.artquant("--quiet", "train", tmp_path / "mine.yaml", "stages.scores.max_steps=1") == 0
    assert lab.artquant("--quiet", "infer", tmp_path / "mine.yaml") == 0


def test_every_link_leads_somewhere():
    for page in [*PAGES, REPOSITORY / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page}: {target}"


def test_the_readme_is_short_and_shows_pictures():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert sum(any(map(str.isalnum, word)) for word in text.split()) <= 1000  # bars of tables and fences are no words
    assert text.count("![") >= 2

"""The page about new readouts and backbones: its code, laid into a copy of the package, works with everything else."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "extending.md"
MOST_LINES = {"artquant/readouts/regression.py": 120, "artquant/models/clipcap.py": 250}
REGISTRIES = ("artquant/readouts/__init__.py", "artquant/models/families.py")
TINY = {
    "model_type": "clipcap",
    "vocabulary_size": 800,
    "image_size": 28,
    "hidden": 32,
    "layers": 1,
    "prefix_length": 4,
}
TERMS = {  # readouts, and a term of each that is computed where nothing is said
    "regression": "score_nll",
    "rating_levels": "score_distribution",
    "score_tokens": "score_l1",
}
PAIRS = (("regression", "mplug_owl2"), *((readout, "clipcap") for readout in TERMS))
LORA = {"lora": {"r": 4, "alpha": 8.0, "dropout": 0.0}}

# A process with the copied package: a command's arguments a line in, its status, output and errors a line out.
SERVER = """
import contextlib, io, json, sys
from artquant.cli import main
answers = sys.stdout
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(json.loads(line))
    print(json.dumps([status, out.getvalue(), err.getvalue()]), file=answers, flush=True)
"""


def blocks(language: str) -> dict[str, str]:
    """The page's fenced blocks of a language whose first line names a file, by that; without that line for diffs."""
    found = re.findall(rf"^```{language}\n# (artquant/\S+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(dict(found)) == len(found)
    return dict(found)


def changed(text: str, diff: str) -> str:
    """A text with the hunks of a diff applied, each exactly once."""
    for hunk in filter(None, diff.split("@@\n")):
        lines = hunk.splitlines()
        before = "".join(f"{line[1:]}\n" for line in lines if line[0] != "+")
        after = "".join(f"{line[1:]}\n" for line in lines if line[0] != "-")
        assert text.count(before) == 1, f"the page changes what is not there: {before}"
        text = text.replace(before, after)
    return text


@dataclass(frozen=True)
class House:
    """The copy of the package with what the page adds, and a process that has it."""

    folder: Path
    process: subprocess.Popen

    def run(self, *arguments) -> str:
        """`artquant ARGUMENTS` with the copied package; its output. It must end with status 0."""
        status, out, err = self.tried(*arguments)
        assert status == 0, err
        return out

    def tried(self, *arguments) -> tuple[int, str, str]:
        """Status, output and errors."""
        self.process.stdin.write(json.dumps(["--quiet", *map(str, arguments)]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def scores(self, model: Path, pictures: list[Path]) -> list[float]:
        lines = self.run("score", *pictures, "--model", model, "--json").splitlines()
        return [json.loads(line)["score"] for line in lines]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(REPOSITORY / "artquant", folder / "artquant", ignore=shutil.ignore_patterns("__pycache__"))
    for name, code in blocks("python").items():
        assert not (folder / name).exists()
        (folder / name).write_text(f"# {name}\n{code}", encoding="utf-8")
    for name, diff in blocks("diff").items():
        file = folder / name
        file.write_text(changed(file.read_text(encoding="utf-8"), diff), encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", SERVER]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL, **options) as process:
        yield House(folder, process)
        process.stdin.close()


def test_nothing_else_is_touched(house):
    added = {"artquant/__init__.py": 0} | dict.fromkeys(MOST_LINES, 0)
    for file in sorted((house.folder / "artquant").rglob("*.py")):
        name = file.relative_to(house.folder).as_posix()
        original = REPOSITORY / name
        if not original.exists():
            added[name] = file.read_text(encoding="utf-8").count("\n")
        elif name in REGISTRIES:
            old, new = (path.read_text(encoding="utf-8").splitlines() for path in (original, file))
            assert len(set(new) - set(old)) == 2  # the entry and its import
        else:
            assert file.read_bytes() == original.read_bytes(), name
    del added["artquant/__init__.py"]
    assert added.keys() == MOST_LINES.keys()
    assert all(0 < lines <= MOST_LINES[name] for name, lines in added.items()), added


def test_in_the_style_of_the_package(house):
    files = [str(house.folder / name) for name in (*MOST_LINES, *REGISTRIES)]
    for command in (("check",), ("format", "--diff")):
        options = ("--config", str(REPOSITORY / "pyproject.toml"))
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *options, *files], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def bases(lab, house) -> dict[str, Path]:
    """Base models by family."""
    config, out = house.folder / "model.yaml", house.folder / "clipcap"
    texts = [str(lab.records(name)) for name in ("descriptions_level_3", "score")]
    config.write_text(yaml.safe_dump({"texts": texts} | TINY), encoding="utf-8")
    assert "800 tokens" in house.run("init-model", "--config", config, "--out", out)
    return {"mplug_owl2": lab.base, "clipcap": out}


@pytest.mark.parametrize("trains", ["lora", "everything"])
@pytest.mark.parametrize(("readout", "family"), PAIRS)
def test_trains_scores_and_exports(lab, house, bases, tmp_path, readout, family, trains):
    trainable = {"trainable": LORA if trains == "lora" else lab.everything, "max_steps": 2, "save_steps": 1}
    stages = lab.descriptions(**trainable), lab.scores(**trainable)
    config = lab.write(tmp_path, *stages, base=str(bases[family]), readout={"kind": readout})
    assert "clipcap" not in house.run("plan", "--config", config, "--memory", "4GiB")
    report = json.loads(house.run("check", config, "--json", "--no-pictures"))
    assert not any("tokens" in reason for reason in report["not_checked"]), report["not_checked"]
    house.run("train", "--config", config)
    run = tmp_path / "runs" / "run"
    model, merged = run / "scores" / "model", tmp_path / "merged"
    assert f"loss_{TERMS[readout]}" in lab.history(run, "scores")[-1]
    assert (model / "readout_head.safetensors").is_file() == (readout == "regression")

    if trains == "everything":
        assert lab.moved(model, run / "descriptions" / "model")[1] == (lab.fixed if family == "mplug_owl2" else set())

    pictures = sorted(lab.images.iterdir())[:4]
    scores = house.scores(model, pictures)
    assert all(1 <= score <= 10 for score in scores) and len(set(scores)) == 4
    house.run("export", model, "--to", "merged", "--out", merged)
    assert house.scores(merged, pictures) == pytest.approx(scores, abs=1e-4)
    assert house.tried("export", model, "--to", "full", "--out", tmp_path / "full")[0] == 2  # no published form
    if (readout, trains) == ("regression", "everything"):
        status, out, err = house.tried("export", model, "--to", "hub", "--out", tmp_path / "hub")
        assert "tried with transformers alone" in out if family == "mplug_owl2" else status == 2 and "no code" in err
    house.run("infer", "--config", config)
    assert "SRCC" in house.run("eval", "--config", config, "--bootstrap", 0, "--no-plot")
    if readout == "regression":
        assert house.scores(run / "scores" / "checkpoints" / "checkpoint-2", pictures) == scores
        (merged / "readout_head.safetensors").unlink()
        assert "readout_head.safetensors is missing" in house.tried("score", pictures[0], "--model", merged)[2]
    described = house.run("describe", pictures[0], "--model", model, "--max-new-tokens", 4, "--json")
    assert json.loads(described)["description"]


def test_resumes(lab, house, bases, tmp_path):
    """Stopped after the first of two steps and started again, it ends where it would have."""
    settings = {"trainable": lab.everything, "max_steps": 2, "save_steps": 1}
    config = lab.write(tmp_path, lab.scores(**settings), base=str(bases["clipcap"]), readout={"kind": "regression"})
    house.run("train", "--config", config)
    stage, undisturbed = tmp_path / "runs" / "run" / "scores", tmp_path / "undisturbed"
    (stage / "model").rename(undisturbed)
    shutil.rmtree(stage / "checkpoints" / "checkpoint-2")
    house.run("train", "--config", config)
    for name in ("model.safetensors", "readout_head.safetensors"):
        assert (stage / "model" / name).read_bytes() == (undisturbed / name).read_bytes()
        assert lab.steps(stage.parent) == [1, 2]


def test_wrong_use(lab, house, bases, tmp_path):
    config = lab.write(tmp_path, lab.scores(max_steps=1), base=str(bases["clipcap"]), readout={"kind": "regression"})
    for override, message in (
        ("readout.kind=regresion", "did you mean regression?"),
        ("readout.hiden=3", "did you mean hidden?"),
        ("readout.hidden=0", "readout.hidden: must be at least 1"),
        ("stages.scores.loss.score={score_ce: 1}", "readout regression has no such term; it has score_nll, score_l1"),
    ):
        status, _, err = house.tried("train", "--config", config, override)
        assert status == 2 and message in err
    assert not (tmp_path / "runs").exists()

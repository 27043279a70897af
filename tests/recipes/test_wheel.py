"""The wheel, installed without the repository: the demo from an empty folder, and the commands on its results."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The command `python` of an environment with the wheel and, beside it, the packages that it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tree)
    for name in ("artquant", "configs", "ModelZoo/demo"):
        shutil.copytree(REPOSITORY / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", build, folder], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [wheel] = folder.glob("*.whl")
    venv.create(folder / "environment")
    python = folder / "environment" / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip())
    zipfile.ZipFile(wheel).extractall(site)
    # A folder that is named so is searched, and nothing in it is executed: not the hook of an editable artquant.
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    shutil.rmtree(tree)
    return python


def test_it_holds_every_file_of_the_package(installed):
    [wheel] = installed.parents[2].glob("*.whl")
    found = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("artquant/")}
    files = (
        Path(folder, name) for folder, _, names in os.walk(REPOSITORY / "artquant", followlinks=True) for name in names
    )
    expected = {file.relative_to(REPOSITORY).as_posix() for file in files if file.parent.name != "__pycache__"}
    assert found == expected


def test_the_demo_and_its_results_from_an_empty_folder(installed, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def artquant(*command: object) -> str:
        run = [installed, "-m", "artquant", "--quiet", *map(str, command)]
        done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import artquant; print(artquant.__file__)"
    asked = subprocess.run([installed, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert Path(asked.stdout.strip()).is_relative_to(installed.parents[1])
    assert "Done in " in artquant("demo", "--short")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "runs"]
    results = tmp_path / "runs" / "demo-short"
    assert (results / "evaluation" / "contact_sheet.png").is_file()
    picture = next((tmp_path / "dataset" / "demo-short" / "images").iterdir())
    line = json.loads(artquant("score", picture, "--model", results / "scores" / "model", "--json"))
    assert 1 <= line["score"] <= 10
    written = artquant("export", results / "scores" / "model", "--to", "hub", "--out", tmp_path / "hub")
    assert written.startswith("README.md "), "a library has something to say"
    assert "tried with transformers alone" in written
    [row] = [
        line for line in (tmp_path / "hub" / "README.md").read_text().splitlines() if line.startswith("| test.json")
    ]
    assert row.count("[") == 5, "intervals of the run's evaluation"
    truth = tmp_path / "dataset" / "demo-short" / "meta" / "test.json"
    assert "SRCC" in artquant("eval", "--predictions", results / "predictions.jsonl", "--truth", truth)

"""The three scripts that a user runs first, from another folder, on one configuration."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import artquant

REPOSITORY = Path(__file__).resolve().parents[2]


def sh(folder: Path, script: str, *arguments: object) -> str:
    """Run a script of the repository; returns what it printed."""
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = str(Path(artquant.__file__).parents[1])
    command = ["sh", str(REPOSITORY / script), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def scores(predictions: Path) -> dict[str, float]:
    return {one["id"]: one["score"] for one in map(json.loads, predictions.read_text(encoding="utf-8").splitlines())}


def test_train_infer_eval(lab, tmp_path):
    config = lab.write(tmp_path, lab.descriptions(), lab.scores())
    run = tmp_path / "runs" / "run"
    model = run / "scores" / "model"
    assert f"run run: model in {model}" in sh(tmp_path, "train.sh", config, "stages.scores.max_steps=2")
    assert [line["step"] for line in lab.history(run, "scores")] == [1, 2]
    predictions = run / "predictions.jsonl"
    assert f"{predictions}: 8 pictures scored" in sh(tmp_path, "infer.sh", "cpu", config)
    shared = tmp_path / "shared.jsonl"
    assert f"{shared}: 8 pictures scored" in sh(tmp_path, "infer.sh", "cpu,auto", config, "--out", shared)
    assert scores(shared) == pytest.approx(scores(predictions), rel=1e-6)
    assert {*tmp_path.glob("*shared.*")} == {shared, Path(f"{shared}.origin.json")}
    sh(tmp_path, "eval.sh", config, "evaluate.bootstrap=0")
    [result] = json.loads((run / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    assert result["n"] == 8
    files = ("--predictions", predictions, "--truth", lab.records("test"))
    [again] = json.loads(sh(tmp_path, "eval.sh", *files, "--json", "--bootstrap", 0))
    assert again["n"] == 8
    assert again["metrics"]["MAE"]["value"] == pytest.approx(result["metrics"]["MAE"]["value"], abs=1e-5)


def test_what_scripts_say_without_doing_anything(tmp_path):
    assert "--network internvl" in sh(tmp_path, "scripts/demo.sh", "--help")

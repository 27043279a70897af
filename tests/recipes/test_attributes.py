"""Attributes through the command line: trained beside the total, scored with it, evaluated each."""

import json

import pytest

from artquant.data.images import list_pictures
from artquant.texts.attributes import APDD_ATTRIBUTES

NAMES = [attribute.name for attribute in APDD_ATTRIBUTES]


@pytest.fixture(scope="module")
def run(lab, tmp_path_factory):
    """A run whose second stage learns scores and attributes."""
    mixed = lab.stage("scores", {"score": 1, "attributes": 0.5})
    infer = {"records": str(lab.records("test")), "images": str(lab.images), "workers": 0, "attributes": "trained"}
    return lab.train(tmp_path_factory.mktemp("attributes"), mixed, infer=infer)


@pytest.fixture
def model(run):
    return run / "scores" / "model"


def test_the_model_knows_what_it_was_trained_on(model):
    assert sorted(json.loads((model / "artquant.json").read_text())["attributes"]) == sorted(NAMES)


def test_scored_and_evaluated(lab, run, capsys):
    config = run.parent.parent / "run.yaml"
    assert lab.artquant("--quiet", "infer", "--config", config) == 0
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    for line in lines:
        assert sorted(line["attributes"]) == sorted(NAMES)
        assert all(1 <= value["score"] <= 10 and "attributes" not in value for value in line["attributes"].values())
    capsys.readouterr()
    assert lab.artquant("eval", "--config", config, "--bootstrap", 0) == 0
    shown = capsys.readouterr().out
    assert "mean of 10 attributes" in shown and all(f"  {name} " in shown for name in NAMES)
    assert list((run / "evaluation").glob("attributes_*.png"))
    # the same pictures again without attributes are other predictions
    assert lab.artquant("--quiet", "infer", "--config", config, "infer.attributes=[]") == 2
    assert "made with other settings" in capsys.readouterr().err


def test_one_picture(lab, model, capsys):
    picture = list_pictures(lab.images)[0]
    assert lab.artquant("score", picture, "--model", model, "--attributes") == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 11 and all(any(name in line for line in shown[1:]) for name in NAMES)
    assert lab.artquant("score", picture, "--model", model, "--attribute", "Color", "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["attributes"]) == ["Color"]
    assert lab.artquant("score", picture, "--model", model, "--json") == 0
    assert "attributes" not in json.loads(capsys.readouterr().out)


def test_a_model_without_attributes(lab, two_stages, capsys):
    picture = list_pictures(lab.images)[0]
    model = two_stages / "scores" / "model"
    assert lab.artquant("score", picture, "--model", model, "--attributes") == 2
    assert "was trained on no attributes" in capsys.readouterr().err


def test_a_later_stage_keeps_them(lab, model, tmp_path):
    run = lab.train(tmp_path, lab.scores(start=str(model), max_steps=1))
    assert sorted(json.loads((run / "scores" / "model" / "artquant.json").read_text())["attributes"]) == sorted(NAMES)

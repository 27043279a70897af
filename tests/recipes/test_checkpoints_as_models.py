"""Checkpoints of training as models: scored, exported and started from, through the real command line."""

import json
import shutil

import pytest
from cards import unlisted

from artquant.data.images import list_pictures

FROZEN = {"trainable": {"lora": {"r": 4, "alpha": 8.0, "dropout": 0.0}, "vision": False, "projector": False}}
NARROW = {"trainable": {"lora": {"r": 2, "alpha": 4.0, "dropout": 0.0}}}
WORDS = {"readout": {"kind": "score_tokens", "tokens": 20}}


def score(lab, capsys, model, *options) -> dict:
    capsys.readouterr()
    assert lab.artquant("score", list_pictures(lab.images)[0], "--model", model, "--json", *options) == 0
    return json.loads(capsys.readouterr().out)


def stages_of(lab, kind):
    """Stages whose last one saves at every other step, and the run's other settings."""
    optimizer = {"optimizer": lab.constant, "save_steps": 2}
    if kind == "full":
        return [lab.scores(**optimizer)], {}
    if kind == "bfloat16":
        return [lab.scores(**optimizer)], {"model": {"dtype": "bfloat16"}}
    if kind == "parts":
        return [lab.scores(**optimizer, trainable={"lora": None, "projector": False})], {}
    settings = {"trainable": lab.as_published}
    if kind == "lora":
        return [lab.scores(**optimizer, **settings)], {}
    if kind == "words":
        return [lab.scores(**optimizer, **settings)], WORDS
    return [lab.descriptions(**settings), lab.scores(**optimizer, **FROZEN)], {}


@pytest.mark.parametrize("kind", ["full", "bfloat16", "parts", "lora", "words", "adapter_gone_on"])
def test_each_is_the_model_that_its_step_would_have_ended_in(lab, tmp_path, capsys, kind):
    """`adapter_gone_on`: the stage before it trained the visual parts, which this one keeps as they are."""
    stages, settings = stages_of(lab, kind)
    run = lab.train(tmp_path / "six", *stages, **settings)
    stages[-1]["max_steps"] = 4
    four = lab.train(tmp_path / "four", *stages, **settings)
    checkpoints = run / "scores" / "checkpoints"
    dtype = ("--dtype", "bfloat16") if kind == "bfloat16" else ()  # in which the frozen rest was held
    for checkpoint, model in (("checkpoint-6", run), ("checkpoint-4", four)):
        folder, model = checkpoints / checkpoint, model / "scores" / "model"
        assert score(lab, capsys, folder, *dtype) == score(lab, capsys, model, *dtype)
        for place in (folder, model):
            out = tmp_path / f"{checkpoint}-{place.name}"
            assert lab.artquant("export", place, "--to", "merged", "--out", out, *dtype) == 0
        found, wanted = (lab.weights(tmp_path / f"{checkpoint}-{name}") for name in (folder.name, "model"))
        assert found.keys() == wanted.keys() and all(found[name].equal(wanted[name]) for name in wanted)


@pytest.fixture(scope="module")
def stopped(lab, tmp_path_factory):
    """A checkpoint in the middle of a run with adapters."""
    stage = lab.scores(trainable=lab.as_published, save_steps=3, optimizer=lab.constant)
    return lab.train(tmp_path_factory.mktemp("stopped"), stage) / "scores" / "checkpoints" / "checkpoint-3"


def test_published_form_and_predictions(lab, stopped, tmp_path, capsys):
    assert lab.artquant("export", stopped, "--to", "lora", "--out", tmp_path / "lora") == 0
    found, expected = lab.network(tmp_path / "lora", lab.base).state_dict(), lab.network(stopped).state_dict()
    assert all(found[name].equal(value) for name, value in expected.items())
    records = ("--records", lab.records("test"), "--images", lab.images, "--workers", 0)
    assert lab.artquant("infer", "--model", stopped, *records, "--out", tmp_path / "predictions.jsonl") == 0
    assert len((tmp_path / "predictions.jsonl").read_text().splitlines()) == 8


def test_stages_start_from_one(lab, stopped, tmp_path, caplog):
    """Its adapter goes on; with other settings a new one lies over it; or all of it trains on."""
    gentle = {"optimizer": {"learning_rate": 1e-9, "warmup_fraction": 0.0}, "max_steps": 1, "start": str(stopped)}
    expected = lab.network(stopped).state_dict()
    for name, settings, said in (
        ("on", {"trainable": lab.as_published}, "going on with the adapter of"),
        ("over", NARROW, "which training deletes"),
        ("full", {}, ""),
    ):
        caplog.clear()
        run = lab.train(tmp_path / name, lab.scores(**gentle, **settings))
        assert said in caplog.text
        found = lab.weights(run / "scores" / "model")
        assert max((found[key] - value).abs().max() for key, value in expected.items()) < 1e-6


def test_what_does_not_say_its_network(lab, stopped, tmp_path, capsys):
    """A checkpoint of an earlier version."""
    folder = unlisted(shutil.copytree(stopped, tmp_path / "checkpoint-3"))
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").unlink()
    assert lab.artquant("score", list_pictures(lab.images)[0], "--model", folder) == 2
    assert f"{folder}: a checkpoint of an earlier version" in capsys.readouterr().err

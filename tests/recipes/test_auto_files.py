"""Runs over files of transformers' networks as others publish them, through the command line."""

import json

import pytest
import torch
import yaml

from artquant.files.file_list import describe_file, sealed
from artquant.files.json_files import read_json, write_json
from artquant.models.auto import family, tiny_settings
from artquant.train.checkpointing import MANIFEST
from artquant.train.interruption import StopRequest

HALF = {"hidden": 32, "layers": 2, "heads": 2, "mlp": 64}
SHAPE = {"vocabulary_size": 700, "image_size": 32, "patch_size": 8, "max_positions": 1024, "vision": HALF, "text": HALF}


@pytest.fixture
def base(lab, tmp_path):
    config = tmp_path / "model.yaml"
    texts = [str(lab.records("descriptions_level_3")), str(lab.records("score"))]
    config.write_text(yaml.safe_dump({"texts": texts, "model_type": "llava"} | SHAPE), encoding="utf-8")
    assert lab.artquant("init-model", "--config", config, "--out", tmp_path / "base") == 0
    return tmp_path / "base"


def test_where_descriptions_end_is_kept(lab, base, tmp_path):
    """Published models name more ends in generation_config.json than in config.json."""
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 5], "pad_token_id": 0}))
    stage = lab.scores(max_steps=1, max_length=1024)
    run = lab.train(tmp_path / "run", stage, base=str(base))
    stored = json.loads((run / "scores" / "model" / "generation_config.json").read_text())
    assert stored["eos_token_id"] == [2, 5]


def test_an_untested_network_is_exported_when_asked_to(lab, base, tmp_path, monkeypatch, capsys):
    run = lab.train(tmp_path / "run", lab.scores(max_steps=1, max_length=1024), base=str(base))
    monkeypatch.setattr(family, "TESTED", tuple(kind for kind in tiny_settings.TESTED if kind != "llava"))
    export = ("export", run / "scores" / "model", "--to", "merged", "--out", tmp_path / "merged")
    assert lab.artquant(*export) == 2 and "--untested" in capsys.readouterr().err
    assert lab.artquant(*export, "--untested") == 0


def test_a_checkpoint_of_another_grouping_is_refused(lab, tmp_path, monkeypatch, capsys):
    """Earlier versions grouped parameters in another way, so what they began cannot go on here."""
    config = lab.write(tmp_path, lab.scores(max_steps=2))
    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "received", True, raising=False)
        patch.setattr(StopRequest, "__init__", lambda request: setattr(request, "_before", None))
        assert lab.artquant("train", "--config", config) == 143
    (file,) = tmp_path.rglob("optimizer.pt")
    state = torch.load(file, weights_only=False)
    state["param_groups"].append(state["param_groups"][0] | {"params": []})
    torch.save(state, file)
    manifest = read_json(file.with_name(MANIFEST))
    manifest["files"][file.name] = describe_file(file)
    write_json(file.with_name(MANIFEST), sealed(manifest))
    assert lab.artquant("train", "--config", config) == 2
    assert "the optimizer's state does not fit this stage" in capsys.readouterr().err

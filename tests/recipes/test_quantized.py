"""Bases in 4 and 8 bits: what is quantised, and adapters trained over them."""

import importlib
import json
import re
from dataclasses import replace

import pytest
import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model

from artquant.data.images import list_pictures, load_image
from artquant.infer.scorer import Scorer

bitsandbytes = pytest.importorskip("bitsandbytes", reason="needs bitsandbytes (pip install artquant[quant])")
DECODER = re.compile(r"model\.layers\.\d+\..*(proj|multiway\.[01])$")


@pytest.fixture(scope="module")
def lab(lab, tmp_path_factory):
    """A laboratory with a wider decoder: bitsandbytes scores on a CPU with rows of 64 numbers or more."""
    folder = tmp_path_factory.mktemp("wide")
    model = lab.model | {"text": lab.model["text"] | {"hidden": 64, "mlp": 128}}
    texts = [str(lab.records("descriptions_level_3")), str(lab.records("score"))]
    (folder / "model.yaml").write_text(yaml.safe_dump({"texts": texts} | model))
    assert lab.artquant("init-model", "--config", folder / "model.yaml", "--out", folder / "base") == 0
    return replace(lab, base=folder / "base")


@pytest.fixture(scope="module")
def whole_run(lab, stages, tmp_path_factory):
    """The same stages over the base as it is."""
    return lab.train(tmp_path_factory.mktemp("whole"), *stages)


@pytest.fixture(scope="module")
def stages(lab):
    trainable = {"lora": {"r": 4, "alpha": 8.0, "dropout": 0.0}}
    return lab.descriptions(trainable=trainable), lab.scores(trainable=trainable, save_steps=2)


@pytest.fixture(scope="module")
def run(lab, stages, tmp_path_factory):
    """Two stages of adapters over a base in 4 bits."""
    return lab.train(tmp_path_factory.mktemp("nf4"), *stages, model={"quantize": "nf4"})


@pytest.mark.parametrize(("kind", "layer"), [("nf4", "Linear4bit"), ("int8", "Linear8bitLt")])
def test_the_decoder_alone_is_quantised(lab, kind, layer):
    quantised = {
        name
        for name, module in lab.network(lab.base, quantize=kind).named_modules()
        if isinstance(module, getattr(bitsandbytes.nn, layer))
    }
    linear = {
        name
        for name, module in lab.network(lab.base).named_modules()
        if isinstance(module, torch.nn.Linear) and DECODER.fullmatch(name)
    }
    assert quantised == linear and len(quantised) > 10


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_scores_stay_close(lab, whole_run, kind, capsys):
    """Of an adapter over a quantised base, unmerged, against the same in full precision."""
    pictures = [load_image(path) for path in list_pictures(lab.images)]
    model = whole_run / "scores" / "model"
    whole, rounded = (Scorer.from_pretrained(model, device="cpu", quantize=q)(pictures) for q in (None, kind))
    apart = [abs(a.logits[word] - b.logits[word]) for a, b in zip(whole, rounded, strict=True) for word in a.logits]
    assert 0 < max(apart) < 0.5
    picture = list_pictures(lab.images)[0]
    assert lab.artquant("score", picture, "--model", model, "--quantize", kind, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["score"] == pytest.approx(rounded[0].score, abs=1e-4)


def test_adapters_learn_over_four_bits(lab, run):
    losses = [line["loss"] for line in lab.history(run, "descriptions")]
    assert losses[-1] < losses[0]
    changed, _ = lab.moved(run / "scores" / "model")
    assert any("q_proj" in name for name in changed) and any("vision_model" in name for name in changed)
    adapted = re.compile(r".*(vision_model|visual_abstractor|self_attn\.(q_proj|v_proj\.multiway\.1)\.weight).*")
    assert all(adapted.fullmatch(name) for name in changed)


def test_result_does_not_say_how_its_base_was_held(lab, run):
    """A base of any number format will do."""
    model = run / "scores" / "model"
    assert "quantization_config" not in json.loads((model / "config.json").read_text(encoding="utf-8"))
    assert not any("absmax" in name or "quant" in name for name in lab.weights(model))


def test_close_to_training_over_the_whole_base(lab, run, whole_run):
    for stage in ("descriptions", "scores"):
        over_four_bits, whole = ([line["loss"] for line in lab.history(place, stage)] for place in (run, whole_run))
        assert over_four_bits == pytest.approx(whole, rel=0.02)


def test_stopped_and_resumed(lab, stages, run, tmp_path, monkeypatch):
    from artquant.train.trainer import _StepEvents

    on_step_end = _StepEvents.on_step_end

    def stop_after_three(self, args, state, control, **rest):
        self.trainer.interrupted = state.global_step == 3
        return on_step_end(self, args, state, control, **rest)

    start = str(run / "descriptions" / "model")
    config = lab.write(tmp_path, stages[1] | {"start": start}, model={"quantize": "nf4"})
    with monkeypatch.context() as patch:
        patch.setattr(_StepEvents, "on_step_end", stop_after_three)
        assert lab.artquant("train", "--config", config) == 143
    assert lab.artquant("train", "--config", config) == 0
    resumed = tmp_path / "runs" / "run"
    assert lab.history(resumed, "scores") == lab.history(run, "scores")
    before, after = (lab.weights(place / "scores" / "model") for place in (run, resumed))
    assert all(before[name].equal(after[name]) for name in before)


def test_scores_and_merges(lab, run, tmp_path):
    model = run / "scores" / "model"
    picture = list_pictures(lab.images)[0]
    assert lab.artquant("score", picture, "--model", model, "--quantize", "nf4") == 0
    assert lab.artquant("export", model, "--to", "merged", "--out", tmp_path / "merged") == 0
    merged = lab.weights(tmp_path / "merged")
    expected = lab.weights(model)
    assert all(merged[name].equal(expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"trainable": {"lora": None, "decoder": True}}, "cannot be trained quantised"),
        ({"deepspeed": "configs/deepspeed/zero3.json"}, "cannot be used with model.quantize"),
    ],
)
def test_what_cannot_work_is_refused(lab, tmp_path, capsys, stage, message):
    config = lab.write(tmp_path, lab.scores(**{"trainable": lab.as_published} | stage), model={"quantize": "nf4"})
    assert lab.artquant("train", "--config", config) == 2
    assert message in capsys.readouterr().err


def test_other_adapter_settings_ask_for_a_merge(lab, run, tmp_path, capsys):
    settings = {"start": str(run / "scores" / "model"), "trainable": {"lora": {"r": 2, "alpha": 4.0}}}
    config = lab.write(tmp_path, lab.scores(**settings), model={"quantize": "nf4"})
    assert lab.artquant("train", "--config", config) == 2
    assert "merge it first (artquant export" in capsys.readouterr().err


def bare_adapter(base, folder, **settings):
    """An adapter as peft alone writes it, drawn."""
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], **settings))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1
    adapted.save_pretrained(folder)


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"init_lora_weights": "olora"}, {"use_rslora": True}])
def test_adapters_of_peft_alone_as_peft_has_them(lab, whole_run, tmp_path, settings):
    """Unmerged over four bits."""
    model = whole_run / "scores" / "model"
    assert lab.artquant("export", model, "--to", "merged", "--out", tmp_path / "base") == 0
    bare_adapter(lab.network(tmp_path / "base"), tmp_path / "bare", **settings)
    expected = PeftModel.from_pretrained(lab.network(tmp_path / "base", quantize="nf4"), tmp_path / "bare").eval()
    found = lab.network(tmp_path / "bare", tmp_path / "base", quantize="nf4").eval()
    ids = torch.arange(100, 120)[None]
    with torch.no_grad():
        torch.testing.assert_close(found(input_ids=ids).logits, expected(input_ids=ids).logits, rtol=0, atol=1e-5)


def test_share_of_a_base_in_four_bits_cannot_be_taken(lab, whole_run, tmp_path, capsys):
    model = whole_run / "scores" / "model"
    assert lab.artquant("export", model, "--to", "merged", "--out", tmp_path / "base") == 0
    bare_adapter(lab.network(tmp_path / "base"), tmp_path / "bare", init_lora_weights="pissa")
    options = ("--model", tmp_path / "bare", "--base", tmp_path / "base")
    picture = list_pictures(lab.images)[0]
    assert lab.artquant("score", picture, *options, "--quantize", "nf4") == 2
    assert "does not fit the base model: Please initialize PiSSA under float32" in capsys.readouterr().err
    assert lab.artquant("score", picture, *options) == 0


def test_without_the_library(lab, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else find(name))
    picture = list_pictures(lab.images)[0]
    assert lab.artquant("score", picture, "--model", lab.base, "--quantize", "nf4") == 2
    assert "pip install artquant[quant]" in capsys.readouterr().err

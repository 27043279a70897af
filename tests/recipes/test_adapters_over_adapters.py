"""Adapters whose base is another LoRA run's result, or a base that has changed; through the real command line."""

import json
import shutil

import pytest
from cards import unlisted
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from artquant.data.images import list_pictures

GENTLE = {"optimizer": {"learning_rate": 1e-9, "warmup_fraction": 0.0}, "max_steps": 1}
NARROW = {"trainable": {"lora": {"r": 2, "alpha": 4.0, "dropout": 0.0}}}


@pytest.fixture(scope="module")
def upper(lab, lora_run, tmp_path_factory):
    """An adapter of rank 2, hardly trained, over a LoRA run's result of rank 4."""
    stage = lab.scores(start=str(lora_run / "scores" / "model"), **NARROW, **GENTLE)
    return lab.train(tmp_path_factory.mktemp("upper"), stage) / "scores" / "model"


@pytest.fixture
def published(lab, lora_run, tmp_path):
    """A LoRA run in the published form, which does not say which base it lies over."""
    out = tmp_path / "published"
    assert lab.artquant("export", lora_run / "scores" / "model", "--to", "lora", "--out", out) == 0
    return out


def largest_change(before, after):
    assert before.keys() == after.keys()
    return max((after[name] - before[name]).abs().max().item() for name in before)


def test_whole_chain_is_merged(lab, lora_run, upper, tmp_path):
    assert lab.artquant("export", upper, "--to", "merged", "--out", tmp_path / "merged") == 0
    merged = lab.weights(tmp_path / "merged")
    assert all(value.equal(merged[name]) for name, value in lab.weights(upper).items())
    assert largest_change(lab.weights(lora_run / "scores" / "model"), merged) < 1e-6


def test_upper_adapter_alone_is_not_exported_as_published(lab, upper, tmp_path, capsys):
    """The published code would put it over the base model, without what lies between."""
    assert lab.artquant("export", upper, "--to", "lora", "--out", tmp_path / "lora") == 2
    assert "lies over another LoRA run" in capsys.readouterr().err and not (tmp_path / "lora").exists()


def test_base_named_for_the_lowest(lab, upper, tmp_path, monkeypatch, capsys):
    """When the base model has moved, --base says where to."""
    moved = shutil.copytree(lab.base, tmp_path / "moved")
    expected = lab.weights(upper)
    hidden = lab.base.with_name("hidden")
    lab.base.rename(hidden)
    try:
        picture = list_pictures(lab.images)[0]
        assert lab.artquant("score", picture, "--model", upper) == 2
        assert f"lies over the base model {lab.base}, which is not there" in capsys.readouterr().err
        assert lab.artquant("score", picture, "--model", upper, "--base", moved) == 0
        found = lab.network(upper, moved).state_dict()
    finally:
        hidden.rename(lab.base)
    assert all(value.equal(found[name]) for name, value in expected.items())


def test_start_from_a_published_run(lab, published, tmp_path):
    """Its result knows the whole way down to the base model, by itself."""
    run = lab.train(tmp_path, lab.scores(start=str(published), **NARROW, **GENTLE))
    model = run / "scores" / "model"
    before = lab.network(published, lab.base).state_dict()
    assert largest_change(before, lab.weights(model)) < 1e-6
    assert lab.artquant("score", list_pictures(lab.images)[0], "--model", model) == 0
    records = ("--records", lab.records("test"), "--images", lab.images, "--workers", 0)
    assert lab.artquant("infer", "--model", model, *records, "--out", tmp_path / "predictions.jsonl") == 0


def test_quantised_chain_is_refused(lab, upper, tmp_path, capsys):
    """Two adapters cannot both lie unmerged beside a quantised layer; one would be lost."""
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes (pip install artquant[quant])")
    picture = list_pictures(lab.images)[0]
    assert lab.artquant("score", picture, "--model", upper, "--quantize", "int8") == 2
    assert f"merge it first (artquant export {upper} --to merged --out DIR)" in capsys.readouterr().err
    assert lab.artquant("export", upper, "--to", "merged", "--out", tmp_path / "merged") == 0
    assert lab.artquant("score", picture, "--model", tmp_path / "merged", "--quantize", "int8") == 0


def test_going_on_over_changed_weights_is_refused(lab, lora_run, tmp_path, capsys):
    base = shutil.copytree(lab.base, tmp_path / "base")
    settings = {"trainable": lab.as_published, "max_steps": 1}
    run = lab.train(tmp_path, lab.descriptions(**settings), lab.scores(**settings), base=str(base))
    shutil.rmtree(run / "scores")
    tensors = load_file(base / "model.safetensors")
    tensors["lm_head.weight"] += 0.01
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    assert lab.artquant("train", "--config", tmp_path / "run.yaml") == 2
    assert "was trained over another base than" in capsys.readouterr().err


def test_tokenizer_and_preprocessor_are_those_it_was_trained_with(lab, lora_run, tmp_path, capsys):
    """Whatever becomes of the base's own."""
    model = lora_run / "scores" / "model"
    base = shutil.copytree(lab.base, tmp_path / "base")
    for file in base.iterdir():
        if "token" in file.name or "processor" in file.name:
            file.unlink()
    picture = list_pictures(lab.images)[0]
    shown = []
    for options in ((), ("--base", base)):
        capsys.readouterr()
        assert lab.artquant("score", picture, "--model", model, *options) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]


@pytest.fixture
def bare(lab, two_stages, tmp_path):
    """An adapter as peft alone writes it, over a trained model."""
    network = lab.network(two_stages / "scores" / "model")
    config = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights="pissa", use_rslora=True, lora_dropout=0.5)
    adapted = get_peft_model(network, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data *= 1.5
    adapted.save_pretrained(tmp_path / "bare")
    return tmp_path / "bare", adapted.merge_and_unload().state_dict()


def test_adapter_that_peft_alone_has_written(lab, two_stages, bare, tmp_path, capsys):
    """Family, words and prompt are those of its base, which has to be named."""
    folder, expected = bare
    model, picture = two_stages / "scores" / "model", list_pictures(lab.images)[0]
    assert lab.artquant("score", picture, "--model", folder) == 2
    error = capsys.readouterr().err
    assert f"{folder}: holds an adapter alone (no config.json)" in error and "(--base DIR)" in error
    shown = {}
    for place, options in ((model, ()), (folder, ("--base", model))):
        assert lab.artquant("score", picture, "--model", place, *options, "--json") == 0
        shown[place] = json.loads(capsys.readouterr().out)["score"]
    assert shown[model] != shown[folder]
    for form, message in (("lora", "export it as merged"), ("merged", "")):
        out = tmp_path / form
        code = lab.artquant("export", folder, "--base", model, "--to", form, "--out", out)
        assert (code, message in capsys.readouterr().err) == (0 if form == "merged" else 2, True)
    assert largest_change(expected, lab.weights(tmp_path / "merged")) < 1e-6


def test_training_over_an_adapter_that_peft_alone_has_written(lab, bare, two_stages, tmp_path):
    """A new adapter lies over it; the result knows the whole way down."""
    folder, expected = bare
    base = str(two_stages / "scores" / "model")
    run = lab.train(tmp_path, lab.scores(start=str(folder), trainable=lab.as_published, **GENTLE), base=base)
    assert largest_change(expected, lab.weights(run / "scores" / "model")) < 1e-6
    assert lab.artquant("score", list_pictures(lab.images)[0], "--model", run / "scores" / "model") == 0


def test_published_form_refuses_what_its_code_would_drop(lab, lora_run, tmp_path, capsys):
    folder = unlisted(shutil.copytree(lora_run / "scores" / "model", tmp_path / "model"))
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"use_rslora": True}))
    assert lab.artquant("export", folder, "--to", "lora", "--out", tmp_path / "lora") == 2
    assert f"{file}: use_rslora acts otherwise in the published code" in capsys.readouterr().err

"""A trained model in the forms that the published code reads, and merged; through the real command line."""

import json

import pytest
import torch
from cards import unlisted
from safetensors.torch import load_file

from artquant.data.images import list_pictures, load_image
from artquant.infer.scorer import Scorer


@pytest.fixture(scope="module")
def model(lora_run):
    """A LoRA run's result."""
    return lora_run / "scores" / "model"


@pytest.fixture(scope="module")
def pictures(lab):
    return [load_image(path) for path in list_pictures(lab.images)[:4]]


def logits(folder, pictures, base=None, prompt="artquant"):
    scorer = Scorer.from_pretrained(folder, base, device="cpu", prompt=prompt)
    return torch.tensor([list(score.logits.values()) for score in scorer(pictures)])


def test_merged(lab, model, pictures, tmp_path, capsys):
    folder = tmp_path / "merged"
    assert lab.artquant("export", model, "--to", "merged", "--out", folder) == 0
    out = capsys.readouterr().out
    assert "model.safetensors" in out and "merged form, " in out
    expected = lab.network(model).state_dict()
    found = load_file(folder / "model.safetensors")
    assert all(expected[name].equal(found[name]) for name in expected)
    assert torch.equal(logits(folder, pictures, prompt=None), logits(model, pictures, prompt=None))
    card = json.loads((folder / "artquant.json").read_text())
    assert "base" not in card and card["history"]["stage"] == "scores"


def test_merged_in_bfloat16(lab, model, tmp_path):
    assert lab.artquant("export", model, "--to", "merged", "--out", tmp_path / "half", "--dtype", "bfloat16") == 0
    expected = lab.network(model).state_dict()
    found = load_file(tmp_path / "half" / "model.safetensors")
    assert all(found[name].equal(expected[name].to(torch.bfloat16)) for name in expected)


def test_published_lora_form(lab, model, pictures, tmp_path):
    out, again = tmp_path / "lora", tmp_path / "again"
    assert lab.artquant("export", model, "--to", "lora", "--out", out) == 0
    names = {"adapter_model.bin", "non_lora_trainables.bin", "adapter_config.json", "config.json"}
    assert {path.name for path in out.iterdir()} == names
    assert torch.equal(logits(out, pictures, lab.base), logits(model, pictures))
    assert lab.artquant("export", out, "--to", "lora", "--out", again, "--format", "safetensors") == 0
    for stem in ("adapter_model", "non_lora_trainables"):
        first = load_file(model / f"{stem}.safetensors")
        pickled = torch.load(out / f"{stem}.bin", weights_only=True)
        second = load_file(again / f"{stem}.safetensors")
        assert first.keys() == pickled.keys() == second.keys()
        assert all(first[name].equal(pickled[name]) and first[name].equal(second[name]) for name in first)


def test_published_full_form(lab, model, pictures, tmp_path):
    out, again = tmp_path / "full", tmp_path / "again"
    assert lab.artquant("export", model, "--to", "full", "--out", out) == 0
    names = {path.name for path in out.iterdir()}
    assert "pytorch_model.bin" in names and "tokenizer.model" in names and "artquant.json" not in names
    expected = lab.network(model).state_dict()
    stored = torch.load(out / "pytorch_model.bin", weights_only=True)
    assert stored.keys() == expected.keys() and all(stored[name].equal(expected[name]) for name in expected)
    assert torch.equal(logits(out, pictures), logits(model, pictures))
    assert lab.artquant("export", out, "--to", "full", "--out", again, "--format", "safetensors") == 0
    second = load_file(again / "model.safetensors")
    assert all(second[name].equal(expected[name]) for name in expected)


def test_shards_with_an_index(lab, model, tmp_path, monkeypatch, pictures):
    monkeypatch.setattr("artquant.models.whole.SHARD", "200KB")
    out = tmp_path / "full"
    assert lab.artquant("export", model, "--to", "full", "--out", out) == 0
    index = json.loads((out / "pytorch_model.bin.index.json").read_text())
    shards = sorted(out.glob("pytorch_model-*.bin"))
    assert len(shards) > 1 and set(index["weight_map"].values()) == {shard.name for shard in shards}
    assert torch.equal(logits(out, pictures), logits(model, pictures))


def test_names_are_those_of_the_published_files(shared_folder, lab, model, tmp_path):
    """Keys with the numbers of the layers taken out, against the folders that the published code wrote."""
    golden = shared_folder / "golden" / "checkpoints"
    assert lab.artquant("export", model, "--to", "lora", "--out", tmp_path / "lora") == 0
    assert lab.artquant("export", model, "--to", "full", "--out", tmp_path / "full") == 0

    def names(tensors):
        return {"".join("#" if part.isdecimal() else part for part in name.split(".")) for name in tensors}

    published = golden / "deqa_lora_prompt_apdd"
    for stem in ("adapter_model.bin", "non_lora_trainables.bin"):
        theirs, ours = (torch.load(folder / stem, weights_only=True) for folder in (published, tmp_path / "lora"))
        assert names(theirs) == names(ours)
    theirs = load_file(golden / "full-finetuned" / "model.safetensors")
    assert names(theirs) == names(torch.load(tmp_path / "full" / "pytorch_model.bin", weights_only=True))
    for name in ("adapter_config.json",):
        theirs, ours = (json.loads((folder / name).read_text()) for folder in (published, tmp_path / "lora"))
        assert theirs.keys() == ours.keys()


def test_golden_checkpoints_survive_the_round_trip(shared_folder, lab, tmp_path):
    golden = shared_folder / "golden" / "checkpoints"
    base = golden / "mplug-owl2-tiny"
    for form, folder in (("lora", "deqa_lora_prompt_apdd"), ("full", "full-finetuned")):
        out = tmp_path / form
        assert lab.artquant("export", golden / folder, "--to", form, "--out", out, "--base", base) == 0
        before, after = (lab.network(place, base).state_dict() for place in (golden / folder, out))
        assert all(before[name].equal(after[name]) for name in before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MODEL", "--to", "merged", "--out", "MODEL"], "is there already"),
        (["BASE", "--to", "lora", "--out", "new"], "is a whole model, not a LoRA run"),
        (["nowhere", "--to", "full", "--out", "new"], "not a model folder"),
    ],
)
def test_bad_input(lab, model, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    names = {"MODEL": str(model), "BASE": str(lab.base)}
    assert lab.artquant("export", *(names.get(argument, argument) for argument in arguments)) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_another_base_is_refused(lab, model, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    for file in lab.base.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    picture = str(list_pictures(lab.images)[0])
    assert lab.artquant("score", picture, "--model", model, "--base", other) == 2
    assert "was trained over another base than" in (error := capsys.readouterr().err) and "--allow-other-base" in error
    assert lab.artquant("score", picture, "--model", model, "--base", other, "--allow-other-base") == 0
    assert lab.artquant("score", picture, "--model", model) == 0


def test_a_base_that_is_gone(lab, model, tmp_path, capsys):
    import shutil

    copy = shutil.copytree(model, tmp_path / "model")
    card = json.loads((copy / "artquant.json").read_text())
    card["base"]["folder"] = str(tmp_path / "gone")
    unlisted(copy, base=card["base"])
    picture = str(list_pictures(lab.images)[0])
    assert lab.artquant("score", picture, "--model", copy) == 2
    assert f"lies over the base model {tmp_path / 'gone'}, which is not there" in capsys.readouterr().err
    assert lab.artquant("score", picture, "--model", copy, "--base", lab.base) == 0

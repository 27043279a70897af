"""Model folders in every form, whole and damaged. All of them are made here, from a base model of 200 KB."""

import json
import os
import pickle
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cards import unlisted
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from artquant.config.schema import Loading
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.models.adapters import PEFT_PREFIX, attach_adapter, save_adapter
from artquant.models.family import CheckpointError, Parts
from artquant.models.model_card import CARD, Card
from artquant.models.model_folder import ModelFolder
from artquant.models.mplug_owl2 import MPLUGOwl2LlamaForCausalLM
from artquant.models.mplug_owl2.family import MPLUGOwl2Family
from artquant.models.weights import LoadedModel, Network, load_model, load_network, save_model
from artquant.readouts import readout_of
from artquant.texts.prompt import get_prompt

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ("excellent", "good", "fair", "poor", "bad")
WEIGHTS = (10.0, 7.5, 5.0, 3.5, 1.0)
VISUAL = ("vision", "projector")  # parts that a LoRA run stores whole
NAMES = {  # of each form's file, a tensor to damage
    "model.safetensors": "model.vision_model.encoder.layers.1.mlp.fc1.weight",
    "pytorch_model-00002-of-00002.bin": "model.vision_model.encoder.layers.1.mlp.fc1.weight",
    "adapter_model.bin": "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight",
    "adapter_model.safetensors": "base_model.model.model.layers.1.self_attn.v_proj.multiway.1.lora_B.weight",
    "non_lora_trainables.bin": "base_model.model.model.visual_abstractor.vit_eos",
    "non_lora_trainables.safetensors": "base_model.model.model.vision_model.embeddings.cls_token",
}


def removed(tensors: dict[str, torch.Tensor], name: str) -> str:
    """Each of these spoils a file's tensors and returns the name that the error must give."""
    del tensors[name]
    return name


def renamed(tensors: dict[str, torch.Tensor], name: str) -> str:
    tensors[f"{name}_old"] = tensors.pop(name)
    return name


def reshaped(tensors: dict[str, torch.Tensor], name: str) -> str:
    tensors[name] = tensors[name][..., :-1].contiguous()
    return name


def extra(tensors: dict[str, torch.Tensor], name: str) -> str:
    tensors["model.second_head.weight"] = torch.zeros(2)
    return "model.second_head.weight"


def network_in(folder: Path, base: Path | None = None, **loading) -> Network:
    return load_network(ModelFolder.open(folder, base), Loading(**loading))


def model_in(folder: Path, *chosen) -> LoadedModel:
    return load_model(ModelFolder.open(folder), Loading(), *chosen)


def parts_of(network: MPLUGOwl2LlamaForCausalLM) -> Parts:
    return MPLUGOwl2Family().parts(network)


def read(file: Path) -> dict[str, torch.Tensor]:
    return load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)


def write(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    if file.suffix == ".safetensors":
        save_file(tensors, file, metadata={"format": "pt"})
    else:
        torch.save(tensors, file)


@pytest.fixture(scope="module")
def forms(tiny_base, tmp_path_factory) -> dict[str, Path]:
    """One folder per form: `full` and `shards` hold the base's weights, `lora` and `lora_bin` a LoRA run over it."""
    root = tmp_path_factory.mktemp("forms")
    folders = {name: root / name for name in ("full", "shards", "lora", "lora_bin")}
    shutil.copytree(tiny_base, folders["full"])
    shutil.copytree(tiny_base, folders["shards"])
    tensors = load_file(folders["shards"] / "model.safetensors")
    (folders["shards"] / "model.safetensors").unlink()
    weight_map = {}
    for number, visual in ((1, False), (2, True)):
        shard = {name: value for name, value in tensors.items() if visual == ("visual" in name or "vision" in name)}
        file = f"pytorch_model-0000{number}-of-00002.bin"
        torch.save(shard, folders["shards"] / file)
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folders["shards"] / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")

    adapted = new_adapter(network_in(tiny_base).model)
    save_adapter(folders["lora"], adapted, adapted.state_dict(), parts_of(adapted), VISUAL)
    shutil.copytree(folders["lora"], folders["lora_bin"])
    for file in folders["lora_bin"].glob("*.safetensors"):
        torch.save(load_file(file), file.with_suffix(".bin"))
        file.unlink()
    return folders


def new_adapter(network: MPLUGOwl2LlamaForCausalLM):
    """LoRA on the published modules with drawn weights; vision encoder and abstractor changed and trainable."""
    targets = MPLUGOwl2Family().lora_targets(parts_of(network))
    config = LoraConfig(r=2, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM")
    adapted = get_peft_model(network, config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            visual = "vision_model" in name or "visual_abstractor" in name
            parameter.requires_grad_("lora_" in name or visual)
            if parameter.requires_grad:
                drawn = 0.3 * torch.randn(parameter.shape, generator=generator)
                parameter.copy_(drawn if "lora_" in name else parameter + drawn)
    return adapted.eval()


@pytest.fixture
def folder_with(forms, tmp_path):
    """A copy of the form that this file belongs to, and the file in it."""

    def copy(file: str) -> tuple[Path, Path]:
        [source] = [folder for folder in forms.values() if (folder / file).is_file()]
        folder = shutil.copytree(source, tmp_path / source.name)
        return folder, folder / file

    return copy


@torch.no_grad()
def logits(network: MPLUGOwl2LlamaForCausalLM) -> torch.Tensor:
    ids = torch.tensor([[1, 300, *[-200] * 4, 301, 302]])
    pixels = torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    return network(input_ids=ids, pixel_values=pixels).logits


def refused(folder: Path, base: Path | None = None) -> str:
    """The message with which the folder is refused: one line."""
    with pytest.raises(CheckpointError) as error:
        network_in(folder, base)
    message = str(error.value)
    assert "\n" not in message
    return message


class TestForms:
    def test_shards_equal_one_file(self, forms):
        one, shards = (network_in(forms[form]).model for form in ("full", "shards"))
        assert torch.equal(logits(one), logits(shards))

    @pytest.mark.parametrize("form", ["lora", "lora_bin"])
    def test_a_lora_run_is_merged_into_its_base(self, tiny_base, forms, form):
        """W + (alpha / r) B A, and the visual parts in place of the base's."""
        adapted = new_adapter(network_in(tiny_base).model)
        network = network_in(forms[form], tiny_base)
        torch.testing.assert_close(logits(network.model), logits(adapted), rtol=0, atol=1e-5)
        lora = read(next(forms[form].glob("adapter_model.*")))
        name = "model.layers.0.self_attn.q_proj"
        update = 4 * lora[f"base_model.model.{name}.lora_B.weight"] @ lora[f"base_model.model.{name}.lora_A.weight"]
        base = load_file(tiny_base / "model.safetensors")
        merged = network.model.state_dict()
        assert sorted(merged) == sorted(base)
        torch.testing.assert_close(merged[f"{name}.weight"], base[f"{name}.weight"] + update, rtol=0, atol=1e-6)
        assert not torch.equal(merged["model.visual_abstractor.vit_eos"], base["model.visual_abstractor.vit_eos"])

    def test_form_is_read_from_the_files_not_the_name(self, tiny_base, forms, tmp_path):
        full = shutil.copytree(forms["full"], tmp_path / "deqa_lora_full")
        assert torch.equal(logits(network_in(full).model), logits(network_in(tiny_base).model))
        run = shutil.copytree(forms["lora"], tmp_path / "full-finetuned")
        expected = logits(network_in(forms["lora"], tiny_base).model)
        assert torch.equal(logits(network_in(run, tiny_base).model), expected)

    def test_attached_adapter_trains_if_asked_to(self, tiny_base, forms):
        for trainable in (True, False):
            network = network_in(tiny_base).model
            adapted = attach_adapter(network, forms["lora"], parts_of(network), trainable)
            lora = [parameter for name, parameter in adapted.named_parameters() if "lora_" in name]
            assert len(lora) == 8 and all(parameter.requires_grad == trainable for parameter in lora)

    def test_dropout_of_a_continued_adapter_is_the_asked_one(self, tiny_base, forms):
        network = network_in(tiny_base).model
        adapted = attach_adapter(network, forms["lora"], parts_of(network), trainable=True, dropout=0.25)
        assert adapted.peft_config["default"].lora_dropout == 0.25

    def test_adapter_holds_visual_parts_that_an_earlier_stage_trained(self, tiny_base, tmp_path):
        adapted = new_adapter(network_in(tiny_base).model)
        adapted.get_base_model().model.vision_model.requires_grad_(False)
        save_adapter(tmp_path / "lora", adapted, adapted.state_dict(), parts_of(adapted), VISUAL)
        read_back = network_in(tmp_path / "lora", tiny_base).model
        torch.testing.assert_close(logits(read_back), logits(adapted.merge_and_unload()))

    def test_full_fine_tune_without_tokenizer(self, tiny_base, forms, tmp_path):
        folder = tmp_path / "tuned"
        folder.mkdir()
        for file in ("config.json", "model.safetensors"):
            shutil.copy(forms["full"] / file, folder)
        assert "holds no tokenizer or no preprocessor; name the base model's folder" in refused(folder)
        network = network_in(folder, tiny_base)
        assert torch.equal(logits(network.model), logits(network_in(tiny_base).model))

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_data_type_is_the_asked_one(self, forms, tiny_base, tmp_path, dtype):
        half = shutil.copytree(forms["full"], tmp_path / "half")
        tensors = load_file(half / "model.safetensors")
        save_file({k: v.half() for k, v in tensors.items()}, half / "model.safetensors", metadata={"format": "pt"})
        for folder, base in ((half, None), (forms["lora"], half)):
            parameters = network_in(folder, base, dtype=dtype).model.parameters()
            assert {parameter.dtype for parameter in parameters} == {getattr(torch, dtype)}

    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    def test_attention(self, tiny_base, attention):
        assert network_in(tiny_base, attention=attention).model.config._attn_implementation == attention


class TestDamaged:
    @pytest.mark.parametrize("change", [removed, renamed, reshaped, extra])
    @pytest.mark.parametrize("file", NAMES)
    def test_tensors(self, folder_with, tiny_base, file, change):
        folder, path = folder_with(file)
        tensors = read(path)
        name = change(tensors, NAMES[file])
        write(path, tensors)
        message = refused(folder, tiny_base)
        assert name.removeprefix(PEFT_PREFIX) in message and str(folder) in message

    @pytest.mark.parametrize("file", [file for file in NAMES if file.endswith(".bin")])
    def test_a_pickle_with_code_is_not_executed(self, folder_with, tiny_base, tmp_path, file):
        trace = tmp_path / "executed"

        class Code:
            def __reduce__(self):
                return os.mkdir, (str(trace),)

        folder, path = folder_with(file)
        tensors = read(path)
        for save in (torch.save, plain_pickle):
            save(tensors | {"code": Code()}, path)
            message = refused(folder, tiny_base)
            assert str(folder) in message and not trace.exists()
            with suppress(RuntimeError):  # a plain pickle runs first and then turns out to be no torch file
                torch.load(path, weights_only=False)
            trace.rmdir()  # so the code was there, and only weights-only loading kept it from running

    @pytest.mark.parametrize("file", [*NAMES, "config.json", "adapter_config.json", "pytorch_model.bin.index.json"])
    def test_file_cut_short(self, folder_with, forms, tiny_base, tmp_path, file):
        if file == "config.json":
            folder = shutil.copytree(forms["full"], tmp_path / "full")
        elif file == "adapter_config.json":
            folder = shutil.copytree(forms["lora"], tmp_path / "lora")
        else:
            folder, _ = folder_with(file)
        path = folder / file
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert str(folder) in refused(folder, tiny_base)

    def test_missing_shard(self, folder_with):
        folder, path = folder_with("pytorch_model-00002-of-00002.bin")
        path.unlink()
        message = refused(folder)
        assert str(folder) in message and "00002-of-00002" in message

    def test_missing_weights(self, folder_with, tiny_base):
        folder, path = folder_with("model.safetensors")
        path.unlink()
        assert str(folder) in refused(folder)
        run, path = folder_with("adapter_model.bin")
        path.unlink()
        assert "neither adapter_model.safetensors nor adapter_model.bin" in refused(run, tiny_base)

    def test_lora_run_without_base(self, forms, tmp_path):
        assert "name the base model's folder (--base DIR)" in refused(forms["lora"])
        message = refused(forms["lora"], tmp_path / "nowhere")
        assert f"lies over the base model {tmp_path / 'nowhere'}, which is not there" in message

    def test_lora_run_over_another_network(self, forms, tiny_base, tmp_path):
        run = shutil.copytree(forms["lora"], tmp_path / "run")
        settings = json.loads((run / "adapter_config.json").read_text(encoding="utf-8"))
        settings["target_modules"] = ["model.layers.7.self_attn.q_proj"]
        (run / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
        assert "does not fit the base model" in refused(run, tiny_base)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (None, "not a model folder (no config.json)"),
            ("{", "not a JSON object"),
            ("[]", "not a JSON object"),
            ('{"model_type": "llama"}', "llama is a model without vision; tested are llava"),
            ('{"model_type": "paligemma"}', "paligemma is none of the tested llava"),
            ("{}", "Should have a `model_type` key in its config.json"),
        ],
    )
    def test_not_a_model_folder(self, tmp_path, text, message):
        if text is not None:
            (tmp_path / "config.json").write_text(text, encoding="utf-8")
        assert message in refused(tmp_path) and str(tmp_path) in refused(tmp_path)

    def test_visual_parts_that_do_not_fit_together(self, forms, tmp_path):
        folder = shutil.copytree(forms["full"], tmp_path / "full")
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["visual_config"]["visual_abstractor"]["grid_size"] = 3
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        assert "does not fit together" in refused(folder)


def plain_pickle(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


class TestSavedModel:
    @pytest.fixture
    def saved(self, tiny_base, tmp_path) -> Path:
        """A model of ours: own prompt and readout, stored in its card."""
        network = network_in(tiny_base)
        prompt = replace(get_prompt("published-train", "image"), answer_prefix="The quality of the {subject} is")
        readout = readout_of({"closed_set": False}, RatingScale(WORDS, WEIGHTS)).bound(network.processor, prompt)
        card = Card(prompt, readout, history={"stage": "scores"})
        save_model(tmp_path / "model", network.model, network.processor, network.family, card)
        return tmp_path / "model"

    @pytest.fixture
    def published(self, saved) -> Path:
        """Without card, as published folders are."""
        (unlisted(saved) / CARD).unlink()
        return saved

    def test_round_trip(self, tiny_base, saved):
        loaded = model_in(saved)
        assert loaded.prompt == get_prompt("published-train", "image")
        assert not loaded.readout.closed_set and loaded.readout.weights == WEIGHTS and not loaded.network.training
        original, found = load_file(tiny_base / "model.safetensors"), load_file(saved / "model.safetensors")
        assert sorted(found) == sorted(original)
        assert all(torch.equal(found[name], value) for name, value in original.items())
        card = json.loads((saved / CARD).read_text(encoding="utf-8"))
        assert card["history"] == {"stage": "scores"}

    def test_prompt_and_weights_can_be_chosen(self, saved):
        loaded = model_in(saved, "artquant", (5, 4, 3, 2, 1))
        assert loaded.prompt == get_prompt("artquant", "image") and loaded.readout.weights == (5, 4, 3, 2, 1)
        with pytest.raises(ArtQuantError, match="5 words, 2 weights"):
            model_in(saved, None, (1, 2))

    def test_read_as_a_published_model(self, published):
        """Without the card, `config.json` says how scores are read, as in published folders."""
        loaded = model_in(published)
        assert loaded.prompt == get_prompt("published-score", "image")
        assert (loaded.readout.words, loaded.readout.weights) == (WORDS, WEIGHTS)

    @pytest.mark.parametrize("key", ["level_ids", "level_prefix", "score_weight"])
    def test_published_model_that_does_not_say(self, published, key):
        saved = published
        config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
        del config[key]
        (saved / "config.json").write_text(json.dumps(config), encoding="utf-8")
        with pytest.raises(CheckpointError, match=rf"config.json: has no {key}"):
            model_in(saved)
        if key == "score_weight":
            assert model_in(saved, None, (5, 4, 3, 2, 1)).readout.weights == (5, 4, 3, 2, 1)

    def test_published_model_with_another_answer(self, published, tiny_processor):
        saved = published
        config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
        config["level_prefix"] = tiny_processor.tokenizer.sp_model.encode("The composition is")
        (saved / "config.json").write_text(json.dumps(config), encoding="utf-8")
        with pytest.raises(CheckpointError, match=r"level_prefix .*'The composition is', expected"):
            model_in(saved)

    @pytest.mark.parametrize(
        "change",
        [
            {"prompt": None},
            {"prompt": {"name": "artquant"}},
            {"readout": {"kind": "score_tokens"}},
            {"readout": {"kind": "rating_levels", "words": ["good"], "weights": [1], "token_ids": [5]}},
            {"readout": {"kind": "rating_levels", "colour": "red"}},
        ],
        ids=str,
    )
    def test_card_that_cannot_be_used(self, saved, change):
        unlisted(saved, **change)
        with pytest.raises(ArtQuantError) as error:
            model_in(saved)
        assert str(saved / CARD) in str(error.value)

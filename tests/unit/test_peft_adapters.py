"""Adapters that peft wrote over the plain base: what peft computes with them, or a refusal by name."""

import json
import shutil
import warnings

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file

from artquant.config.schema import Loading
from artquant.models.family import CheckpointError
from artquant.models.model_folder import ModelFolder
from artquant.models.weights import load_network

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ["q_proj", "v_proj.multiway.1"]


@torch.no_grad()
def logits(network):
    ids = torch.tensor([[1, 300, *[-200] * 4, 301, 302]])
    pixels = torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    return network(input_ids=ids, pixel_values=pixels).logits


def base_network(tiny_base):
    return load_network(ModelFolder.open(tiny_base), Loading()).model


def written(folder, tiny_base, **settings):
    """A plain folder of peft's, whose adapter is drawn; settings: of its configuration."""
    config = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": NAMES, "task_type": "CAUSAL_LM"} | settings)
    adapted = get_peft_model(base_network(tiny_base), config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    adapted.save_pretrained(folder)
    return folder


def change_tensors(folder, change):
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({change(name): value for name, value in tensors.items()}, folder / "adapter_model.safetensors")


def change_config(folder, **values):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    return folder


def refused(folder, base=None):
    with pytest.raises(CheckpointError) as error:
        load_network(ModelFolder.open(folder, base), Loading())
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"init_lora_weights": False},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": "eva"},
        {"init_lora_weights": "orthogonal"},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "pissa_niter_16"},
        {"init_lora_weights": "olora"},
        {"use_rslora": True},
        {"use_dora": True},
        {"use_dora": True, "use_rslora": True, "init_lora_weights": "pissa"},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {r"layers.1.self_attn.q_proj": 3}},
        {"layers_to_transform": [1], "layers_pattern": "layers"},
        {"layers_to_transform": 0},
        {"exclude_modules": ["model.layers.0.self_attn.q_proj"]},
        {"target_modules": r".*\.layers\.1\.mlp\.(up|down)_proj"},
        {"target_modules": ["fc1", "embed_tokens"]},
        {"bias": "all"},
        {"bias": "lora_only", "target_modules": ["fc1"]},
        {"target_modules": ["fc1"], "lora_bias": True},
        {"modules_to_save": ["visual_abstractor", "lm_head"]},
        {"trainable_token_indices": [5, 7]},
        {"target_modules": [], "target_parameters": ["model.layers.0.self_attn.q_proj.weight"]},
        {"fan_in_fan_out": True},
    ],
    ids=str,
)
def test_computes_what_peft_computes(tiny_base, tmp_path, settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = written(tmp_path / "adapter", tiny_base, **settings)
        torch.manual_seed(0)  # by which `pissa_niter_16` takes its share out of the base
        expected = logits(PeftModel.from_pretrained(base_network(tiny_base), folder).eval())
        found = logits(load_network(ModelFolder.open(folder, tiny_base), Loading()).model)
    assert (expected - logits(base_network(tiny_base))).abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_adapters_of_a_compiled_network(tiny_base, tmp_path, caplog):
    """Names as torch.compile changes them, of the whole network's tensors or of one module's."""
    plain = written(tmp_path / "plain", tiny_base)
    expected = logits(load_network(ModelFolder.open(plain, tiny_base), Loading()).model)
    for number, prefix in enumerate(("model.layers", "base_model.model")):
        folder = shutil.copytree(plain, tmp_path / str(number))
        change_tensors(folder, lambda name, prefix=prefix: name.replace(prefix, f"_orig_mod.{prefix}", 1))
        network = load_network(ModelFolder.open(folder, tiny_base), Loading()).model
        assert torch.equal(logits(network), expected)
    change_tensors(folder, lambda name: name.removeprefix("_orig_mod.") if ".1." in name else name)
    assert torch.equal(logits(load_network(ModelFolder.open(folder, tiny_base), Loading()).model), expected)
    tensors = load_file(folder / "adapter_model.safetensors")
    name = next(name for name in tensors if name.startswith("_orig_mod."))
    save_file(tensors | {name.removeprefix("_orig_mod."): tensors[name].clone()}, folder / "adapter_model.safetensors")
    assert f"tensor {name} is there without _orig_mod too" in refused(folder, tiny_base)


def test_whole_compiled_network(tiny_base, tmp_path):
    """Saved again it has its plain names."""
    folder = shutil.copytree(tiny_base, tmp_path / "compiled")
    tensors = load_file(folder / "model.safetensors")
    named = {f"_orig_mod.{name}": value for name, value in tensors.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    network = base_network(folder)
    assert torch.equal(logits(network), logits(base_network(tiny_base)))
    network.save_pretrained(tmp_path / "again")
    assert set(load_file(tmp_path / "again" / "model.safetensors")) == set(tensors)


def test_saved_under_zero3_without_putting_together(tiny_base, tmp_path):
    folder = written(tmp_path / "adapter", tiny_base)
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({name: value[:0].flatten() for name, value in tensors.items()}, folder / "adapter_model.safetensors")
    message = refused(folder, tiny_base)
    assert (
        "is empty, as DeepSpeed's ZeRO-3 saves it" in message and "stage3_gather_16bit_weights_on_model_save" in message
    )
    whole = shutil.copytree(tiny_base, tmp_path / "whole")
    tensors = load_file(whole / "model.safetensors")
    tensors = {name: value[:0].flatten() if "q_proj" in name else value for name, value in tensors.items()}
    save_file(tensors, whole / "model.safetensors", metadata={"format": "pt"})
    assert "is empty, as DeepSpeed's ZeRO-3 saves it" in refused(whole)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer_replication": [[0, 1], [0, 2]]}, "layer_replication is not supported"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens is not supported"),
        ({"use_qalora": True}, "use_qalora is not supported"),
        ({"lora_of_2031": {"depth": 2}}, "lora_of_2031 is not known to the peft that is installed"),
        ({"init_lora_weights": "corda"}, "init_lora_weights 'corda' is not supported"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights 'loftq' is not supported"),
        ({"layers_to_transform": [7]}, "does not fit the base model"),
        ({"target_modules": r".*q_proj", "layers_to_transform": [1]}, "`layers_to_transform` cannot be used"),
        ({"lora_bias": True}, "is missing"),
        ({"r": 2}, "has another shape"),
    ],
    ids=str,
)
def test_what_cannot_act_is_refused_by_name(tiny_base, tmp_path, values, message):
    folder = change_config(written(tmp_path / "adapter", tiny_base), **values)
    assert message in refused(folder, tiny_base)


def test_unknown_settings_that_say_nothing_are_passed_over(tiny_base, tmp_path):
    folder = written(tmp_path / "adapter", tiny_base)
    expected = logits(load_network(ModelFolder.open(folder, tiny_base), Loading()).model)
    change_config(folder, lora_of_2031=None, later_list=[], later_switch=False, revision="main")
    assert torch.equal(logits(load_network(ModelFolder.open(folder, tiny_base), Loading()).model), expected)


def test_layers_without_bias_take_none(tiny_base, tmp_path):
    assert "cannot be merged into the base model: Impossible to merge LoRA with `lora_bias=True`" in refused(
        written(tmp_path / "adapter", tiny_base, lora_bias=True), tiny_base
    )


@pytest.mark.parametrize("kind", [IA3Config, PrefixTuningConfig])
def test_other_methods_are_refused_by_name(tiny_base, tmp_path, kind):
    settings = {"target_modules": NAMES, "feedforward_modules": []} if kind is IA3Config else {"num_virtual_tokens": 2}
    kind(task_type="CAUSAL_LM", **settings).save_pretrained(tmp_path)
    assert "is not supported, LORA is" in refused(tmp_path, tiny_base)


def test_base_of_somebody_else_is_named_and_not_followed(tiny_base, tmp_path):
    folder = change_config(written(tmp_path / "adapter", tiny_base), base_model_name_or_path=str(tiny_base))
    assert f"trained over what was {tiny_base}; name the base model's folder (--base DIR)" in refused(folder)

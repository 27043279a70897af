"""The network of a stage without its weights: every shape and number format as in training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers.initialization import no_init_weights

from artquant.config.schema import ModelConfig, TrainableConfig
from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json
from artquant.models.checkpoints import DTYPES
from artquant.models.mplug_owl2 import MPLUGOwl2Config, MPLUGOwl2LlamaForCausalLM
from artquant.plan.quantized import NarrowLinear, narrow
from artquant.train.network import choose_parameters, with_new_adapter

# The published 7B model's decoder; the visual parts' published shapes are the configuration's defaults.
PUBLISHED = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "pad_token_id": 0,
}


@dataclass(frozen=True)
class Shape:
    """A network's configuration. published: it is the 7B model's because the base folder is not there."""

    config: MPLUGOwl2Config
    published: bool


def read_shape(base: Path) -> Shape:
    """The base model's shape from its `config.json`; without the folder that of the published 7B model.

    Raises:
        ArtQuantError: the folder holds no usable configuration.
    """
    if not base.exists():
        return Shape(MPLUGOwl2Config(**PUBLISHED), published=True)
    file = base / "config.json"
    if not file.is_file():
        raise ArtQuantError(f"{base}: no config.json in it, so it is no model folder; correct base")
    values = read_json(file)
    try:
        return Shape(MPLUGOwl2Config(**values), published=False)
    except (TypeError, ValueError) as error:
        raise ArtQuantError(f"{file}: not a usable mPLUG-Owl2 configuration ({error})") from error


def build_skeleton(
    config: MPLUGOwl2Config, model: ModelConfig, trainable: TrainableConfig, deepspeed: bool
) -> nn.Module:
    """The network as a stage trains it, on the meta device.

    deepspeed: it keeps float32 copies itself; otherwise what trains is float32 beside a frozen bfloat16 base.
    """
    dtype = DTYPES[model.dtype]
    # Both keep queries, keys, values, output and one float32 number a row; flash-attn itself needs a GPU.
    config._attn_implementation = "eager" if model.attention == "eager" else "sdpa"
    with torch.device("meta"), no_init_weights():
        network = MPLUGOwl2LlamaForCausalLM(config).to(dtype)
        wrapped = network if trainable.lora is None else with_new_adapter(network, trainable.lora)
    choose_parameters(network, trainable)
    if model.quantize is not None:
        narrow(network, model.quantize, dtype)
    for parameter in filter(torch.is_floating_point, wrapped.parameters()):
        parameter.data = parameter.data.to(torch.float32 if parameter.requires_grad and not deepspeed else dtype)
    if model.gradient_checkpointing:
        network.gradient_checkpointing_enable()
    return wrapped.train()


def parameter_counts(network: nn.Module) -> tuple[int, int]:
    """Trainable and all parameters, those of quantised layers as if they were whole."""
    counts = {True: 0, False: 0}
    for parameter in network.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    for module in network.modules():
        if isinstance(module, NarrowLinear):
            counts[False] += module.numbers - sum(parameter.numel() for parameter in module.parameters())
    return counts[True], counts[True] + counts[False]


def materialise(network: nn.Module) -> None:
    """Put tensors of the same shapes in the place of meta tensors; called where fake tensors are made."""
    for module in network.modules():
        for name, value in module._parameters.items():
            if value is not None:
                empty = torch.empty(value.shape, dtype=value.dtype)
                module._parameters[name] = nn.Parameter(empty, requires_grad=value.requires_grad)
        for name, value in module._buffers.items():
            if value is not None:
                module._buffers[name] = torch.empty(value.shape, dtype=value.dtype)

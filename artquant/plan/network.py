"""The network of a stage without its weights: every shape and number format as in training."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import PretrainedConfig
from transformers.initialization import no_init_weights

from artquant.config.schema import ModelConfig, TrainableConfig
from artquant.errors import ArtQuantError
from artquant.models.families import DEFAULT, FAMILIES
from artquant.models.family import Family
from artquant.models.hub import locate
from artquant.models.model_folder import ModelFolder
from artquant.models.scoring_network import ScoringNetwork
from artquant.models.vocabulary import token_rows, trained_rows
from artquant.models.whole import DTYPES
from artquant.plan.quantized import NarrowLinear, narrow
from artquant.readouts import Readout
from artquant.train.network import choose_parameters, recompute_activations, with_new_adapter


@dataclass(frozen=True)
class Shape:
    """A network's configuration. published: it is the best-known model's because the base folder is not there."""

    folder: Path
    family: Family
    config: PretrainedConfig
    published: bool


def read_shape(base: Path, untested: bool = False) -> Shape:
    """The base model's shape from its `config.json`; without the folder that of the default family's best-known one.

    Raises:
        ArtQuantError: the folder holds no usable configuration.
    """
    folder = locate(base, weights=False).folder
    if not folder.exists():
        family = FAMILIES[DEFAULT]
        published = family.published_config()
        if published is None:
            raise ArtQuantError(f"{base}: is not there; correct base")
        return Shape(base, family, published, published=True)
    opened = ModelFolder.open(folder, alone=True)
    return Shape(base, opened.family, opened.family.config(folder, untested), published=False)


def build_skeleton(
    shape: Shape, model: ModelConfig, trainable: TrainableConfig, readout: Readout, deepspeed: bool
) -> ScoringNetwork:
    """The network as a stage trains it, on the meta device.

    deepspeed: it keeps float32 copies itself; otherwise what trains is float32 beside a frozen bfloat16 base.
    """
    family, config, dtype = shape.family, copy.deepcopy(shape.config), DTYPES[model.dtype]
    # Both keep queries, keys, values, output and one float32 number a row; flash-attn itself needs a GPU.
    config._attn_implementation = "eager" if model.attention == "eager" else "sdpa"
    with torch.device("meta"), no_init_weights():
        network = family.empty(config)
        network.to(dtype)  # type: ignore[arg-type]  # transformers' wrapper hides what is bound
        parts = family.parts(network)
        before, words = token_rows(network), len(readout.new_words)
        if words:
            network.resize_token_embeddings(before + words, mean_resizing=False)
        wrapped = ScoringNetwork(network, parts, readout.head(config.get_text_config().hidden_size))
        if trainable.lora is not None:
            rows = trained_rows(network, range(before, before + words))
            wrapped.network = with_new_adapter(network, trainable.lora, family, parts, rows)
    choose_parameters(wrapped, trainable)
    if model.narrow_weights is not None:
        narrow(network, parts, model.narrow_weights, dtype)
    for parameter in filter(torch.is_floating_point, wrapped.parameters()):
        parameter.data = parameter.data.to(torch.float32 if parameter.requires_grad and not deepspeed else dtype)
    if model.gradient_checkpointing:
        recompute_activations(network)
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
        for name, parameter in module._parameters.items():
            if parameter is not None:
                empty = torch.empty(parameter.shape, dtype=parameter.dtype)
                module._parameters[name] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)

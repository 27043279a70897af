"""The weights that train, wherever they lie."""

from __future__ import annotations

import torch
from torch import nn
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from artquant.models.zero3 import gathered


def trainable_tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Name -> value of every parameter that trains, on the CPU or where it lies; called on every rank.

    Under ZeRO-3 parameters are put together one by one, so that no rank ever holds more than one whole.
    """
    tensors = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            with gathered([parameter]):
                value = parameter.detach()
                tensors[stored_name(name)] = value.cpu().clone() if is_deepspeed_zero3_enabled() else value.contiguous()
    return tensors


def stored_name(name: str) -> str:
    """A parameter's name in checkpoints: without that of the module around the network."""
    return name.removeprefix("network.")

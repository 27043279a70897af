"""The weights that train, wherever they lie."""

from __future__ import annotations

import torch
from torch import nn
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled


def trainable_tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Name -> value of every parameter that trains, on the CPU or where it lies; called on every rank.

    Under ZeRO-3 parameters are put together one by one, so that no rank ever holds more than one whole.
    """
    if not is_deepspeed_zero3_enabled():
        trainable = ((name, value) for name, value in network.named_parameters() if value.requires_grad)
        return {stored_name(name): value.detach().contiguous() for name, value in trainable}
    from deepspeed import zero

    tensors = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            with zero.GatheredParameters([parameter]):
                tensors[stored_name(name)] = parameter.detach().cpu().clone()
    return tensors


def whole_size(parameter: nn.Parameter) -> int:
    """Numbers in a parameter; under ZeRO-3 in all of it, not in this rank's share."""
    if not is_deepspeed_zero3_enabled():
        return parameter.numel()
    from deepspeed.runtime.zero.partition_parameters import is_zero_param

    return parameter.ds_numel if is_zero_param(parameter) else parameter.numel()  # a new adapter is still whole


def stored_name(name: str) -> str:
    """A parameter's name in checkpoints: without that of the module around the network."""
    return name.removeprefix("network.")

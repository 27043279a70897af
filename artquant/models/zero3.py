"""Parameters under DeepSpeed's ZeRO-3, which cuts them up over the ranks."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

from torch import nn
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled


def gathered(parameters: Iterable[nn.Parameter], changed: bool = False) -> AbstractContextManager[None]:
    """Whole parameters for a while; without ZeRO-3 they are whole anyway.

    Args:
        changed: they are changed, on every rank alike, and cut up again afterwards.
    """
    if not is_deepspeed_zero3_enabled():
        return nullcontext()
    from deepspeed import zero

    return zero.GatheredParameters(list(parameters), modifier_rank=0 if changed else None)


def whole_size(parameter: nn.Parameter) -> int:
    """Numbers in a parameter; under ZeRO-3 in all of it, not in this rank's share."""
    if is_deepspeed_zero3_enabled():
        from deepspeed.runtime.zero.partition_parameters import is_zero_param

        if is_zero_param(parameter):  # a new adapter is still whole
            return vars(parameter)["ds_numel"]
    return parameter.numel()

"""Linear layers with weights in 4 or 8 bits, as bitsandbytes lays them out, for the simulation alone.

What a layer holds and what it makes on the way is as there (0.50, `bitsandbytes.autograd._functions`): the weight is
widened to the format computed in, once forward and once backward, and let go again; 8 bits also take the input in 8
bits and keep it in the format it came in.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from artquant.models.family import Parts

_BLOCK = 64  # numbers that share a constant in nf4
_BLOCKS = 256  # constants that share a constant of their own


class _NarrowLinear(torch.autograd.Function):
    """x W^T with W widened for the moment."""

    @staticmethod
    def forward(
        context: Any, states: torch.Tensor, packed: torch.Tensor, shape: tuple[int, ...], kind: str
    ) -> torch.Tensor:
        context.packed, context.shape = packed, shape
        if kind == "nf4":
            return states @ torch.empty(shape, dtype=states.dtype).t()
        context.states = states
        narrow = states.to(torch.int8)
        sums = torch.empty(*states.shape[:-1], shape[0], dtype=torch.int32)
        del narrow
        return sums.to(states.dtype)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return gradient @ torch.empty(context.shape, dtype=gradient.dtype), None, None, None


class NarrowLinear(nn.Linear):
    """A frozen linear layer without bias whose weight is `packed`, and its constants."""

    def __init__(self, layer: nn.Linear, kind: Literal["nf4", "int8"], dtype: torch.dtype):
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        self.kind, self.dtype = kind, dtype
        self.shape = tuple(self.weight.shape)
        size = self.weight.numel()
        del self.weight
        self.numbers = size
        self.packed = _frozen(size // 2 if kind == "nf4" else size, torch.uint8)
        if kind == "nf4":
            blocks = -(-size // _BLOCK)
            self.constants = _frozen(blocks, torch.uint8)
            self.outer = _frozen(-(-blocks // _BLOCKS) + 256 + 16 + 1, torch.float32)  # with the two code tables
        else:
            self.constants = _frozen(self.out_features, torch.float32)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        wide = states.to(self.dtype)
        return _NarrowLinear.apply(wide, self.packed, self.shape, self.kind).to(states.dtype)


def _frozen(size: int, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(torch.empty(size, dtype=dtype, device="meta"), requires_grad=False)


def narrow(network: nn.Module, parts: Parts, kind: Literal["nf4", "int8"], dtype: torch.dtype) -> None:
    """Replace the linear layers that `quantize` touches: the decoder's frozen ones."""
    for name, module in list(network.named_modules()):
        for child, layer in list(module.named_children()):
            path = f"{name}.{child}" if name else child
            if type(layer) is nn.Linear and parts.of(path) == "decoder":
                setattr(module, child, NarrowLinear(layer, kind, dtype))

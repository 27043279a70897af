"""The fastest linear layers for scoring and describing, by device and number format; values as the plain layers give.

| device, format | weights | why |
| --- | --- | --- |
| CPU, float32; bfloat16 where it has instructions for it | laid out once as oneDNN wants them | not at every call |
| CPU, bfloat16 without such instructions | widened for the product | its own is 4 to 7 times slower than float32's |
| CPU, `quantize: dynamic_int8` | 8 bits a row's scale, inputs quantised as they come | half of float32's time |
| all others | as they are | |

Figures: `scripts/bench/NOTES.md`. Shape legend: M positions, I inputs, O outputs of a layer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

_SMALLEST = 2**18  # weights of a layer worth the call's overhead, 50 microseconds
_WIDENING = 32  # positions from which on widening the weights pays


class PackedLinear(nn.Module):
    """A linear layer whose weights are laid out as oneDNN's products read them; for inference alone."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        # No parameter and no buffer: nothing copies, moves or saves this layout.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        self.bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """[..., I] -> [..., O]."""
        return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")


class WidenedLinear(nn.Module):
    """A bfloat16 layer that computes in float32: sums as exact, results rounded to bfloat16 as before."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """[..., I] -> [..., O]."""
        if input.numel() < _WIDENING * self.in_features:
            return functional.linear(input, self.weight, self.bias)
        bias = None if self.bias is None else self.bias.float()
        return functional.linear(input.float(), self.weight.float(), bias).to(input.dtype)


class DynamicInt8Linear(nn.Module):
    """A layer with weights of 8 bits, a scale for each output, and inputs quantised as they come, each row by its own.

    Torch's products have one range for all rows: they are scaled to it before and back afterwards, so that what a
    position gives does not depend on the others.
    """

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        weight = layer.weight.detach().float()
        scales = (weight.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        places = torch.zeros(len(weight), dtype=torch.int64)
        self.bias = None if layer.bias is None else layer.bias.detach()
        with warnings.catch_warnings():  # torch announces that quantised tensors will go, and has no other int8 product
            warnings.simplefilter("ignore")
            narrow = torch.quantize_per_channel(weight, scales, places, 0, torch.qint8)
            known = torch.backends.quantized.supported_engines
            whole = "onednn" in known and torch.cpu.get_capabilities().get("avx512_vnni", False)
            self.reduce_range = not whole  # a bit less of the inputs: older processors add two products in 16 bits
            with _engine("onednn" if whole else torch.backends.quantized.engine):
                self.packed = torch.ops.quantized.linear_prepack(narrow, None)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """[..., I] -> [..., O]."""
        wide = input.float()
        ranges = wide.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        scaled = torch.ops.quantized.linear_dynamic(wide / ranges, self.packed, reduce_range=self.reduce_range)
        output = scaled.mul_(ranges)
        return (output if self.bias is None else output.add_(self.bias)).to(input.dtype)


@contextmanager
def _engine(name: str) -> Iterator[None]:
    """Have 8-bit weights laid out for this library; a layer keeps to the one that it was laid out for."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


def quicken(network: PreTrainedModel, device: torch.device, int8: bool = False) -> None:
    """Give a network that will not be trained the layers that are fastest; what has adapters or narrow weights stays.

    Args:
        int8: `DynamicInt8Linear` below the head, on the CPU.
    """
    if device.type != "cpu":
        return
    table, head = network.get_input_embeddings().weight, network.get_output_embeddings()
    names = [
        name
        for name, layer in network.named_modules()
        # A head tied with the token table stays: the table is read by its rows.
        if type(layer) is nn.Linear and layer.weight is not table and layer.weight.numel() >= _SMALLEST * (not int8)
    ]
    for name in names:  # each layer's own weights go before the next one's are laid out
        layer = network.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        kind = DynamicInt8Linear if int8 and layer is not head else _fastest(layer.weight.dtype)
        if kind is not None:
            network.set_submodule(name, kind(layer))


def _fastest(dtype: torch.dtype) -> type[PackedLinear] | type[WidenedLinear] | None:
    if not torch.backends.mkldnn.is_available():
        return None
    if dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return PackedLinear
    return WidenedLinear if dtype == torch.bfloat16 else None

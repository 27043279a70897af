"""What a rank keeps beside activations: weights, their copies, gradients, optimizer states, communication buffers.

All of it is made as fake tensors when training would make it, so that it is in the peak exactly while it is there.
"""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import nn

from artquant.models.family import Part
from artquant.models.scoring_network import ScoringNetwork
from artquant.plan.live_memory import ELSEWHERE, LiveMemory
from artquant.plan.zero import ZeroSettings


class States:
    """Without DeepSpeed: AdamW's two moments in the weights' format, whole gradients, and with several ranks the
    buckets in which they are averaged (DistributedDataParallel keeps a second copy of all gradients)."""

    def __init__(self, network: ScoringNetwork, memory: LiveMemory, ranks: int):
        self.memory, self.ranks = memory, ranks
        self.host: Counter[str] = Counter()
        self.last = True
        self.trainable = [value for value in network.parameters() if value.requires_grad]
        self.kept: list[torch.Tensor] = []
        for value in (*network.parameters(), *network.buffers()):
            memory.count(value, "trainable weights" if value.requires_grad else "frozen weights")
        for value in self.trainable:
            value.register_post_accumulate_grad_hook(self._ready)

    def begin(self) -> None:
        """Make what lives from step to step."""
        for value in self.trainable:
            self._keep("optimizer states", [value.numel()] * 2, value.dtype)
        if self.ranks > 1:
            for value in self.trainable:
                self._keep("communication", [value.numel()], value.dtype)

    def before_backward(self, last: bool) -> None:
        """last: the step's last micro-batch, after which the ranks average."""
        self.last = last

    def after_backward(self) -> None:
        """What happens when the last gradient is there."""

    def step(self) -> None:
        """Clip in place, step in place (fused AdamW), let the gradients go."""
        for value in self.trainable:
            value.grad = None

    def _ready(self, parameter: nn.Parameter) -> None:
        if parameter.grad is not None:
            self.memory.count(parameter.grad, "gradients")

    def _keep(self, category: str, sizes: list[int], dtype: torch.dtype) -> None:
        for size in sizes:
            tensor = torch.empty(size, dtype=dtype)
            self.memory.count(tensor, category)
            self.kept.append(tensor)


class WholeStates(States):
    """ZeRO-0: in bfloat16 float32 copies of all that trains, and of its gradients during the step."""

    def __init__(self, network: ScoringNetwork, memory: LiveMemory, ranks: int, zero: ZeroSettings):
        super().__init__(network, memory, ranks)
        self.zero = zero

    def begin(self) -> None:
        copies = 3 if self.trainable[0].dtype != torch.float32 else 2
        for value in self.trainable:
            self._keep("optimizer states", [value.numel()] * copies, torch.float32)

    def after_backward(self) -> None:
        """The gradients are averaged in a flat copy, as much at a time as a bucket holds."""
        if self.last and self.ranks > 1:
            total = sum(value.numel() for value in self.trainable)
            with self.memory.during("averaging", "communication"):
                torch.empty(min(total, self.zero.reduce_bucket), dtype=self.trainable[0].dtype)

    def step(self) -> None:
        if self.trainable[0].dtype != torch.float32:
            gradients = [value.grad.float() for value in self.trainable if value.grad is not None]
            del gradients
        super().step()


class CutUpStates(States):
    """ZeRO-1 and ZeRO-2: float32 weights, moments and averaged gradients of this rank's share of each parameter group.

    A gradient goes into a bucket as soon as it is there (ZeRO-1: in the step's last micro-batch, before it stays whole)
    and from there, averaged, into this rank's share.
    """

    def __init__(self, network: ScoringNetwork, memory: LiveMemory, ranks: int, zero: ZeroSettings):
        super().__init__(network, memory, ranks)
        self.zero = zero
        self.dtype = self.trainable[0].dtype
        groups: Counter[tuple[Part, bool]] = Counter()
        for name, value in network.named_parameters():
            if value.requires_grad:
                # Weight decay does not apply to biases and norms.
                groups[network.parts.of(name), value.ndim > 1] += value.numel()
        self.group_shares = [math.ceil(size / ranks) for size in groups.values()]
        self.share = sum(self.group_shares)
        self.buckets: list[torch.Tensor] = []
        self.filled = 0
        self.new_share: torch.Tensor | None = None
        self.shares: list[torch.Tensor] = []

    def begin(self) -> None:
        largest = max(value.numel() for value in self.trainable)
        if self.zero.offload_optimizer:
            self.host["optimizer states"] = 3 * 4 * self.share
            self.host["gradients"] = 4 * self.share + self.dtype.itemsize * self.share
            self.host["copies to send"] = self.dtype.itemsize * (self.share + largest)
            self._keep("communication", [largest], self.dtype)
        else:
            self._keep("optimizer states", [self.share] * 3, torch.float32)

    @property
    def _moves(self) -> bool:
        return self.zero.stage > 1 or self.last

    def _ready(self, parameter: nn.Parameter) -> None:
        if parameter.grad is not None:
            self.memory.count(parameter.grad, "gradients")
        if not self.buckets:
            for _ in range(self.zero.buckets):
                self.buckets.append(self._made("communication", self.zero.reduce_bucket))
        if not self._moves:
            return
        if self.filled + parameter.numel() > self.zero.reduce_bucket:
            self._flush()
        parameter.grad = None
        self.filled += parameter.numel()

    def _flush(self) -> None:
        """Gradients are averaged, in ZeRO-2 in a flat copy of the bucket, and leave it for this rank's share."""
        if self.zero.stage == 2 and self.ranks > 1:
            self._made("communication", min(self.filled, self.zero.reduce_bucket))
        self.filled = 0
        if self.new_share is None and not self.zero.offload_optimizer:
            self.new_share = self._made("gradients", self.share)

    def _made(self, category: str, size: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        tensor = torch.empty(size, dtype=dtype or self.dtype)
        self.memory.count(tensor, category)
        return tensor

    def after_backward(self) -> None:
        if self._moves:
            self._flush()
            if not self.shares and self.new_share is not None:
                self.shares.append(self.new_share)  # later micro-batches' are added to it
        self.new_share = None
        self.buckets.clear()

    def step(self) -> None:
        """Group by group: the share's gradient is put together, widened to float32 and used."""
        if not self.zero.offload_optimizer:
            largest = max(value.numel() for value in self.trainable)
            self._made("temporaries", largest, torch.float64)  # a gradient's norm
            for share in self.group_shares:
                flat = self._made("temporaries", share)
                wide = flat.float()
                del flat, wide
        self.shares.clear()
        super().step()


class PartitionedStates(CutUpStates):
    """ZeRO-3: weights too are cut up; those in use are whole, up to a stated number."""

    def __init__(self, network: ScoringNetwork, memory: LiveMemory, ranks: int, zero: ZeroSettings):
        super().__init__(network, memory, ranks, zero)
        self.whole = list(network.parameters())

    def begin(self) -> None:
        super().begin()
        for value in self.whole:
            self.memory.count(value, ELSEWHERE)  # what is whole is counted as gathered
        small = [value for value in self.whole if value.numel() <= self.zero.persistence_threshold]
        large = [value for value in self.whole if value.numel() > self.zero.persistence_threshold]
        for category, wanted in (("frozen weights", False), ("trainable weights", True)):
            sizes = [math.ceil(value.numel() / self.ranks) for value in large if value.requires_grad == wanted]
            sizes += [value.numel() for value in small if value.requires_grad == wanted]
            if self.zero.offload_parameters:
                self.host[category] = sum(sizes) * self.dtype.itemsize
            else:
                self._keep(category, [sum(sizes)], self.dtype)
        gathered = min(self.zero.live_parameters, sum(value.numel() for value in large))
        self._keep("gathered weights", [gathered], self.dtype)


def states_of(network: ScoringNetwork, memory: LiveMemory, ranks: int, zero: ZeroSettings | None) -> States:
    """What this rank keeps."""
    if zero is None:
        return States(network, memory, ranks)
    if zero.stage == 0:
        return WholeStates(network, memory, ranks, zero)
    return (PartitionedStates if zero.stage == 3 else CutUpStates)(network, memory, ranks, zero)

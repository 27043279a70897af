"""One optimizer step with fake tensors: the real network, loss and backward pass, nothing computed.

Every tensor that training would make is made in the same order and let go at the same time; only numbers are missing.
The weights' copies and states of DeepSpeed are made as `deepspeed.runtime.zero.stage_1_and_2` makes them (0.19).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field

import torch
from accelerate.utils import convert_outputs_to_fp32
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from artquant.batches.batch import Batch, Learned, Scored
from artquant.models.family import NetworkInputs
from artquant.models.scoring_network import ScoringNetwork
from artquant.plan.known_values import KnownValues
from artquant.plan.live_memory import LiveMemory, Peak
from artquant.plan.network import materialise
from artquant.plan.rank_memory import states_of
from artquant.plan.zero import ZeroSettings
from artquant.train.objective import Objective


@dataclass(frozen=True)
class ExampleShape:
    """The shape of a micro-batch.

    length: positions of the longest sample, image positions included. learned: positions of a sample whose next token
    is learned. width: of a target.
    """

    size: int
    length: int
    learned: int
    width: int = 5

    def batch(self, inputs: NetworkInputs) -> Batch:
        """A batch of fake tensors: each sample is learned as a description and scored, so that every term of the loss
        is there.

        inputs: what the network takes.
        """
        texts, scored = self.size * self.learned, self.size
        return Batch(
            inputs,
            Learned(_indices(texts), _indices(texts), (texts, 0)),
            Scored(
                _indices(scored),
                _indices(scored),
                torch.zeros(scored, self.width),
                torch.zeros(scored, 2),
                torch.zeros(scored, dtype=torch.bool),
                torch.arange(scored // 2 * 2).reshape(-1, 2),
            ),
            sources=("",) * self.size,
        )


def _indices(count: int) -> torch.Tensor:
    return torch.zeros(count, dtype=torch.int64)


@dataclass(frozen=True)
class Setup:
    """How a rank trains. autocast: mixed precision by torch, as without DeepSpeed in bfloat16."""

    ranks: int
    accumulation: int
    autocast: bool
    zero: ZeroSettings | None
    device: str = "cuda"


@dataclass
class Simulation:
    """Result: the peak of every phase, and what lies in the host's memory, by category."""

    peaks: dict[str, Peak] = field(default_factory=dict)
    host: Counter[str] = field(default_factory=Counter)

    @property
    def peak(self) -> tuple[str, Peak]:
        """The phase that needs most, and its peak."""
        return max(self.peaks.items(), key=lambda entry: entry[1].total)


class _WideLayerNorm(nn.LayerNorm):
    """On a GPU autocast runs layer norms in float32, on a CPU, where this is simulated, it does not."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        weight, bias = self.weight.float(), self.bias.float()
        return nn.functional.layer_norm(states.float(), self.normalized_shape, weight, bias, self.eps)


def _autocast_as_on_gpu(network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.LayerNorm:
                wide = _WideLayerNorm(child.normalized_shape, child.eps, device="meta")
                wide.weight, wide.bias = child.weight, child.bias
                setattr(module, name, wide)


def simulate(
    network: ScoringNetwork,
    shape: ExampleShape,
    inputs: NetworkInputs,
    objective: Objective,
    setup: Setup,
    with_values: bool = False,
) -> Simulation:
    """Run the phases of an optimizer step that is not the first, when all states are there.

    network: on the meta device (`artquant.plan.network`); it is used up. inputs: what it takes. with_values: keep the
    values of what depends on the inputs alone; slower.

    Raises:
        VALUES_ASKED: the network asks for such values, and they are not kept.
    """
    if setup.autocast and setup.device == "cuda":
        _autocast_as_on_gpu(network)
    with FakeTensorMode() as fake:
        materialise(network)
        values = KnownValues(fake)
        # Fetched together, as the loss counts over all; only the first is looked at.
        batches = [shape.batch(NetworkInputs({name: values.known(value) for name, value in inputs.items()}))]
        for _ in range(setup.accumulation - 1):
            fakes = {name: torch.empty(value.shape, dtype=value.dtype) for name, value in inputs.items()}
            batches.append(shape.batch(NetworkInputs(fakes)))
        memory = LiveMemory()
        with values if with_values else contextlib.nullcontext(), memory:
            for value in (value for batch in batches for value in _tensors(batch)):
                memory.count(value, "batch")
            states = states_of(network, memory, setup.ranks, setup.zero)
            with memory.during("between steps", "optimizer states"):
                states.begin()
            micro_steps = min(2, setup.accumulation)
            for index in range(micro_steps):
                states.before_backward(last=index + 1 == micro_steps)
                _micro_step(network, batches[0], objective, setup, memory)
                states.after_backward()
            with memory.during("optimizer step", "temporaries"):
                states.step()
    peaks = {phase: peak for phase, peak in memory.peaks.items() if phase != "start"}
    return Simulation(peaks, states.host)


def _tensors(batch: Batch) -> list[torch.Tensor]:
    scored = batch.scored
    rest = (scored.positions, scored.samples, scored.targets, scored.truth, scored.pairs)
    return [*batch.inputs.values(), batch.text.positions, batch.text.token_ids, *rest]


def _micro_step(network: ScoringNetwork, batch: Batch, objective: Objective, setup: Setup, memory: LiveMemory) -> None:
    autocast = torch.autocast("cpu", torch.bfloat16) if setup.autocast else contextlib.nullcontext()
    with memory.during("forward", "activations"), autocast:
        loss = _loss(network, batch, objective, setup, memory)
    with memory.during("backward", "temporaries"):
        loss.backward()


def _loss(
    network: ScoringNetwork, batch: Batch, objective: Objective, setup: Setup, memory: LiveMemory
) -> torch.Tensor:
    """As `ArtTrainer.compute_loss`."""

    def from_here(module: nn.Module, inputs: object) -> None:
        memory.category = "logits and loss"

    handle = network.plain.get_output_embeddings().register_forward_pre_hook(from_here)
    forward = convert_outputs_to_fp32(network) if setup.autocast else network
    sums = objective.sums(forward, batch)
    handle.remove()
    return objective.total({term: value / 2 for term, value in sums.items()})

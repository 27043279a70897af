"""The one forward: of training, validation, the plan and scoring.

A module around the network, because transformers' classes give logits at the same positions of every row only, the
hooks of DistributedDataParallel and DeepSpeed sit on the wrapped module's forward, and a readout's own head needs a
place to be counted and stored.

Shape legend: B rows, T positions, L positions whose token is learned, M scores, D hidden width, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache

from artquant.errors import ArtQuantError, one_line
from artquant.models.family import GivesStatesAt, NetworkInputs, Parts
from artquant.models.fast_attention import quicken_attention
from artquant.models.fast_linear import quicken
from artquant.models.text_losses import text_losses
from artquant.models.zero3 import gathered
from artquant.readouts import Seen

if TYPE_CHECKING:
    from peft import PeftModel


class ScoringNetwork(nn.Module):
    """A network, perhaps inside an adapter, with what a readout adds to it.

    Args:
        network: the plain network or peft's wrapping of it.
        parts: which of its parameters are whose.
        readout_head: the readout's own head on hidden states, if it has one.
    """

    def __init__(self, network: PreTrainedModel | PeftModel, parts: Parts, readout_head: nn.Module | None = None):
        super().__init__()
        self.network = network
        self.parts = parts
        self.readout_head = readout_head
        self._scoring_head: list[nn.Module] = []  # in float32; a list, so that it is no part of this module

    @property
    def plain(self) -> PreTrainedModel:
        """The network inside the adapter's wrapping, or itself."""
        if isinstance(self.network, PreTrainedModel):  # asked so, peft, which takes seconds, need not be there
            return self.network
        return cast(PreTrainedModel, self.network.get_base_model())  # peft takes any module

    @property
    def config(self) -> PretrainedConfig:
        """The network's configuration, which DeepSpeed looks at."""
        return self.plain.config

    def forward(
        self,
        text_positions: torch.Tensor,
        text_ids: torch.Tensor,
        score_positions: torch.Tensor,
        begun: Cache | None = None,
        **inputs: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """One pass.

        Args:
            begun: keys and values of what stands before the inputs; positions are counted without it.
            text_positions, score_positions: [L], [M] flat indices b * T + t of positions that predict.
            text_ids: [L], the tokens to be predicted at the former.
            inputs: what the network takes (`NetworkInputs`).

        Returns:
            `text_losses` [L], `logits` [M, V], `hidden` [M, D] and, where the readout has a head, `own` [M, ...].
        """
        plain = self.plain
        inputs = {name: value.to(plain.dtype) if value.is_floating_point() else value for name, value in inputs.items()}
        both = torch.cat([text_positions, score_positions])
        try:
            states = self._states(both, inputs if begun is None else inputs | {"past_key_values": begun})
        except (TypeError, ValueError, RuntimeError, IndexError) as error:  # where networks meet what does not fit them
            if isinstance(error, RuntimeError) and type(error) is not RuntimeError:  # no memory, shapes without numbers
                raise
            reason = f"{type(plain).__name__} refuses what the processor of its folder makes: {one_line(error)}"
            raise ArtQuantError(
                f"{reason}; processor and network files are not of one model, or the network fails itself"
            ) from error
        head, vocabulary = plain.get_output_embeddings(), plain.config.get_text_config().vocab_size
        text_states, hidden = states.split([len(text_positions), len(score_positions)])
        losses = text_losses(head, text_states, text_ids, vocabulary)
        if self._scoring_head:
            # In bfloat16 logits would be rounded to steps of up to 0.1.
            with torch.autocast(hidden.device.type, enabled=False):
                hidden = hidden.float()
                logits = self._scoring_head[0](hidden)
        else:
            logits = head(hidden)
        outputs = {"text_losses": losses, "logits": logits, "hidden": hidden}
        if self.readout_head is not None:
            outputs["own"] = self._own(self.readout_head, hidden)
        return outputs

    def _states(self, positions: torch.Tensor, inputs: Mapping[str, Any]) -> torch.Tensor:
        """Hidden states at flat positions, [M, D]."""
        below = self.plain.base_model
        if isinstance(below, GivesStatesAt):
            return below(**inputs, use_cache=False, states_at=positions).last_hidden_state
        return below(**inputs, use_cache=False).last_hidden_state.flatten(0, 1).index_select(0, positions)

    @staticmethod
    def _own(head: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
        """A readout's own head on hidden states [M, D], in the head's number format: DeepSpeed may have changed it."""
        dtype = next((value.dtype for value in head.parameters()), torch.float32)
        with torch.autocast(hidden.device.type, enabled=False):
            return head(hidden.to(dtype)).float()

    @torch.no_grad()  # not inference mode: training goes on with what ZeRO-3 gathers here
    def see(self, inputs: NetworkInputs, positions: torch.Tensor, begun: Cache | None = None) -> Seen:
        """What is to be read at flat positions [M]; begun: as of `forward`."""
        nothing = positions[:0]
        outputs = self(nothing, nothing, positions, begun, **inputs)
        del outputs["text_losses"]
        return Seen(**outputs)

    def precise(self) -> None:
        """Compute the logits at the scores in float32 from now on, with the head as it is now."""
        head = self.plain.get_output_embeddings()
        with gathered(head.parameters()):
            in_float32 = all(value.dtype == torch.float32 for value in head.parameters())
            # Under ZeRO-3 the head itself is put together when it is called.
            self._scoring_head = [head if in_float32 else copy.deepcopy(head).float().requires_grad_(False)]

    def quicken(self, device: torch.device, int8: bool = False) -> None:
        """`precise`, and the fastest layers (`fast_linear.quicken`): for inference alone from now on."""
        self.precise()
        own = self._scoring_head[0] is self.plain.get_output_embeddings()
        quicken(self.plain, device, int8)
        quicken_attention(self.plain, device)
        if own:
            self._scoring_head = [self.plain.get_output_embeddings()]

    @contextmanager
    def precisely(self) -> Iterator[None]:
        """`precise`, for a while; afterwards as before."""
        before = self._scoring_head
        self.precise()
        try:
            yield
        finally:
            self._scoring_head = before

"""What the rest of the code asks of a network: the seam at which another backbone fits in.

mPLUG-Owl2 is the one backbone there is. Data, training and inference use nothing of it beyond these two protocols.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch


class BackboneProcessor(Protocol):
    """Pictures and prompts to tensors."""

    image_sequence_length: int  # merged positions that one picture takes
    pad_token_id: int
    image_processor: Any  # RGB pictures -> {"pixel_values": [I, ...]}

    def tokenize(self, prompt: str) -> list[int]:
        """Token ids of a prompt; an image token is one id."""

    def expand(self, ids: Sequence[int]) -> list[int]:
        """Repeat the image token's id for every position that a picture takes."""

    def pad(self, rows: Sequence[Sequence[int]], padding_side: str = "right") -> dict[str, torch.Tensor]:
        """Rows of expanded ids -> `input_ids` and `attention_mask`, both [B, T]."""

    def decode(self, token_ids: Sequence[int], **kwargs) -> str:
        """Text of one row of ids."""


class Backbone(Protocol):
    """The network."""

    def __call__(self, **inputs) -> Any:
        """Forward pass over `input_ids`, `attention_mask`, `pixel_values`.

        With `logits_positions` [M] (flat indices b * T + t) the output's `logits` are [M, V].
        """

    base_model: Any  # the network without its head: the same inputs -> `last_hidden_state` [B, T, D]

    def get_output_embeddings(self) -> torch.nn.Linear:
        """The head, whose `weight` is [V, D]."""

    def generate(self, **inputs) -> torch.Tensor:
        """Continue prompts; returns the prompts' ids and the new ones."""

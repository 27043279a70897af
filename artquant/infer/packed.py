"""Several prompts about one picture in one forward pass.

The prompts share their beginning - picture, question, the first words of the answer - which is read once; their endings
follow one after the other. An attention mask keeps the endings from seeing each other and the positions of each count
on from the shared beginning, so that every prompt's result is what it would be alone.

Shape legend: N prompts, T packed positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch

from artquant.errors import ArtQuantError

MASKING_ATTENTIONS = ("eager", "sdpa")  # the kernels that take a mask of every pair of positions


def shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with; of a single one all but the last."""
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*prompts, strict=False)))
    return max(0, shared - 1) if len(prompts) == 1 else shared


@dataclass(frozen=True)
class PackedPrompts:
    """N prompts as one sequence."""

    input_ids: torch.Tensor  # [T]
    position_ids: torch.Tensor  # [T], each prompt's own count
    visible: torch.Tensor  # [T, T], True where the row's position may attend to the column's
    last: torch.Tensor  # [N], where each prompt ends in the packed sequence

    @classmethod
    def from_prompts(cls, prompts: Sequence[Sequence[int]]) -> PackedPrompts:
        """Pack the token ids of one or more prompts; pictures must lie in what they share.

        Raises:
            ArtQuantError: a prompt is empty, two are equal, or one is what all begin with.
        """
        if len({tuple(prompt) for prompt in prompts}) < len(prompts):
            raise ArtQuantError("two prompts that are read together are equal; name each once")
        shared = shared_length(prompts)
        endings = [list(prompt[shared:]) for prompt in prompts]
        if not all(endings):
            raise ArtQuantError("prompts that are read together must each have an ending of their own")
        owner = torch.tensor([-1] * shared + [index for index, ending in enumerate(endings) for _ in ending])
        position_ids = list(range(shared)) + [shared + place for ending in endings for place in range(len(ending))]
        causal = torch.ones(len(owner), len(owner), dtype=torch.bool).tril()
        same = owner[:, None] == owner
        return cls(
            input_ids=torch.tensor([*prompts[0][:shared], *(token for ending in endings for token in ending)]),
            position_ids=torch.tensor(position_ids),
            visible=causal & (same | (owner == -1)),
            last=shared - 1 + torch.tensor([len(ending) for ending in endings]).cumsum(0),
        )

    def inputs(self, batch: int, dtype: torch.dtype, device: torch.device) -> dict[str, torch.Tensor]:
        """`input_ids` and `position_ids` [batch, T] and the additive `attention_mask` [batch, 1, T, T]."""
        blocked = torch.zeros(self.visible.shape, dtype=dtype).masked_fill(~self.visible, torch.finfo(dtype).min)
        length = len(self.input_ids)
        return {
            "input_ids": self.input_ids.to(device).expand(batch, length),
            "position_ids": self.position_ids.to(device).expand(batch, length),
            "attention_mask": blocked.to(device).expand(batch, 1, length, length),
        }

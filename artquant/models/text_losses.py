"""Cross-entropy of learned tokens without the logits of all of them at once.

Shape legend: L positions whose token is learned, D hidden width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from artquant.readouts.losses import token_cross_entropy

LOGITS = 1 << 24  # at once; of 32,000 words 524 positions, 64 MiB in float32: as fast as all at once, or faster


def text_losses(head: nn.Module, states: torch.Tensor, token_ids: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """Cross-entropy [L], float32, of tokens [L] predicted from hidden states [L, D] by the output head.

    More than `LOGITS` logits are computed in chunks: where the head is frozen, with their gradient, of which only the
    states' [L, D] is kept; otherwise once more in the backward pass.
    """

    def losses(states: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
        return token_cross_entropy(head(states), token_ids)

    rows = max(1, LOGITS // vocabulary)
    # ZeRO-3 gathers the head whenever it is called, which all ranks, with texts of any length, must do equally often.
    if len(states) <= rows or is_deepspeed_zero3_enabled():
        return losses(states, token_ids)
    chunks = list(zip(states.split(rows), token_ids.split(rows), strict=True))
    if not torch.is_grad_enabled():
        return torch.cat([losses(*chunk) for chunk in chunks])
    if any(parameter.requires_grad for parameter in head.parameters()):
        return torch.cat([checkpoint(losses, *chunk, use_reentrant=False) for chunk in chunks])
    return _WithGradient.apply(losses, states, token_ids, rows)


class _WithGradient(torch.autograd.Function):
    """Losses of rows that do not depend on each other, computed with their gradient in the forward pass."""

    @staticmethod
    def forward(ctx: Any, losses: Any, states: torch.Tensor, token_ids: torch.Tensor, rows: int) -> torch.Tensor:
        if not ctx.needs_input_grad[1]:
            return torch.cat([losses(*chunk) for chunk in zip(states.split(rows), token_ids.split(rows), strict=True)])
        found, gradient = [], torch.empty_like(states)
        for part, ids, into in zip(states.split(rows), token_ids.split(rows), gradient.split(rows), strict=True):
            with torch.enable_grad():
                part = part.detach().requires_grad_()
                values = losses(part, ids)
                into.copy_(torch.autograd.grad(values.sum(), part)[0])
            found.append(values.detach())
            del values
        ctx.save_for_backward(gradient)
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *of_losses: torch.Tensor) -> tuple[None, torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return None, (gradient * of_losses[0][:, None]).to(gradient.dtype), None, None

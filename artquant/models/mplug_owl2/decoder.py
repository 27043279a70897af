"""Modality-adaptive LLaMA decoder of mPLUG-Owl2 (section 3.2).

In every layer the two norms and the key and value projections exist twice, for text (branch 0) and for image positions
(branch 1); queries, output projection and MLP are shared.

Shape legend: B samples, T merged positions, H heads, G key-value heads, K channels of a head, D hidden width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaMLP,
    LlamaRMSNorm,
    apply_rotary_pos_emb,
    eager_attention_forward,
)

from artquant.models.mplug_owl2.configuration import MPLUGOwl2Config


@dataclass(frozen=True)
class ModalitySplit:
    """Where text and image positions lie among the B * T flattened ones; the same for every layer of a forward.

    text, image: flat indices of the two kinds, in order. restore: puts the two, joined, back into place. is_image: of
    each flat position.
    """

    text: torch.Tensor
    image: torch.Tensor
    restore: torch.Tensor
    is_image: torch.Tensor

    @classmethod
    def from_mask(cls, image_mask_BT: torch.Tensor, image_positions: int) -> ModalitySplit:
        """Split by a boolean mask whose number of true values is known, so that no device has to be asked for it."""
        is_image = image_mask_BT.flatten()
        order = is_image.to(torch.uint8).argsort(stable=True)
        text_positions = len(order) - image_positions
        return cls(order[:text_positions], order[text_positions:], order.argsort(), is_image)

    def to(self, *args: Any, **kwargs: Any) -> ModalitySplit:
        """The same elsewhere; accelerate calls it between layers on several devices."""
        parts = (self.text, self.image, self.restore, self.is_image)
        return ModalitySplit(*(value.to(*args, **kwargs) for value in parts))


class TokenEmbedding(nn.Embedding):
    """The token table; a picture's id outside of the vocabulary becomes a vector of NaN, which marks its place.

    So whatever embeds prompts itself (prompt tuning, `inputs_embeds`) can, and a place without its picture shows.
    """

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.image_token_id = config.image_token_id

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if self.image_token_id >= 0:
            return super().forward(input)
        outside = input == self.image_token_id
        return super().forward(input.masked_fill(outside, 0)).masked_fill(outside[..., None], torch.nan)


class Multiway(nn.Module):
    """Two modules of the same shape, one for text (0) and one for image positions (1). [B, T, D] -> [B, T, D']."""

    def __init__(self, build: Callable[[], nn.Module]):
        super().__init__()
        self.multiway = nn.ModuleList([build(), build()])

    def forward(self, hidden_states: torch.Tensor, split: ModalitySplit | None) -> torch.Tensor:
        if split is None:  # text only
            return self.multiway[0](hidden_states)
        flat = hidden_states.flatten(0, 1)
        text = self.multiway[0](flat.index_select(0, split.text))
        image = self.multiway[1](flat.index_select(0, split.image))
        joined = torch.cat([text, image]).index_select(0, split.restore)
        return joined.view(*hidden_states.shape[:-1], -1)

    def some(self, states_MD: torch.Tensor, split: ModalitySplit | None, chosen: torch.Tensor) -> torch.Tensor:
        """The same for a few flat positions [M], whose states are [M, D]: both are computed."""
        text = self.multiway[0](states_MD)
        if split is None:
            return text
        return torch.where(split.is_image.index_select(0, chosen)[:, None], self.multiway[1](states_MD), text)

    def extra_repr(self) -> str:
        """Libraries print a module that they cannot adapt: peft, where LoRA is put on `k_proj` or `v_proj`."""
        return "two branches; name the one that is meant: NAME.multiway.0 for text, NAME.multiway.1 for pictures"


class MPLUGOwl2Attention(nn.Module):
    """Causal self-attention with rotary positions; keys and values by modality."""

    def __init__(self, config: MPLUGOwl2Config, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        key_value_heads = config.num_key_value_heads or config.num_attention_heads
        self.head_dim = config.head_dim or config.hidden_size // config.num_attention_heads
        self.num_key_value_groups = config.num_attention_heads // key_value_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_dropout
        self.is_causal = True

        def linear(heads: int) -> nn.Linear:
            return nn.Linear(config.hidden_size, heads * self.head_dim, bias=config.attention_bias)

        self.q_proj = linear(config.num_attention_heads)
        self.k_proj = Multiway(lambda: linear(key_value_heads))
        self.v_proj = Multiway(lambda: linear(key_value_heads))
        self.o_proj = nn.Linear(
            config.num_attention_heads * self.head_dim, config.hidden_size, bias=config.attention_bias
        )

    def forward(
        self,
        hidden_states: torch.Tensor,
        split: ModalitySplit | None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None,
        past_key_values: Cache | None = None,
        chosen: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """chosen: flat positions [M] that are wanted; the result is [M, D] then."""
        leading = hidden_states.shape[:-1]

        def split_heads(states: torch.Tensor) -> torch.Tensor:
            return states.view(*leading, -1, self.head_dim).transpose(1, 2)

        query_BHTK = split_heads(self.q_proj(hidden_states))
        key_BGTK = split_heads(self.k_proj(hidden_states, split))
        value_BGTK = split_heads(self.v_proj(hidden_states, split))
        query_BHTK, key_BGTK = apply_rotary_pos_emb(query_BHTK, key_BGTK, *position_embeddings)
        if past_key_values is not None:
            key_BGTK, value_BGTK = past_key_values.update(key_BGTK, value_BGTK, self.layer_idx)

        attention = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        context_BTHK, weights = attention(
            self,
            query_BHTK,
            key_BGTK,
            value_BGTK,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        context = context_BTHK.reshape(*leading, -1)
        return self.o_proj(context if chosen is None else context.flatten(0, 1).index_select(0, chosen)), weights


class MPLUGOwl2DecoderLayer(GradientCheckpointingLayer):
    """LLaMA block with the norms, keys and values chosen by modality. [B, T, D] -> [B, T, D].

    Of the last one only some flat positions `chosen` [M] may be wanted: [B, T, D] -> [M, D].
    """

    def __init__(self, config: MPLUGOwl2Config, layer_idx: int):
        super().__init__()

        def norm() -> LlamaRMSNorm:
            return LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

        self.self_attn = MPLUGOwl2Attention(config, layer_idx)
        self.mlp = LlamaMLP(config)
        self.input_layernorm = Multiway(norm)
        self.post_attention_layernorm = Multiway(norm)

    def forward(
        self,
        hidden_states: torch.Tensor,
        split: ModalitySplit | None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None,
        past_key_values: Cache | None = None,
        chosen: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        attended, _ = self.self_attn(
            self.input_layernorm(hidden_states, split),
            split=split,
            position_embeddings=position_embeddings,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            chosen=chosen,
            **kwargs,
        )
        if chosen is not None:
            hidden_states = hidden_states.flatten(0, 1).index_select(0, chosen) + attended
            return hidden_states + self.mlp(self.post_attention_layernorm.some(hidden_states, split, chosen))
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states, split))

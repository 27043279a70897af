"""Visual abstractor of mPLUG-Owl2: learned queries gather an image's tokens into a few (section 3.1).

Shape legend: B pictures, Q queries, N image tokens (class token first), H heads, K channels of a head, D = H * K hidden
width, E width of the language model.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import eager_attention_forward

from artquant.models.mplug_owl2.configuration import MPLUGOwl2Config
from artquant.models.mplug_owl2.pretrained import OwnTensors


def sine_cosine_table(positions: np.ndarray, channels: int) -> np.ndarray:
    """Sine-cosine embedding of positions [M] -> [M, channels]: sines in the first half, cosines in the second.

    Angles are position / 10000^(2 i / channels) (Attention Is All You Need, section 3.5; MAE's ordering).
    """
    frequencies = 1.0 / 10000 ** (np.arange(channels // 2, dtype=np.float64) / (channels / 2))
    angles = np.outer(positions, frequencies)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def grid_table(grid_size: int, channels: int) -> np.ndarray:
    """Positions of a square grid in row order, a zero row for the class token first -> [grid_size^2 + 1, channels].

    Half of the channels come from the column index, then half from the row index (MAE's convention).
    """
    rows, columns = np.divmod(np.arange(grid_size**2), grid_size)
    table = np.concatenate([sine_cosine_table(columns, channels // 2), sine_cosine_table(rows, channels // 2)], axis=1)
    return np.concatenate([np.zeros((1, channels)), table])


class CrossAttention(OwnTensors):
    """Queries attend to themselves and the image's tokens; positions are added to queries and keys, not to values."""

    q_pos_embed: torch.Tensor
    k_pos_embed: torch.Tensor

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__()
        shape = config.abstractor
        self.config = config  # read at run time for the attention implementation
        self.num_heads = shape.num_attention_heads
        self.head_dim = shape.hidden_size // shape.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.dropout = shape.attention_probs_dropout_prob
        self.is_causal = False
        self.query = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.key = nn.Linear(shape.encoder_hidden_size, shape.hidden_size)
        self.value = nn.Linear(shape.encoder_hidden_size, shape.hidden_size)
        for name, table in self.tables().items():
            self.register_buffer(name, table)

    def tables(self) -> dict[str, torch.Tensor]:
        """The two position buffers: over the query index [Q, D] and over the image grid [N, D]."""
        shape = self.config.abstractor
        tables = {
            "q_pos_embed": sine_cosine_table(np.arange(shape.num_learnable_queries), shape.hidden_size),
            "k_pos_embed": grid_table(shape.grid_size, shape.hidden_size),
        }
        # `tensor`, not `from_numpy`: it heeds the device that networks are built on.
        return {name: torch.tensor(table, dtype=torch.float32) for name, table in tables.items()}

    def forward(self, queries: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Queries [B, Q, D], context [B, Q + N, D] (queries and image tokens) -> [B, Q, D]."""
        positions = torch.cat([self.q_pos_embed, self.k_pos_embed]).to(context.dtype)

        def split_heads(states: torch.Tensor) -> torch.Tensor:
            return states.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

        attention = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        context_BQHK, _ = attention(
            self,
            split_heads(self.query(queries + self.q_pos_embed.to(queries.dtype))),
            split_heads(self.key(context + positions)),
            split_heads(self.value(context)),
            None,
            scaling=self.scaling,
            dropout=self.dropout if self.training else 0.0,
        )
        return context_BQHK.flatten(2)


class GatedMLP(nn.Module):
    """w2(norm(silu(w1 x) * w3 x))."""

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__()
        shape = config.abstractor
        self.w1 = nn.Linear(shape.hidden_size, shape.intermediate_size)
        self.w2 = nn.Linear(shape.intermediate_size, shape.hidden_size)
        self.w3 = nn.Linear(shape.hidden_size, shape.intermediate_size)
        self.ffn_ln = nn.LayerNorm(shape.intermediate_size, eps=shape.layer_norm_eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.w2(self.ffn_ln(nn.functional.silu(self.w1(hidden_states)) * self.w3(hidden_states)))


class CrossOutput(nn.Module):
    """What follows the attention: projection, residual, norm and MLP."""

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__()
        hidden_size = config.abstractor.hidden_size
        self.out_proj = nn.Linear(hidden_size, hidden_size)
        self.norm2 = nn.LayerNorm(hidden_size)
        self.mlp = GatedMLP(config)

    def forward(self, queries: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        queries = queries + self.out_proj(context)
        return queries + self.mlp(self.norm2(queries))


class CrossAttentionBlock(nn.Module):
    """The residual adds onto the normalised queries, not onto the incoming ones."""

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__()
        shape = config.abstractor
        self.attention = CrossAttention(config)
        self.output = CrossOutput(config)
        self.norm1 = nn.LayerNorm(shape.hidden_size)
        self.normk = nn.LayerNorm(shape.encoder_hidden_size)

    def forward(self, queries: torch.Tensor, image_tokens: torch.Tensor) -> torch.Tensor:
        queries = self.norm1(queries)
        context = torch.cat([queries, self.normk(image_tokens)], dim=1)
        return self.output(queries, self.attention(queries, context))


class AbstractorLayer(GradientCheckpointingLayer):
    """One round of cross-attention. Queries [B, Q, D], image tokens [B, N, D] -> queries [B, Q, D]."""

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__()
        self.crossattention = CrossAttentionBlock(config)

    def forward(self, queries: torch.Tensor, image_tokens: torch.Tensor) -> torch.Tensor:
        return self.crossattention(queries, image_tokens)


class AbstractorStack(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__()
        self.layers = nn.ModuleList([AbstractorLayer(config) for _ in range(config.abstractor.num_hidden_layers)])

    def forward(self, queries: torch.Tensor, image_tokens: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            queries = layer(queries, image_tokens)
        return queries


class VisualAbstractor(OwnTensors):
    """Image tokens [B, N, D] -> Q language-model vectors and a learned end-of-image vector [B, Q + 1, E]."""

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__()
        shape = config.abstractor
        self.query_embeds = nn.Parameter(torch.empty(1, shape.num_learnable_queries, shape.hidden_size))
        self.vit_eos = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.encoder = AbstractorStack(config)
        self.visual_fc = nn.Linear(shape.hidden_size, config.hidden_size)

    def forward(self, image_tokens: torch.Tensor) -> torch.Tensor:
        batch = len(image_tokens)
        queries = self.encoder(self.query_embeds.expand(batch, -1, -1), image_tokens)
        return torch.cat([self.visual_fc(queries), self.vit_eos.expand(batch, -1, -1)], dim=1)

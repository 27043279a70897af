"""Vision encoder of mPLUG-Owl2: a pre-norm vision transformer.

Shape legend: B pictures, C channels, S pixels of a side, P patches, N = P + 1 tokens (class token first), H heads,
K channels of a head, D = H * K hidden width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.activations import ACT2FN, QuickGELUActivation
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import eager_attention_forward
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from artquant.models.mplug_owl2.configuration import MPLUGOwl2Config
from artquant.models.mplug_owl2.pretrained import MPLUGOwl2PreTrainedModel, OwnTensors


class VisionEmbeddings(OwnTensors):
    """Patches, a class token, learned positions and a layer norm. [B, C, S, S] -> [B, N, D]."""

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__()
        shape = config.vision
        self.cls_token = nn.Parameter(torch.empty(1, 1, shape.hidden_size))
        self.position_embedding = nn.Parameter(torch.empty(1, shape.grid_size**2 + 1, shape.hidden_size))
        self.patch_embed = nn.Conv2d(
            shape.num_channels, shape.hidden_size, shape.patch_size, stride=shape.patch_size, bias=False
        )
        self.pre_layernorm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        pixels_BCSS = pixel_values.to(self.patch_embed.weight.dtype)
        patches_BPD = self.patch_embed(pixels_BCSS).flatten(2).transpose(1, 2)
        class_B1D = self.cls_token.expand(len(patches_BPD), -1, -1)
        tokens_BND = torch.cat([class_B1D, patches_BPD], dim=1)
        if tokens_BND.shape[1] != self.position_embedding.shape[1]:
            raise ValueError(
                f"pixel_values of shape {tuple(pixel_values.shape)} give {tokens_BND.shape[1]} tokens, but the vision "
                f"encoder has positions for {self.position_embedding.shape[1]}"
            )
        return self.pre_layernorm(tokens_BND + self.position_embedding)


class VisionAttention(nn.Module):
    """Self-attention whose fused projection is laid out per head: [head, (query, key, value), channel]."""

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__()
        shape = config.vision
        self.config = config  # read at run time for the attention implementation
        self.num_heads = shape.num_attention_heads
        self.head_dim = shape.hidden_size // shape.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.dropout = shape.attention_dropout
        self.is_causal = False
        self.query_key_value = nn.Linear(shape.hidden_size, 3 * shape.hidden_size)
        self.dense = nn.Linear(shape.hidden_size, shape.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        leading = hidden_states.shape[:-1]
        fused_BNH3K = self.query_key_value(hidden_states).view(*leading, self.num_heads, 3, self.head_dim)
        query_BHNK, key_BHNK, value_BHNK = fused_BNH3K.permute(3, 0, 2, 1, 4).unbind(0)
        attention = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        context_BNHK, weights = attention(
            self,
            query_BHNK,
            key_BHNK,
            value_BHNK,
            None,
            scaling=self.scaling,
            dropout=self.dropout if self.training else 0.0,
        )
        return self.dense(context_BNHK.reshape(*leading, -1)), weights


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), as the SiLU of 1.702 x: one tensor less, in training one less to keep.

    Args:
        inplace: where no gradient is asked for, write over x.
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        scaled = input.mul_(1.702) if self.inplace and not input.requires_grad else 1.702 * input
        return functional.silu(scaled, inplace=not scaled.requires_grad).mul_(1 / 1.702)


class VisionMLP(nn.Module):
    """Two linear layers with x * sigmoid(1.702 x) between them."""

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__()
        shape = config.vision
        activation = ACT2FN[shape.hidden_act]
        self.activation = QuickGELU(inplace=True) if isinstance(activation, QuickGELUActivation) else activation
        self.fc1 = nn.Linear(shape.hidden_size, shape.intermediate_size)
        self.fc2 = nn.Linear(shape.intermediate_size, shape.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.activation(self.fc1(hidden_states)))


class VisionEncoderLayer(GradientCheckpointingLayer):
    """Pre-norm transformer block. [B, N, D] -> [B, N, D]."""

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__()
        shape = config.vision
        self.self_attn = VisionAttention(config)
        self.input_layernorm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.mlp = VisionMLP(config)
        self.post_attention_layernorm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        attended, _ = self.self_attn(self.input_layernorm(hidden_states))
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))


class VisionEncoderStack(nn.Module):
    """The blocks, one after the other."""

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__()
        self.layers = nn.ModuleList([VisionEncoderLayer(config) for _ in range(config.vision.num_hidden_layers)])

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        return hidden_states


class VisionEncoder(MPLUGOwl2PreTrainedModel):
    """Vision transformer; all tokens, the class token included, go on to the abstractor. [B, C, S, S] -> [B, N, D]."""

    main_input_name = "pixel_values"
    input_modalities = ["image"]  # noqa: RUF012
    _can_record_outputs = {"hidden_states": VisionEncoderLayer, "attentions": VisionAttention}  # noqa: RUF012

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__(config)
        self.embeddings = VisionEmbeddings(config)
        self.encoder = VisionEncoderStack(config)
        self.post_layernorm = nn.LayerNorm(config.vision.hidden_size, eps=config.vision.layer_norm_eps)
        self.post_init()

    def post_init(self) -> None:
        """The configuration's plans for several devices are the decoder's."""
        super().post_init()
        self._tp_plan, self._pp_plan = {}, {}

    def init_weights(self) -> None:
        """Left to the network that it is a part of: drawn weights come in the order of its modules."""

    @merge_with_config_defaults
    @capture_outputs
    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=self.post_layernorm(self.encoder(self.embeddings(pixel_values))))

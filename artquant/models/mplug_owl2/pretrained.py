"""What the classes of the network share: loading, saving, initialisation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_utils import PreTrainedModel

from artquant.models.mplug_owl2.configuration import MPLUGOwl2Config


class OwnTensors(nn.Module):
    """A module with tensors of its own, beside its layers': parameters are drawn, buffers computed."""

    def tables(self) -> Mapping[str, torch.Tensor]:
        """The values of its buffers, by name."""
        return {}


class MPLUGOwl2PreTrainedModel(PreTrainedModel):
    """Initialisation, loading and saving."""

    config_class = MPLUGOwl2Config
    config: MPLUGOwl2Config
    base_model_prefix = "model"
    input_modalities = ["image", "text"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    _no_split_modules = ["MPLUGOwl2DecoderLayer", "VisionEncoderLayer", "AbstractorLayer"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, OwnTensors):
            for value in module.parameters(recurse=False):
                init.normal_(value, std=self.config.initializer_range)
            for name, table in module.tables().items():
                init.copy_(module.get_buffer(name), table)

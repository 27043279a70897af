"""Attention over whole pictures as products of matrices: faster than torch's kernel on CPUs that multiply bfloat16.

Shape legend: B pictures, H heads, N tokens, K channels of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

PRODUCTS = "products"  # as transformers knows it


def products_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """[B, H, N, K] each -> [B, N, H, K]: two products and a softmax for each picture; masked attention is torch's."""
    causal = kwargs.get("is_causal")
    seen = module.is_causal if causal is None else causal
    if attention_mask is not None or seen or dropout or key.shape[1] != query.shape[1] or torch.is_grad_enabled():
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    context = query.new_empty(query.shape[0], query.shape[2], query.shape[1], value.shape[-1])
    for number, (query_HNK, key_HNK, value_HNK) in enumerate(zip(query, key, value, strict=True)):
        shares = torch.bmm(query_HNK * scale, key_HNK.contiguous().transpose(1, 2))
        context[number] = torch.bmm(torch.softmax(shares, -1, out=shares), value_HNK.contiguous()).transpose(0, 1)
    return context, None


def quicken_attention(network: PreTrainedModel, device: torch.device) -> None:
    """Let a network use the products where they are faster: in bfloat16, on CPUs with instructions or tiles for it."""
    able = torch.cpu.get_capabilities()
    faster = network.dtype == torch.bfloat16 and (able.get("avx512_bf16", False) or able.get("amx_tile", False))
    if device.type == "cpu" and faster and network.config._attn_implementation == "sdpa":
        use_products(network)


def use_products(network: PreTrainedModel) -> None:
    """Let a network use them, whatever the machine."""
    AttentionInterface.register(PRODUCTS, products_attention)
    AttentionMaskInterface.register(PRODUCTS, sdpa_mask)
    network.set_attn_implementation(PRODUCTS)

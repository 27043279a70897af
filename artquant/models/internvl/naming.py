"""Tensors of the published InternVL class by transformers' own names, and back; fused projections, LoRA left inside.

The published vision encoder holds queries, keys and values in one matrix [3D, D], in this order; transformers' own has
three. A folder may have been saved with the class's own LoRA still inside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from artquant.models.family import CheckpointError

# Published prefix or part and own, read in both directions.
_NAMES = (
    ("vision_model.embeddings.class_embedding", "model.vision_tower.embeddings.cls_token"),
    ("vision_model.embeddings.position_embedding", "model.vision_tower.embeddings.position_embeddings"),
    ("vision_model.embeddings.patch_embedding.", "model.vision_tower.embeddings.patch_embeddings.projection."),
    ("vision_model.encoder.layers.", "model.vision_tower.encoder.layer."),
    ("mlp1.0.", "model.multi_modal_projector.layer_norm."),
    ("mlp1.1.", "model.multi_modal_projector.linear_1."),
    ("mlp1.3.", "model.multi_modal_projector.linear_2."),
    ("language_model.model.", "model.language_model."),
    ("language_model.lm_head.", "lm_head."),
)
_IN_LAYER = (
    (".attn.proj.", ".attention.projection_layer."),
    (".attn.q_norm.", ".attention.q_norm."),
    (".attn.k_norm.", ".attention.k_norm."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".ls1", ".lambda_1"),
    (".ls2", ".lambda_2"),
)
_ENCODER = "model.vision_tower.encoder.layer."
_FUSED = ".attn.qkv."
_SPLIT = tuple(f".attention.{part}_proj." for part in "qkv")
_LORA = re.compile(r"(.*)\.lora_([AB])\.default\.weight")
_WRAPPED = "base_model.model."


def own_names(published: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Published tensors by transformers' own names; fused ones are cut into views.

    Raises:
        CheckpointError: a name that the published class does not have.
    """
    found: dict[str, torch.Tensor] = {}
    for name, value in published.items():
        own = _replaced(name, _NAMES)
        if own == name:
            raise CheckpointError(f"tensor {name} is none of an InternVL network's; take the whole published folder")
        if not own.startswith(_ENCODER):
            found[own] = value
        elif _FUSED in own:
            parts = zip(_SPLIT, value.chunk(3), strict=True)
            found |= {own.replace(_FUSED, split): part for split, part in parts}
        else:
            found[_replaced(own, _IN_LAYER)] = value
    return found


def published_names(own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The reverse of `own_names`: queries, keys and values of the encoder in one new tensor again, all others as given.

    Raises:
        CheckpointError: a name that the published class does not have, or a part of a fused tensor alone.
    """
    found: dict[str, torch.Tensor] = {}
    fused: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in own.items():
        published = _replaced(name, _NAMES, back=True)
        if published == name:
            raise CheckpointError(f"tensor {name} has no place in the published InternVL class")
        split = next((part for part in _SPLIT if part in name), None) if name.startswith(_ENCODER) else None
        if split is not None:
            fused.setdefault(published.replace(split, _FUSED), {})[split] = value
        else:
            found[_replaced(published, _IN_LAYER, back=True) if name.startswith(_ENCODER) else published] = value
    for name, parts in fused.items():
        if parts.keys() != set(_SPLIT):
            raise CheckpointError(f"tensor {name} cannot be put together: only {', '.join(parts)} are there")
        found[name] = torch.cat([parts[split] for split in _SPLIT])
    return found


def without_lora(published: Mapping[str, torch.Tensor], scale: float = 2.0) -> dict[str, torch.Tensor]:
    """Tensors by a plain network's names, the LoRA matrices among them merged into their layers (in float32).

    Args:
        scale: of the product B A; the published class takes alpha = 2 r.

    Raises:
        CheckpointError: a LoRA matrix without its partner or its layer.
    """
    halves: dict[str, dict[str, torch.Tensor]] = {}
    plain: dict[str, torch.Tensor] = {}
    for name, value in published.items():
        bare = name.replace(_WRAPPED, "")
        if (lora := _LORA.fullmatch(bare)) is not None:
            halves.setdefault(lora[1], {})[lora[2]] = value
        else:
            plain[bare.replace(".base_layer.", ".")] = value
    for layer, pair in halves.items():
        name = f"{layer}.weight"
        if set(pair) != {"A", "B"} or name not in plain:
            raise CheckpointError(f"tensor {layer}.lora_{'/'.join(sorted(pair))} has no partner or no layer")
        plain[name] = plain[name].float() + scale * (pair["B"].float() @ pair["A"].float())
    return plain


def _replaced(name: str, names: tuple[tuple[str, str], ...], back: bool = False) -> str:
    """A name with the first prefix or part that fits replaced. back: own to published."""
    pairs = ((new, old) for old, new in names) if back else names
    before, after = next(((old, new) for old, new in pairs if _fits(name, old)), ("", ""))
    return name.replace(before, after, 1) if before else name


def _fits(name: str, part: str) -> bool:
    return part in name if part.startswith(".") else name.startswith(part)

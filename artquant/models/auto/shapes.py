"""Inputs of the shapes that a network takes, told by its configuration alone.

Shape legend: B samples, T positions, S pixels of a side.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import PretrainedConfig

from artquant.errors import ArtQuantError
from artquant.models.auto.processing import LARGE
from artquant.models.family import NetworkInputs

# Positions that one tile takes, by model type: from the configuration and the vision encoder's patches.
POSITIONS: dict[str, Any] = {
    "llava": lambda config, patches: config.image_seq_length,
    "internvl": lambda config, patches: config.image_seq_length,
    "gemma3": lambda config, patches: config.mm_tokens_per_image,
    "idefics3": lambda config, patches: patches // config.scale_factor**2,
    "ovis2": lambda config, patches: patches // config.vision_config.hidden_stride**2,
}
ANY_SIZE = ("qwen2_5_vl", "qwen3_vl", "qwen3_5")
MARKS = {"gemma3": "token_type_ids"} | dict.fromkeys(ANY_SIZE, "mm_token_type_ids")
TEXT = 8  # positions that must be left beside the picture


def positions(config: PretrainedConfig, length: int) -> int:
    """Positions that the picture in an `example` of a length takes.

    Raises:
        ArtQuantError: the model type is not a tested one.
    """
    kind, patch = config.model_type, _side(config.vision_config.patch_size)
    if kind in ANY_SIZE:
        cell = patch * config.vision_config.spatial_merge_size
        return max(1, min(LARGE // cell, math.isqrt(length // 2))) ** 2
    if kind in POSITIONS:
        return int(POSITIONS[kind](config, (_side(config.vision_config.image_size) // patch) ** 2))
    raise ArtQuantError(f"no example inputs for model_type {kind}; known are {', '.join((*POSITIONS, *ANY_SIZE))}")


def example(config: PretrainedConfig, samples: int, length: int) -> NetworkInputs:
    """Samples of a length with a square picture of one tile in each: `input_ids`, `attention_mask` [B, T] and others.

    Where pictures keep their size, it is one of up to 1024 pixels that leaves half of the length to the text.

    Raises:
        ArtQuantError: the length does not hold a picture and any text, or the model type is not a tested one.
    """
    kind, vision = config.model_type, config.vision_config
    count = positions(config, length)
    if kind in ANY_SIZE:
        times = _side(vision.temporal_patch_size)
        side, patch = math.isqrt(count) * vision.spatial_merge_size, _side(vision.patch_size)
        pixels = torch.ones(samples * side**2, vision.in_channels * times * patch**2)
        shown = {"pixel_values": pixels, "image_grid_thw": torch.tensor([[1, side, side]] * samples)}
    else:
        side = _side(vision.image_size)
        tiles = (samples, 1) if kind == "idefics3" else (samples,)
        shown = {"pixel_values": torch.ones(*tiles, 3, side, side)}
        if kind == "idefics3":
            shown["pixel_attention_mask"] = torch.ones(*tiles, side, side, dtype=torch.long)
    if length < count + TEXT:
        raise ArtQuantError(f"{length} tokens do not hold a picture ({count}) and a text; allow {count + TEXT} or more")
    marks = torch.zeros(samples, length, dtype=torch.long)
    marks[:, 1 : count + 1] = 1
    text = 1 if config.image_token_id == 0 else 0
    ids = {"input_ids": torch.where(marks == 1, config.image_token_id, text), "attention_mask": torch.ones_like(marks)}
    return NetworkInputs(ids | shown | ({MARKS[kind]: marks} if kind in MARKS else {}))


def _side(value: int | list[int] | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]

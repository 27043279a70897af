"""Inputs of the shapes that a network takes, told by its configuration alone.

Shape legend: B samples, T positions, N positions of a picture, S pixels of a side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from transformers import PretrainedConfig

from artquant.errors import ArtQuantError
from artquant.models.auto.processing import LARGE
from artquant.models.family import NetworkInputs

TEXT = 8  # positions that must be left beside the picture


def _side(value: int | list[int] | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


def _patches(vision: PretrainedConfig) -> int:
    return (_side(vision.image_size) // _side(vision.patch_size)) ** 2


def _square(vision: PretrainedConfig, samples: int, *between: int) -> dict[str, torch.Tensor]:
    """[B, (1), 3, S, S]"""
    return {"pixel_values": torch.ones(samples, *between, 3, _side(vision.image_size), _side(vision.image_size))}


def _tiles_with_mask(vision: PretrainedConfig, samples: int) -> dict[str, torch.Tensor]:
    side = _side(vision.image_size)
    return _square(vision, samples, 1) | {"pixel_attention_mask": torch.ones(samples, 1, side, side, dtype=torch.bool)}


def _grid(config: PretrainedConfig, samples: int, length: int) -> tuple[int, dict[str, torch.Tensor]]:
    """A square picture of up to `LARGE` pixels that leaves half of the length to the text."""
    vision = config.vision_config
    merge, patch = vision.spatial_merge_size, _side(vision.patch_size)
    cells = max(1, min(LARGE // (patch * merge), math.isqrt(length // 2)))
    width = vision.in_channels * _side(vision.temporal_patch_size) * patch**2
    side = cells * merge
    grids = torch.tensor([[1, side, side]] * samples)
    return cells**2, {"pixel_values": torch.ones(samples * side**2, width), "image_grid_thw": grids}


# By model type: configuration -> the picture token's id, N (but for those of any size); further inputs that say where.
Fixed = Callable[[Any], tuple[int, int]]
FIXED: dict[str, Fixed] = {
    "llava": lambda c: (
        c.image_token_index,
        _patches(c.vision_config) + (c.vision_feature_select_strategy == "full"),
    ),
    "internvl": lambda c: (c.image_token_id, int(_patches(c.vision_config) * c.downsample_ratio**2)),
    "gemma3": lambda c: (c.image_token_index, c.mm_tokens_per_image),
    "idefics3": lambda c: (c.image_token_id, _patches(c.vision_config) // c.scale_factor**2),
    "ovis2": lambda c: (c.image_token_id, _patches(c.vision_config) // c.vision_config.hidden_stride**2),
}
ANY_SIZE = ("qwen2_5_vl", "qwen3_vl", "qwen3_5")
MARKS = {"gemma3": "token_type_ids"} | dict.fromkeys(ANY_SIZE, "mm_token_type_ids")


def example(config: PretrainedConfig, samples: int, length: int) -> NetworkInputs:
    """Samples of a length with one square picture each, of one tile: `input_ids` [B, T] and what belongs to it.

    Raises:
        ArtQuantError: the length does not hold a picture and any text, or the model type is not a tested one.
    """
    kind = config.model_type
    if kind in ANY_SIZE:
        token, (count, pixels) = config.image_token_id, _grid(config, samples, length)
    elif kind in FIXED:
        token, count = FIXED[kind](config)
        pixels = (_tiles_with_mask if kind == "idefics3" else _square)(config.vision_config, samples)
    else:
        raise ArtQuantError(f"no example inputs for model_type {kind}; known are {', '.join((*FIXED, *ANY_SIZE))}")
    if length < count + TEXT:
        raise ArtQuantError(f"{length} tokens do not hold a picture ({count}) and a text; allow {count + TEXT} or more")
    shown = torch.zeros(samples, length, dtype=torch.long)
    shown[:, 1 : count + 1] = 1
    text = 1 if token == 0 else 0
    inputs = {"input_ids": torch.where(shown == 1, token, text), "attention_mask": torch.ones_like(shown)}
    return NetworkInputs(inputs | pixels | ({MARKS[kind]: shown} if kind in MARKS else {}))

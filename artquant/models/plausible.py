"""Settings of a network or a preprocessor that make no sense, told before anything is built with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from artquant.errors import ArtQuantError
from artquant.models.family import CheckpointError

# By the end of a setting's name: least and most. What is named otherwise, or is no number, is not looked at here.
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("_layers", "depth"), (0, 1000)),
    **dict.fromkeys(("_heads", "_size", "_dim", "_embeddings", "_queries"), (-1, 1 << 31)),
    **dict.fromkeys(("_eps", "epsilon"), (0, 0.1)),
    **dict.fromkeys(("dropout", "_dropout_prob"), (0, 1)),
    **dict.fromkeys(("initializer_range", "init_std"), (0, 10)),
    "rope_theta": (1, 1e15),
}
_PICTURE_RANGES: Mapping[str, tuple[float, float]] = {
    "image_std": (1e-3, 1e3),
    "image_mean": (-1e3, 1e3),
    "rescale_factor": (1e-6, 1e3),
    "height": (1, 1 << 14),
    "width": (1, 1 << 14),
}
WEIGHTS_SUFFIXES = (".safetensors", ".bin")


def require_plausible(file: Path, values: Any) -> None:
    """Raise a CheckpointError about a number in a network's configuration that no network has."""
    for name, value in _numbers(values):
        low, high = next((_RANGES[end] for end in _RANGES if name.endswith(end)), (-math.inf, math.inf))
        if not low <= value <= high:
            raise CheckpointError(
                f"{file}: {name} is {value:g}, expected {low:g} to {high:g}; take the model's own file"
            )


def require_plausible_pictures(values: Mapping[str, Any]) -> None:
    """Raise an ArtQuantError about settings of an image processor that make no picture."""
    for name in ("image_mean", "image_std"):
        value = values.get(name)
        channels = value if isinstance(value, (list, tuple)) else [value] * 3
        if value is not None and (len(channels) != 3 or not all(isinstance(one, (int, float)) for one in channels)):
            raise ArtQuantError(f"the preprocessor's {name} is {value!r}, not 3 numbers; take the model's own file")
    for name, value in _numbers(values):
        low, high = _PICTURE_RANGES.get(name, (-math.inf, math.inf))
        if not low <= value <= high:
            raise ArtQuantError(
                f"the preprocessor's {name} is {value:g}, expected {low:g} to {high:g}; take the model's own file"
            )


def require_size(folder: Path, skeleton: PreTrainedModel) -> None:
    """Raise a CheckpointError unless a network of this configuration can lie in a folder's weights files.

    What is missing would be drawn, however large, before tensors are compared. A number takes two bytes or more.
    """
    numbers = sum(parameter.numel() for parameter in skeleton.parameters())
    stored = sum(file.stat().st_size for file in folder.iterdir() if file.suffix in WEIGHTS_SUFFIXES)
    if numbers > stored > 0:
        raise CheckpointError(
            f"{folder / 'config.json'}: is of a network of {numbers:,} parameters, but the weights beside it have "
            f"{stored:,} bytes; copy the model's own files"
        )


def _numbers(values: Any) -> Iterator[tuple[str, float]]:
    """Names and numbers in nested settings; those of a list go by the list's name."""
    waiting = [("", values)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.items()
        elif isinstance(value, (list, tuple)):
            waiting += [(name, one) for one in value]
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, min(value, 1e300) if isinstance(value, int) else value

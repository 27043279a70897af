"""Pictures as users hold them: files, PIL pictures, arrays, tensors; one or many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import IOBase
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image

from artquant.data.images import as_rgb, load_image
from artquant.errors import ArtQuantError, one_line

Picture: TypeAlias = str | Path | Image.Image | np.ndarray | torch.Tensor
Pictures: TypeAlias = Picture | Iterable[Picture]
Names: TypeAlias = str | Sequence[str]

_TAKEN = (
    "a path, a PIL picture, an array or tensor [H, W], [H, W, 1 | 3 | 4] or [1 | 3 | 4, H, W] of uint8, or of floats "
    "in 0 to 1; or several of them in a list, or in one array or tensor with a dimension more"
)


def as_pictures(given: Pictures) -> tuple[list[Image.Image], bool]:
    """Pictures as RGB, and whether it was a single one.

    Args:
        given: one picture, or any number of them. A path is opened as the command line opens it. Where the first and
            the last dimension could both be channels, arrays are read as [H, W, C] and tensors as [C, H, W].

    Raises:
        ArtQuantError: something else, which is named by its place; or a file that is not there or no picture.
    """
    single = isinstance(given, (str, Path, Image.Image))
    if isinstance(given, (np.ndarray, torch.Tensor)):
        single = len(given.shape) == 2 or (len(given.shape) == 3 and _channels_at(given) is not None)
    if single:
        return [_as_picture(given, "")], True  # type: ignore[arg-type]
    if not isinstance(given, Iterable) or isinstance(given, (bytes, Mapping, IOBase)):
        raise ArtQuantError(f"{type(given).__name__} is no picture; give {_TAKEN}")
    return [_as_picture(one, f"picture {number}: ") for number, one in enumerate(given, 1)], False


def _channels_at(given: np.ndarray | torch.Tensor) -> int | None:
    """Which of three dimensions counts channels; None: neither can, so they are several grey pictures."""
    places = (0, 2) if isinstance(given, torch.Tensor) else (2, 0)
    return next((place for place in places if given.shape[place] in (1, 3, 4)), None)


def _as_picture(given: Picture, where: str) -> Image.Image:
    if isinstance(given, Image.Image):
        return as_rgb(given)
    if isinstance(given, (str, Path)) and given != "":
        return load_image(given)
    if not isinstance(given, (np.ndarray, torch.Tensor)):
        raise ArtQuantError(f"{where}{type(given).__name__} is no picture; give {_TAKEN}")
    shape = tuple(given.shape)
    if len(shape) == 2:
        given = given[None] if isinstance(given, torch.Tensor) else given[:, :, None]
    place = _channels_at(given) if len(given.shape) == 3 else None
    if place is None or 0 in shape:
        raise ArtQuantError(f"{where}a shape of {list(shape)} is no picture; give {_TAKEN}")
    if isinstance(given, torch.Tensor):  # numpy has no bfloat16
        given = _in_memory(given, where)
    values = _as_bytes(np.moveaxis(given, place, 2), where)
    return as_rgb(Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else np.ascontiguousarray(values)))


def _in_memory(tensor: torch.Tensor, where: str) -> np.ndarray:
    try:
        values = tensor.detach().cpu()
        return (values.float() if values.is_floating_point() else values).numpy()
    except (TypeError, RuntimeError) as error:  # sparse, quantized, without values, on a device that has failed
        raise ArtQuantError(f"{where}the tensor's values cannot be read: {one_line(error)}") from None


def _as_bytes(values: np.ndarray, where: str) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    if not np.issubdtype(values.dtype, np.floating):
        raise ArtQuantError(f"{where}values of {values.dtype} have no known range; give uint8, or floats in 0 to 1")
    if not np.isfinite(values).all():
        raise ArtQuantError(f"{where}floats must be in 0 to 1, some are not finite; look where they come from")
    if values.min() < 0 or values.max() > 1:
        low, high = float(values.min()), float(values.max())
        raise ArtQuantError(f"{where}floats must be in 0 to 1, got {low:g} to {high:g}; scale what they stand for")
    return np.rint(values * 255).astype(np.uint8)


def as_names(given: Names) -> tuple[str, ...]:
    """One name or several. Raises ArtQuantError: they are no names."""
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Sequence) else (given,)
    strange = [name for name in names if not isinstance(name, str)]
    if strange:
        raise ArtQuantError(f"attribute {strange[0]!r} is no name; give a text such as 'Color', several, or 'trained'")
    return names

"""Tensors of a file, read without executing anything in it, and the errors about those that do not fit."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from artquant.errors import one_line
from artquant.models.family import CheckpointError

_COMPILED = re.compile(r"(^|\.)_orig_mod\.")  # what `torch.compile` puts into the names of a network's tensors


def read_tensors(folder: Path, stem: str) -> tuple[Path, dict[str, torch.Tensor]]:
    """Tensors of `STEM.safetensors` or, read weights-only, of `STEM.bin`; names as before `torch.compile`.

    Raises:
        CheckpointError: neither is there, or it cannot be read.
    """
    safe, pickled = folder / f"{stem}.safetensors", folder / f"{stem}.bin"
    file = safe if safe.is_file() else pickled
    if not file.is_file():
        raise CheckpointError(f"{folder}: neither {safe.name} nor {pickled.name} is there; copy the folder again")
    try:
        tensors = load_file(file) if file is safe else torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # every reader has errors of its own; all mean the file cannot be used
        raise CheckpointError(f"{file}: cannot be read as tensors ({one_line(error)})") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise CheckpointError(f"{file}: expected a dictionary of tensors")
    plain = {_COMPILED.sub(r"\1", name): value for name, value in tensors.items()}
    if len(plain) < len(tensors):
        double = next(name for name in tensors if is_compiled(name) and _COMPILED.sub(r"\1", name) in tensors)
        raise CheckpointError(f"{file}: tensor {double} is there without _orig_mod too; keep the one that counts")
    return file, plain


def is_compiled(name: str) -> bool:
    """Whether a tensor's name is one that `torch.compile` has changed."""
    return _COMPILED.search(name) is not None


def check_tensors(
    file: Path,
    found: Mapping[str, torch.Tensor],
    wanted: Mapping[str, torch.Tensor],
    allowed: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Raise a CheckpointError unless a file holds the wanted tensors, in their shapes.

    Args:
        allowed: what it may hold, with the wanted ones; default is those alone.
    """
    known = wanted if allowed is None else allowed
    complain_empty(file, [name for name, value in found.items() if value.numel() == 0])
    complain(file, "is missing", set(wanted) - set(found))
    complain(file, "is not known", set(found) - set(known))
    complain(file, "has another shape", [name for name in found if found[name].shape != known[name].shape])


def complain(place: Path, kind: str, tensors: Iterable[str]) -> None:
    """Raise a CheckpointError about tensors, if there are any."""
    tensors = sorted(tensors)
    if tensors:
        raise CheckpointError(f"{place}: {_first(tensors)} {kind}; is this the folder for this base model?")


def complain_empty(place: Path, tensors: Collection[str]) -> None:
    """Raise a CheckpointError about tensors without a number in them, if there are any."""
    if tensors:
        raise CheckpointError(
            f"{place}: {_first(sorted(tensors))} is empty, as DeepSpeed's ZeRO-3 saves it where it is not put together "
            "first; save it again with stage3_gather_16bit_weights_on_model_save, or make it whole by zero_to_fp32.py"
        )


def _first(tensors: list[str]) -> str:
    more = f" (and {len(tensors) - 1} more)" if len(tensors) > 1 else ""
    return f"tensor {tensors[0]}{more}"

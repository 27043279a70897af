"""Adapters: LoRA runs in the published form, put over a base and written.

The form: `adapter_config.json`, `adapter_model.*` (LoRA) and `non_lora_trainables.*` (vision encoder and abstractor,
names prefixed `base_model.model.`). Files are read as safetensors or, weights-only, as pickles: nothing in them is
executed. A tensor that is missing or not known is an error that names it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from artquant.errors import ArtQuantError

if TYPE_CHECKING:
    from peft import PeftModel

ADAPTER_CONFIG = "adapter_config.json"
PEFT_PREFIX = "base_model.model."
VISUAL_PARTS = ("vision_model", "visual_abstractor")


class CheckpointError(ArtQuantError):
    """A model folder that cannot be used, with the file or tensor at fault."""


def is_adapter(folder: Path) -> bool:
    """Whether a model folder holds a LoRA run over a base."""
    return (folder / ADAPTER_CONFIG).is_file()


def attach_adapter(model: PreTrainedModel, folder: Path, trainable: bool, dropout: float | None = None) -> PeftModel:
    """Put a LoRA run (adapter form) over its base: LoRA weights as an adapter, the other tensors in place.

    Args:
        dropout: on the adapter's input while training; default is the stored one.

    Raises:
        CheckpointError: a tensor is missing, unexpected or of another shape.
    """
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict  # takes seconds, and only adapters need it

    try:
        stored = LoraConfig.from_pretrained(str(folder))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / 'adapter_config.json'}: not a LoRA configuration ({error})") from error
    for field in ("use_rslora", "use_dora", "alpha_pattern", "rank_pattern", "modules_to_save"):
        if stored.to_dict().get(field):
            raise CheckpointError(
                f"{folder / 'adapter_config.json'}: {field} is not supported; merge it with peft first"
            )
    adapter_config = LoraConfig(
        r=stored.r,
        lora_alpha=stored.lora_alpha,
        lora_dropout=stored.lora_dropout if dropout is None else dropout,
        bias=stored.bias,
        fan_in_fan_out=stored.fan_in_fan_out,
        target_modules=stored.target_modules,
        task_type=stored.task_type,
        inference_mode=not trainable,
    )
    adapter_file, adapter = read_tensors(folder, "adapter_model")
    try:
        adapted = get_peft_model(model, adapter_config)
    except ValueError as error:
        raise CheckpointError(f"{folder / 'adapter_config.json'}: does not fit the base model: {error}") from error
    wanted = {name.replace(".default.", "."): value for name, value in adapted.state_dict().items() if "lora_" in name}
    _check_tensors(adapter_file, adapter, wanted)
    set_peft_model_state_dict(adapted, adapter)
    if any(folder.glob("non_lora_trainables.*")):
        _load_visual_parts(adapted, folder)
    return adapted


def _load_visual_parts(adapted: PeftModel, folder: Path) -> None:
    file, tensors = read_tensors(folder, "non_lora_trainables")
    tensors = {name.removeprefix(PEFT_PREFIX): value for name, value in tensors.items()}
    parameters = dict(adapted.get_base_model().named_parameters())
    parts = {part for part in VISUAL_PARTS if any(f"model.{part}." in name for name in tensors)}
    wanted = {name: value for name, value in parameters.items() if any(f"model.{part}." in name for part in parts)}
    _check_tensors(file, tensors, wanted)
    with torch.no_grad():
        for name, value in tensors.items():
            parameters[name].copy_(value)


def read_tensors(folder: Path, stem: str) -> tuple[Path, dict[str, torch.Tensor]]:
    """Tensors of `STEM.safetensors` or, read weights-only, of `STEM.bin`."""
    safe, pickled = folder / f"{stem}.safetensors", folder / f"{stem}.bin"
    file = safe if safe.is_file() else pickled
    if not file.is_file():
        raise CheckpointError(f"{folder}: neither {safe.name} nor {pickled.name} is there; copy the folder again")
    try:
        tensors = load_file(file) if file is safe else torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # every reader has errors of its own; all mean the file cannot be used
        raise CheckpointError(f"{file}: cannot be read as tensors ({' '.join(str(error).split())[:200]})") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise CheckpointError(f"{file}: expected a dictionary of tensors")
    return file, tensors


def _check_tensors(file: Path, found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    complain(file, "is missing", sorted(set(wanted) - set(found)))
    complain(file, "is not known", sorted(set(found) - set(wanted)))
    complain(file, "has another shape", [name for name in sorted(wanted) if found[name].shape != wanted[name].shape])


def complain(place: Path, kind: str, tensors: Iterable[str]) -> None:
    tensors = sorted(tensors)
    if tensors:
        more = f" (and {len(tensors) - 1} more)" if len(tensors) > 1 else ""
        raise CheckpointError(f"{place}: tensor {tensors[0]}{more} {kind}; is this the folder for this base model?")


def save_adapter(folder: Path, adapted: PeftModel, state_dict: dict[str, torch.Tensor]) -> None:
    """Write a LoRA run in the published adapter form, as safetensors.

    Args:
        adapted: the model with its adapter.
        state_dict: weights of the adapted model; LoRA tensors and visual parts are taken from it. The latter are stored
            whether this stage trained them or not: an earlier one may have.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lora = {name.replace(".default.", "."): value for name, value in state_dict.items() if "lora_" in name}
    parameters = {
        name for name, _ in adapted.named_parameters() if any(f"model.{part}." in name for part in VISUAL_PARTS)
    }
    visual = {name: state_dict[name].contiguous() for name in parameters if "lora_" not in name}
    config = copy.deepcopy(adapted.config)
    config.__dict__.pop("quantization_config", None)  # says how this process held the base, not what the adapter is
    config.save_pretrained(folder)
    adapted.peft_config["default"].save_pretrained(str(folder))
    save_file({name: value.contiguous() for name, value in lora.items()}, folder / "adapter_model.safetensors")
    save_file(visual, folder / "non_lora_trainables.safetensors")

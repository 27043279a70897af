"""Adapters: LoRA runs in the published form, put over a base and written.

The form: `adapter_config.json`, `adapter_model.*` (LoRA, and the rows of new words) and `non_lora_trainables.*` (whole
parts, such as vision encoder and projector; names prefixed `base_model.model.`). Files are read as safetensors or,
weights-only, as pickles: nothing in them is executed. A tensor that is missing or not known is an error that names it.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from artquant.errors import one_line
from artquant.models.family import CheckpointError, Part, Parts, bare_name

if TYPE_CHECKING:
    from peft import PeftModel

PEFT_PREFIX = "base_model.model."
_ADAPTER_PARTS = ("adapters", "new_rows")


def attach_adapter(
    model: PreTrainedModel, folder: Path, parts: Parts, trainable: bool, dropout: float | None = None
) -> PeftModel:
    """Put a LoRA run (adapter form) over its base: LoRA weights and new rows as an adapter, other tensors in place.

    Args:
        parts: of the model.
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
        trainable_token_indices=stored.trainable_token_indices,
        task_type=stored.task_type,
        inference_mode=not trainable,
    )
    adapter_file, adapter = read_tensors(folder, "adapter_model")
    try:
        adapted = get_peft_model(model, adapter_config)
    except ValueError as error:
        raise CheckpointError(f"{folder / 'adapter_config.json'}: does not fit the base model: {error}") from error
    _check_tensors(adapter_file, adapter, adapter_tensors(adapted, adapted.state_dict(), parts))
    set_peft_model_state_dict(adapted, adapter)
    if any(folder.glob("non_lora_trainables.*")):
        _load_whole_parts(adapted, folder, parts)
    return adapted


def adapter_tensors(adapted: PeftModel, state_dict: dict[str, torch.Tensor], parts: Parts) -> dict[str, torch.Tensor]:
    """What `adapter_model` holds, of an adapted model's weights, by peft's names."""
    from peft import get_peft_model_state_dict

    own = {name: value for name, value in state_dict.items() if parts.of(name) in _ADAPTER_PARTS}
    return get_peft_model_state_dict(adapted, state_dict=own, save_embedding_layers=False)


def _load_whole_parts(adapted: PeftModel, folder: Path, parts: Parts) -> None:
    file, tensors = read_tensors(folder, "non_lora_trainables")
    tensors = {name.removeprefix(PEFT_PREFIX): value for name, value in tensors.items()}
    parameters = {bare_name(name): value for name, value in adapted.get_base_model().named_parameters()}
    complain(file, "is not known", set(tensors) - set(parameters))
    base: Any = adapted.get_base_model()
    tokens = base.get_input_embeddings().weight  # ROC4MLLM's runs hold the table without the layers

    def part(name: str) -> Part | None:
        return None if parameters[name] is tokens else parts.of(name)

    there = {part(name) for name in tensors}
    wanted = {name: value for name, value in parameters.items() if part(name) in there}
    _check_tensors(file, tensors, wanted)
    with torch.no_grad():
        for name, value in tensors.items():
            parameters[name].copy_(value)


def require_tables(folder: Path, model: PreTrainedModel) -> None:
    """Raise a CheckpointError unless a run's folder holds token table and output head whole."""
    tables = {model.get_input_embeddings(), model.get_output_embeddings()}
    wanted = {f"{name}.weight" for name, module in model.named_modules() if module in tables}
    stored: set[str] = set()
    if any(folder.glob("non_lora_trainables.*")):
        stored = {name.removeprefix(PEFT_PREFIX) for name in read_tensors(folder, "non_lora_trainables")[1]}
    complain(folder / "non_lora_trainables.bin", "is missing", wanted - stored)


def stored_parts(folder: Path, parts: Parts) -> set[Part]:
    """The parts that an adapter's folder holds whole."""
    if not any(folder.glob("non_lora_trainables.*")):
        return set()
    return {parts.of(name) for name in read_tensors(folder, "non_lora_trainables")[1]}


def read_tensors(folder: Path, stem: str) -> tuple[Path, dict[str, torch.Tensor]]:
    """Tensors of `STEM.safetensors` or, read weights-only, of `STEM.bin`."""
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
    return file, tensors


def _check_tensors(file: Path, found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    complain(file, "is missing", set(wanted) - set(found))
    complain(file, "is not known", set(found) - set(wanted))
    complain(file, "has another shape", [name for name in wanted if found[name].shape != wanted[name].shape])


def complain(place: Path, kind: str, tensors: Iterable[str]) -> None:
    """Raise a CheckpointError about tensors, if there are any."""
    tensors = sorted(tensors)
    if tensors:
        more = f" (and {len(tensors) - 1} more)" if len(tensors) > 1 else ""
        raise CheckpointError(f"{place}: tensor {tensors[0]}{more} {kind}; is this the folder for this base model?")


def save_adapter(
    folder: Path, adapted: PeftModel, state_dict: dict[str, torch.Tensor], parts: Parts, whole: Collection[Part]
) -> None:
    """Write a LoRA run in the published adapter form, as safetensors.

    Args:
        adapted: the model with its adapter.
        state_dict: weights of the adapted model.
        whole: the parts that are stored beside the adapter, whether this stage trained them or not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name, _ in adapted.named_parameters() if parts.of(name) in whole]
    kept = {f"{PEFT_PREFIX}{bare_name(name)}": state_dict[name].contiguous() for name in names}
    config = copy.deepcopy(adapted.config)
    config.__dict__.pop("quantization_config", None)  # says how this process held the base, not what the adapter is
    config.save_pretrained(folder)
    adapted.peft_config["default"].save_pretrained(str(folder))
    adapter = adapter_tensors(adapted, state_dict, parts)
    save_file({name: value.contiguous() for name, value in adapter.items()}, folder / "adapter_model.safetensors")
    save_file(kept, folder / "non_lora_trainables.safetensors")

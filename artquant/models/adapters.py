"""Adapters: LoRA runs in the published form, put over a base and written.

The form: `adapter_config.json`, `adapter_model.*` (LoRA, and the rows of new words) and `non_lora_trainables.*` (whole
parts, such as vision encoder and projector; names prefixed `base_model.model.`). Files are read as safetensors or,
weights-only, as pickles: nothing in them is executed. A tensor that is missing or not known is an error that names it.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from artquant.errors import one_line
from artquant.files.json_files import read_json
from artquant.models.adapter_config import ADAPTER_CONFIG, largest_rank, patterns_in, read_adapter_config
from artquant.models.family import CheckpointError, Part, Parts, bare_name
from artquant.models.model_card import CARD_MARK
from artquant.models.patterns import pattern_fault
from artquant.models.tensors import check_tensors, complain, read_weights

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

logger = logging.getLogger(__name__)

PEFT_PREFIX = "base_model.model."
TRAINABLE_WEIGHTS = "trainable.safetensors"  # a checkpoint's: only what trains, by the names that it has in training
STORED_BESIDE: tuple[Part, ...] = ("vision", "projector")  # parts that a LoRA run stores whole, as published
_ADAPTER_PARTS = ("adapters", "new_rows")
_PARTS = Parts({}, rest="decoder")  # tells an adapter's tensors from all others


def attach_adapter(
    model: PreTrainedModel, folder: Path, parts: Parts, trainable: bool, dropout: float | None = None
) -> PeftModel:
    """Put a LoRA run (adapter form) over its base: LoRA weights and new rows as an adapter, other tensors in place.

    What `adapter_config.json` says acts as in peft; PiSSA and its like take their share out of the base again.

    Args:
        parts: of the model.
        dropout: on the adapter's input while training; default is the stored one.

    Raises:
        CheckpointError: a setting is not supported or does not fit; a tensor is missing, unexpected or of another
            shape.
    """
    # Takes seconds, and only adapters need it.
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    config = read_adapter_config(folder)
    config.inference_mode = not trainable
    if dropout is not None:
        config.lora_dropout = dropout
    adapter_file, adapter = read_form(folder, "adapter_model")
    _require_matchable(folder, config, [name for name, _ in model.named_modules()], adapter)
    start = str(config.init_lora_weights)
    if "niter" in start:
        logger.warning("%s: %s takes a drawn share out of the base, as in training: scores may differ", folder, start)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are for those who train
            torch.default_generator.manual_seed(0)  # the same draw each time
            adapted = get_peft_model(model, config)
    except Exception as error:  # peft has errors of many kinds; all mean that the configuration is not of this base
        raise CheckpointError(f"{folder / ADAPTER_CONFIG}: does not fit the base model: {one_line(error)}") from error
    state = adapted.state_dict()
    wanted, allowed = (
        get_peft_model_state_dict(adapted, state_dict=state, save_embedding_layers=tables) for tables in (False, True)
    )
    check_tensors(adapter_file, adapter, wanted, allowed)
    set_peft_model_state_dict(adapted, adapter)
    _require_beside(folder, adapted.get_base_model(), parts)
    if holds_whole(folder):
        _load_whole_parts(adapted.get_base_model(), *read_form(folder, "non_lora_trainables"), parts)
    return adapted


def _require_beside(folder: Path, base: Any, parts: Parts) -> None:
    """Refuse a run without the parts that training stores whole beside every adapter.

    Those that say their network (`config.json`) are in that form; peft's own do not, and hold LoRA alone. Where a card
    lists the files, they have been compared.
    """
    config = folder / "config.json"
    if (folder / TRAINABLE_WEIGHTS).is_file() or not config.is_file() or read_json(config).get(CARD_MARK):
        return
    wanted = {parts.of(name) for name, _ in base.named_parameters()} & set(STORED_BESIDE)
    lacking = sorted(wanted - stored_parts(folder, parts))
    if lacking:
        raise CheckpointError(
            f"{folder}: holds an adapter without the {' and '.join(lacking)} that were stored beside it "
            "(non_lora_trainables.safetensors or .bin); copy the folder again"
        )


def _require_matchable(
    folder: Path, config: LoraConfig, modules: Sequence[str], adapter: Mapping[str, torch.Tensor]
) -> None:
    """Refuse what would take forever to build: patterns that never end, ranks that no stored tensor has."""
    fault, file = pattern_fault(patterns_in(config), modules), folder / ADAPTER_CONFIG
    if fault is not None:
        raise CheckpointError(f"{file}: a pattern of its modules {fault}")
    longest = max((side for tensor in adapter.values() for side in tensor.shape), default=0)
    if largest_rank(config) > longest > 0:  # what is empty has a message of its own
        raise CheckpointError(
            f"{file}: rank {largest_rank(config)} is none of the adapter's, whose longest side is {longest}; copy the "
            "folder again"
        )


def merged(adapted: PeftModel, folder: Path) -> PreTrainedModel:
    """The base with an adapter's weights added to its own; raises CheckpointError where that cannot be."""
    try:
        return adapted.merge_and_unload()
    except Exception as error:  # as above
        raise CheckpointError(
            f"{folder / ADAPTER_CONFIG}: cannot be merged into the base model: {one_line(error)}"
        ) from error


def adapter_tensors(adapted: PeftModel, state_dict: dict[str, torch.Tensor], parts: Parts) -> dict[str, torch.Tensor]:
    """What `adapter_model` holds, of an adapted model's weights, by peft's names."""
    from peft import get_peft_model_state_dict

    own = {name: value for name, value in state_dict.items() if parts.of(name) in _ADAPTER_PARTS}
    return get_peft_model_state_dict(adapted, state_dict=own, save_embedding_layers=False)


def _load_whole_parts(base: Any, file: Path, tensors: Mapping[str, torch.Tensor], parts: Parts) -> None:
    """Put whole parts into a network; a part of which one tensor is there has to be there with all."""
    tensors = {name.removeprefix(PEFT_PREFIX): value for name, value in tensors.items()}
    parameters = {bare_name(name): value for name, value in base.named_parameters() if ".modules_to_save." not in name}
    complain(file, "is not known", set(tensors) - set(parameters))
    tokens = base.get_input_embeddings().weight  # ROC4MLLM's runs hold the table without the layers

    def part(name: str) -> Part | None:
        return None if parameters[name] is tokens else parts.of(name)

    there = {part(name) for name in tensors}
    check_tensors(file, tensors, {name: value for name, value in parameters.items() if part(name) in there})
    with torch.no_grad():
        for name, value in tensors.items():
            parameters[name].copy_(value)


def require_tables(folder: Path, model: PreTrainedModel) -> None:
    """Raise a CheckpointError unless a run's folder holds token table and output head whole."""
    tables = {model.get_input_embeddings(), model.get_output_embeddings()}
    wanted = {f"{name}.weight" for name, module in model.named_modules() if module in tables}
    stored: set[str] = set()
    if holds_whole(folder):
        stored = {name.removeprefix(PEFT_PREFIX) for name in read_form(folder, "non_lora_trainables")[1]}
    complain(folder / "non_lora_trainables.bin", "is missing", wanted - stored)


def stored_parts(folder: Path, parts: Parts) -> set[Part]:
    """The parts that an adapter's folder holds whole."""
    if not holds_whole(folder):
        return set()
    return {parts.of(name) for name in read_form(folder, "non_lora_trainables")[1]}


def read_form(folder: Path, stem: str) -> tuple[Path, dict[str, torch.Tensor]]:
    """Tensors of the adapter form's `adapter_model` or `non_lora_trainables`, with the file that they stand in.

    Of a checkpoint they are those that train, and the whole parts that stand beside them because they do not.
    """
    file = folder / TRAINABLE_WEIGHTS
    if not file.is_file():
        return read_weights(folder, stem)
    found, frozen = {}, {}
    if stem == "non_lora_trainables" and any(folder.glob(f"{stem}.*")):
        frozen = read_weights(folder, stem)[1]
    for name, value in read_weights(folder, file.stem)[1].items():
        part = _PARTS.of(name)
        if stem == "adapter_model" and part in _ADAPTER_PARTS:
            found[f"{name}.".replace(".default.", ".").removesuffix(".")] = value  # as peft stores them
        elif stem != "adapter_model" and part not in (*_ADAPTER_PARTS, "readout"):
            found[f"{PEFT_PREFIX}{bare_name(name)}"] = value
    return file, frozen | found


def load_trained(network: PreTrainedModel, folder: Path, parts: Parts) -> None:
    """Put a checkpoint's whole parts into the network that its stage began with, in the run's number format.

    Raises:
        CheckpointError: a tensor is missing, unexpected or of another shape.
    """
    file, tensors = read_form(folder, "non_lora_trainables")
    dtype = torch.bfloat16 if read_json(folder / "config.json").get("dtype") == "bfloat16" else torch.float32
    _load_whole_parts(network, file, {name: value.to(dtype) for name, value in tensors.items()}, parts)


def holds_whole(folder: Path) -> bool:
    """Whether a LoRA run's folder holds whole parts beside its adapter."""
    return any(folder.glob("non_lora_trainables.*")) or (folder / TRAINABLE_WEIGHTS).is_file()


def save_adapter(
    folder: Path, adapted: PeftModel, state_dict: dict[str, torch.Tensor], parts: Parts, whole: Collection[Part]
) -> None:
    """Write a LoRA run in the published adapter form, as safetensors.

    Args:
        adapted: the model with its adapter.
        state_dict: weights of the adapted model.
        whole: the parts that are stored beside the adapter, whether this stage trained them or not.
    """
    save_adapter_config(folder, adapted)
    adapter = adapter_tensors(adapted, state_dict, parts)
    save_file({name: value.contiguous() for name, value in adapter.items()}, folder / "adapter_model.safetensors")
    save_whole_parts(folder, adapted, state_dict, parts, whole)


def save_adapter_config(folder: Path, adapted: PeftModel) -> None:
    """Write a LoRA run's two configurations, the network's and the adapter's."""
    folder.mkdir(parents=True, exist_ok=True)
    config = copy.deepcopy(adapted.config)
    config.__dict__.pop("quantization_config", None)  # says how this process held the base, not what the adapter is
    config.save_pretrained(folder)
    adapted.peft_config["default"].save_pretrained(str(folder))


def save_whole_parts(
    folder: Path, adapted: PeftModel, state_dict: dict[str, torch.Tensor], parts: Parts, whole: Collection[Part]
) -> None:
    """Write the parts that are stored beside an adapter. Arguments as of `save_adapter`."""
    names = [name for name, _ in adapted.named_parameters() if parts.of(name) in whole]
    kept = {f"{PEFT_PREFIX}{bare_name(name)}": state_dict[name].contiguous() for name in names}
    save_file(kept, folder / "non_lora_trainables.safetensors")

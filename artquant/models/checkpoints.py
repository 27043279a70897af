"""Reading and writing model folders in every published form.

Forms:
    full: `config.json`, weights (safetensors or pickles, sharded or not), usually tokenizer and preprocessor. The base
        model, a full fine-tune, and what we save.
    adapter: `config.json`, `adapter_config.json`, `adapter_model.*` (LoRA) and `non_lora_trainables.*` (vision encoder
        and abstractor), to be put over a base.

Pickles are read with weights-only loading: nothing in a checkpoint is executed. A tensor that is missing or not known
is an error that names it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from artquant import __version__
from artquant.errors import ArtQuantError
from artquant.jsonio import read_json, write_json
from artquant.models.mplug_owl2 import MPLUGOwl2Config, MPLUGOwl2LlamaForCausalLM, MPLUGOwl2Processor
from artquant.prompts import SUBJECT, Prompt, get_prompt
from artquant.readouts import READOUTS, Readout
from artquant.readouts.rating_levels import RatingLevels

if TYPE_CHECKING:
    from peft import PeftModel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CARD = "artquant.json"  # prompt, readout and history of a model that we trained
ADAPTER_FOLDER = "adapter"  # inside a model folder: the LoRA run that the folder's weights were merged from
PEFT_PREFIX = "base_model.model."
VISUAL_PARTS = ("vision_model", "visual_abstractor")


class CheckpointError(ArtQuantError):
    """A model folder that cannot be used, with the file or tensor at fault."""


@dataclass(frozen=True)
class Network:
    """A network with its processor."""

    model: MPLUGOwl2LlamaForCausalLM
    processor: MPLUGOwl2Processor


@dataclass(frozen=True)
class LoadedModel:
    """Everything that scoring and describing need."""

    model: MPLUGOwl2LlamaForCausalLM
    processor: MPLUGOwl2Processor
    prompt: Prompt
    readout: Readout
    attributes: tuple[str, ...] = ()  # that it was trained to score


def load_network(
    folder: Path | str,
    base: Path | str | None = None,
    dtype: torch.dtype = torch.float32,
    attention: str = "sdpa",
) -> Network:
    """Network and processor of a model folder; an adapter is merged into its base.

    Args:
        folder: full or adapter form.
        base: where the base weights (adapter form) or the tokenizer and preprocessor (a full fine-tune saved without
            them) come from.
        dtype: data type to compute in, whatever the file's is.
        attention: "eager", "sdpa" or "flash_attention_2".

    Raises:
        CheckpointError: not a model folder, a file is missing or unreadable, a tensor is missing or unexpected.
    """
    folder = Path(folder)
    _require_folder(folder)
    if (folder / "adapter_config.json").is_file():
        if base is None:
            raise CheckpointError(
                f"{folder}: holds a LoRA run over a base model; name the base model's folder (--base DIR)"
            )
        network = load_network(base, dtype=dtype, attention=attention)
        adapted = attach_adapter(network.model, folder, trainable=False)
        return replace(network, model=adapted.merge_and_unload())
    model = _load_full(folder, dtype, attention)
    return Network(model, _load_processor(folder, Path(base) if base is not None else None, model.config))


def load_model(
    folder: Path | str,
    base: Path | str | None = None,
    dtype: torch.dtype = torch.float32,
    attention: str = "sdpa",
    prompt: str | None = None,
    weights: Iterable[float] | None = None,
) -> LoadedModel:
    """A trained model, ready to score.

    Args:
        folder, base, dtype, attention: see `load_network`.
        prompt: name of the prompt; default is the one stored with the model, for published models `published-score`.
        weights: the rating words' scores, best first; default are those stored with the model.

    Raises:
        CheckpointError: see `load_network`; or the folder does not say how its scores are read.
    """
    network = load_network(folder, base, dtype, attention)
    card_file = Path(folder) / CARD
    attributes: tuple[str, ...] = ()
    if card_file.is_file():
        stored_prompt, readout, attributes = _read_card(card_file)
    else:
        stored_prompt, readout = _published_scale(Path(folder), network, weights)
    if weights is not None:
        readout = RatingLevels.from_dict(readout.to_dict() | {"weights": tuple(weights)})
    chosen = stored_prompt if prompt is None else get_prompt(prompt, stored_prompt.subject)
    return LoadedModel(network.model.eval(), network.processor, chosen, readout, attributes)


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
    adapter_file, adapter = _read_tensors(folder, "adapter_model")
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
    file, tensors = _read_tensors(folder, "non_lora_trainables")
    tensors = {name.removeprefix(PEFT_PREFIX): value for name, value in tensors.items()}
    parameters = dict(adapted.get_base_model().named_parameters())
    parts = {part for part in VISUAL_PARTS if any(f"model.{part}." in name for name in tensors)}
    wanted = {name: value for name, value in parameters.items() if any(f"model.{part}." in name for part in parts)}
    _check_tensors(file, tensors, wanted)
    with torch.no_grad():
        for name, value in tensors.items():
            parameters[name].copy_(value)


def _require_folder(folder: Path) -> None:
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise CheckpointError(
            f"{folder}: not a model folder (no config.json); name a folder with config.json and weights"
        )
    try:
        model_type = json.loads(config_file.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{config_file}: not a JSON object ({error}); copy the file again") from error
    if model_type != MPLUGOwl2Config.model_type:
        raise CheckpointError(f"{config_file}: model_type is {model_type!r}, expected {MPLUGOwl2Config.model_type!r}")


def _load_full(folder: Path, dtype: torch.dtype, attention: str) -> MPLUGOwl2LlamaForCausalLM:
    try:
        model, info = MPLUGOwl2LlamaForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=attention,
            output_loading_info=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # reported below, by name
        )
    except Exception as error:  # every reader has errors of its own; all mean the folder cannot be used
        raise CheckpointError(f"{folder}: cannot be loaded: {' '.join(str(error).split())}") from error
    for kind, tensors in (
        ("is missing", info["missing_keys"]),
        ("is not known", info["unexpected_keys"]),
        ("has another shape", [mismatch[0] for mismatch in info["mismatched_keys"]]),
    ):
        _complain(folder, kind, tensors)
    return model


def _load_processor(folder: Path, base: Path | None, config: MPLUGOwl2Config) -> MPLUGOwl2Processor:
    source = folder if (folder / "tokenizer.model").is_file() else base
    if source is None:
        raise CheckpointError(
            f"{folder}: holds no tokenizer.model; name the base model's folder, which has one (--base DIR)"
        )
    try:
        return MPLUGOwl2Processor.from_pretrained(source, config=config, local_files_only=True)
    except Exception as error:  # as above: whatever a reader raises, the folder cannot be used
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{source}: tokenizer or preprocessor cannot be read: {reason}") from error


def _read_tensors(folder: Path, stem: str) -> tuple[Path, dict[str, torch.Tensor]]:
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
    _complain(file, "is missing", sorted(set(wanted) - set(found)))
    _complain(file, "is not known", sorted(set(found) - set(wanted)))
    _complain(file, "has another shape", [name for name in sorted(wanted) if found[name].shape != wanted[name].shape])


def _complain(place: Path, kind: str, tensors: Iterable[str]) -> None:
    tensors = sorted(tensors)
    if tensors:
        more = f" (and {len(tensors) - 1} more)" if len(tensors) > 1 else ""
        raise CheckpointError(f"{place}: tensor {tensors[0]}{more} {kind}; is this the folder for this base model?")


def trained_attributes(folder: Path) -> tuple[str, ...]:
    """The attributes that the model of a folder was trained to score; none where it has no card."""
    card = Path(folder) / CARD
    return _read_card(card)[2] if card.is_file() else ()


def _read_card(file: Path) -> tuple[Prompt, Readout, tuple[str, ...]]:
    card = read_json(file)
    try:
        readout = READOUTS[card["readout"]["kind"]].from_dict(card["readout"])
        return Prompt.from_dict(card["prompt"]), readout, tuple(card["attributes"])
    except (KeyError, TypeError, ArtQuantError) as error:
        raise CheckpointError(f"{file}: not a model card of this version ({error!r}); save the model again") from error


def _published_scale(folder: Path, network: Network, weights: Iterable[float] | None) -> tuple[Prompt, RatingLevels]:
    """Prompt and rating words of a published checkpoint, from its `config.json`."""
    values = read_json(folder / "config.json")
    weights = values.get("score_weight") if weights is None else list(weights)
    for key, found in (("level_ids", values.get("level_ids")), ("level_prefix", values.get("level_prefix"))):
        if not found:
            raise CheckpointError(f"{folder / 'config.json'}: has no {key}, so it does not say how scores are read")
    if not weights:
        raise CheckpointError(
            f"{folder / 'config.json'}: has no score_weight; give the rating words' scores (--weights 5,4,3,2,1)"
        )
    prompt = get_prompt("published-score")
    prefix = network.processor.decode(values["level_prefix"]).strip()
    before, after = prompt.answer_prefix.split(SUBJECT)
    if not (prefix.startswith(before) and prefix.endswith(after)):
        raise CheckpointError(
            f"{folder / 'config.json'}: level_prefix is {prefix!r}, expected {prompt.answer_prefix!r}"
        )
    prompt = replace(prompt, subject=prefix[len(before) : -len(after)])
    words = [network.processor.decode([token]).strip() for token in values["level_ids"]]
    return prompt, RatingLevels.from_encoder(network.processor, prompt, words, weights)


def save_model(
    folder: Path,
    model: PreTrainedModel,
    processor: MPLUGOwl2Processor,
    prompt: Prompt,
    readout: RatingLevels,
    history: dict[str, Any] | None = None,
    state_dict: dict[str, torch.Tensor] | None = None,
    attributes: Sequence[str] = (),
) -> None:
    """Write one self-describing folder that `load_model`, `from_pretrained` and the published code take.

    Args:
        model: full model, without adapters.
        history: where the model comes from (run, stage, base), stored in the card.
        state_dict: the weights, where they are not in the model (ZeRO-3).
        attributes: that the model was trained to score, stored in the card.
    """
    model.config.level_ids = list(readout.token_ids)
    model.config.level_prefix = processor.sentencepiece.encode(prompt.rating_prefix())
    model.config.score_weight = list(readout.weights)
    model.save_pretrained(folder, state_dict=state_dict)
    processor.save_pretrained(folder)
    card = {
        "artquant": __version__,
        "prompt": prompt.to_dict(),
        "readout": readout.to_dict(),
        "attributes": list(attributes),
        "history": history or {},
    }
    write_json(Path(folder) / CARD, card)


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
    adapted.config.save_pretrained(folder)
    adapted.peft_config["default"].save_pretrained(str(folder))
    save_file({name: value.contiguous() for name, value in lora.items()}, folder / "adapter_model.safetensors")
    save_file(visual, folder / "non_lora_trainables.safetensors")

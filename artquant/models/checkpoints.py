"""Reading and writing model folders in every published form.

Forms:
    full: `config.json`, weights (safetensors or pickles, sharded or not), usually tokenizer and preprocessor. The base
        model, a full fine-tune, and what we save.
    adapter: `config.json`, `adapter_config.json`, `adapter_model.*` (LoRA) and `non_lora_trainables.*` (vision encoder
        and abstractor), to be put over a base.

Pickles are read with weights-only loading: nothing in a checkpoint is executed. A tensor that is missing or not known
is an error that names it. Adapters themselves are read in `artquant.models.adapters`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from artquant.files.json_files import read_json
from artquant.models.adapters import CheckpointError, attach_adapter, complain, is_adapter
from artquant.models.model_card import Card, adapter_chain
from artquant.models.mplug_owl2 import MPLUGOwl2Config, MPLUGOwl2LlamaForCausalLM, MPLUGOwl2Processor
from artquant.models.mplug_owl2.processing import TOKENIZER_MODEL
from artquant.models.quantize import Quantization, quantization_config
from artquant.readouts import Readout
from artquant.readouts.rating_levels import RatingLevels
from artquant.texts.prompt import SUBJECT, Prompt, get_prompt

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


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
    quantize: Quantization | None = None  # how its decoder is held


def load_network(
    folder: Path | str,
    base: Path | str | None = None,
    dtype: torch.dtype = torch.float32,
    attention: str = "sdpa",
    quantize: Quantization | None = None,
    allow_other_base: bool = False,
) -> Network:
    """Network and processor of a model folder; an adapter is merged into its base.

    Args:
        folder: full or adapter form.
        base: where the base weights (adapter form; default is what the card says, see `adapter_chain`) or the tokenizer
            and preprocessor (a full fine-tune saved without them) come from.
        dtype: data type to compute in, whatever the file's is.
        attention: "eager", "sdpa" or "flash_attention_2".
        quantize: "nf4" or "int8" for the decoder's linear layers; an adapter then stays beside them, unmerged.
        allow_other_base: put an adapter over a base that it was not trained over.

    Raises:
        CheckpointError: not a model folder, a file is missing or unreadable, a tensor is missing or unexpected.
    """
    folder = Path(folder)
    require_folder(folder)
    base = None if base is None else Path(base)
    if not is_adapter(folder):
        model = _load_full(folder, dtype, attention, quantize)
        return Network(model, _load_processor(folder, base, model.config))
    *adapters, whole = adapter_chain(folder, base, allow_other_base)
    if quantize is not None and len(adapters) > 1:
        raise CheckpointError(
            f"{folder}: lies over another LoRA run, so its base cannot be held in {quantize}; "
            f"merge it first (artquant merge {folder} --out DIR)"
        )
    require_folder(whole)
    model = _load_full(whole, dtype, attention, quantize)
    for adapter in reversed(adapters):
        require_folder(adapter)
        adapted = attach_adapter(model, adapter, trainable=False)
        model = adapted.get_base_model() if quantize else adapted.merge_and_unload()
    own = next((adapter for adapter in adapters if (adapter / TOKENIZER_MODEL).is_file()), whole)
    return Network(model, _load_processor(own, None, model.config))


def load_model(
    folder: Path | str,
    base: Path | str | None = None,
    dtype: torch.dtype = torch.float32,
    attention: str = "sdpa",
    prompt: str | None = None,
    weights: Iterable[float] | None = None,
    quantize: Quantization | None = None,
    allow_other_base: bool = False,
) -> LoadedModel:
    """A trained model, ready to score.

    Args:
        folder, base, dtype, attention, quantize, allow_other_base: see `load_network`.
        prompt: name of the prompt; default is the one stored with the model, for published models `published-score`.
        weights: the rating words' scores, best first; default are those stored with the model.

    Raises:
        CheckpointError: see `load_network`; or the folder does not say how its scores are read.
    """
    network = load_network(folder, base, dtype, attention, quantize, allow_other_base)
    card = Card.read(Path(folder)) or Card(*_published_scale(Path(folder), network, weights))
    readout = card.readout
    if weights is not None:
        readout = RatingLevels.from_dict(readout.to_dict() | {"weights": tuple(weights)})
    chosen = card.prompt if prompt is None else get_prompt(prompt, card.prompt.subject)
    return LoadedModel(network.model.eval(), network.processor, chosen, readout, card.attributes, quantize)


def require_folder(folder: Path) -> None:
    """Raise a CheckpointError unless this is the folder of a model that is known here."""
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


def _load_full(
    folder: Path, dtype: torch.dtype, attention: str, quantize: Quantization | None
) -> MPLUGOwl2LlamaForCausalLM:
    options = {} if quantize is None else {"quantization_config": quantization_config(quantize, dtype)}
    try:
        model, info = MPLUGOwl2LlamaForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=attention,
            output_loading_info=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # reported below, by name
            **options,
        )
    except Exception as error:  # every reader has errors of its own; all mean the folder cannot be used
        raise CheckpointError(f"{folder}: cannot be loaded: {' '.join(str(error).split())}") from error
    for kind, tensors in (
        ("is missing", info["missing_keys"]),
        ("is not known", info["unexpected_keys"]),
        ("has another shape", [mismatch[0] for mismatch in info["mismatched_keys"]]),
    ):
        complain(folder, kind, tensors)
    return model


def _load_processor(folder: Path, base: Path | None, config: MPLUGOwl2Config) -> MPLUGOwl2Processor:
    source = folder if (folder / TOKENIZER_MODEL).is_file() else base
    if source is None:
        raise CheckpointError(
            f"{folder}: holds no tokenizer.model; name the base model's folder, which has one (--base DIR)"
        )
    try:
        return MPLUGOwl2Processor.from_pretrained(source, config=config, local_files_only=True)
    except Exception as error:  # as above: whatever a reader raises, the folder cannot be used
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{source}: tokenizer or preprocessor cannot be read: {reason}") from error


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
    describe_scale(model.config, processor, prompt, readout)
    model.save_pretrained(folder, state_dict=state_dict)
    processor.save_pretrained(folder)
    Card(prompt, readout, tuple(attributes), history or {}).write(Path(folder))


def describe_scale(
    config: MPLUGOwl2Config, processor: MPLUGOwl2Processor, prompt: Prompt, readout: RatingLevels
) -> None:
    """Note in the network's configuration what the published code reads scores by."""
    config.level_ids = list(readout.token_ids)
    config.level_prefix = processor.sentencepiece.encode(prompt.rating_prefix())
    config.score_weight = list(readout.weights)


def trained_attributes(folder: Path) -> tuple[str, ...]:
    """The attributes that the model of a folder was trained to score; none where it has no card."""
    card = Card.read(Path(folder))
    return () if card is None else card.attributes

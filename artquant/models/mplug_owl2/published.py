"""What the published mPLUG-Owl2 code reads and writes: the rating scale in `config.json`, full and LoRA form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json, write_json
from artquant.files.unwritten import errors_named
from artquant.models.adapter_config import ADAPTER_CONFIG, changed_settings
from artquant.models.adapters import holds_whole, read_form
from artquant.models.family import CheckpointError, WeightsFormat
from artquant.models.model_card import CARD_MARK
from artquant.models.mplug_owl2.configuration import MPLUGOwl2Config
from artquant.models.mplug_owl2.processing import MPLUGOwl2Processor
from artquant.models.mplug_owl2.tokenization import TOKENIZER_MODEL
from artquant.models.no_bar import no_bar
from artquant.models.whole import write_shards
from artquant.readouts import Readout, published_readout
from artquant.texts.prompt import SUBJECT, Prompt, get_prompt

# What the published adapter configurations hold; current releases of peft write more, which older ones need not know.
_ADAPTER_KEYS = (
    *("auto_mapping", "base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights"),
    *("layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "modules_to_save", "peft_type", "r"),
    *("revision", "target_modules", "task_type"),
)
# What our configurations may hold beside the published fields: where the base lay, how it was held in training, and
# that a card of ours lies beside them.
_OURS = ("_name_or_path", "quantization_config", CARD_MARK)
ROC4MLLM = get_prompt("roc4mllm", "image")  # with which its models are trained and asked; no file says so
_READ_BY = (
    *("level_ids", "level_prefix", "score_weight", "score_id", "output_first_id", "output_last_id", "img_token_num"),
    *("num_tokens", "min_score", "max_score", "l1_weight", "ce_weight", "emd_weight"),
)
_SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


def read_scale(folder: Path, processor: MPLUGOwl2Processor, scores: Sequence[float] | None) -> tuple[Prompt, Readout]:
    """Prompt and readout of a published checkpoint, from its `config.json`.

    Args:
        scores: of its rating words, instead of those that it names.

    Raises:
        CheckpointError: it does not say how scores are read.
    """
    file = folder / "config.json"
    values = read_json(file)
    try:
        readout = published_readout(values, lambda token: processor.decode([token]).strip(), scores)
    except ArtQuantError as error:
        raise CheckpointError(f"{file}: {error}") from error
    if readout is None:
        raise CheckpointError(f"{file}: has no level_ids and no score_id, so it does not say how scores are read")
    if readout.new_words:
        processor.add_words(readout.new_words)  # as they are, with the white space that they swallow
        try:
            return ROC4MLLM, readout.bound(processor, ROC4MLLM)
        except ArtQuantError as error:
            raise CheckpointError(f"{folder}: {error}") from error
    if not values.get("level_prefix"):
        raise CheckpointError(f"{file}: has no level_prefix, so it does not say how scores are read")
    prompt = get_prompt("published-score")
    prefix = processor.decode(values["level_prefix"]).strip()
    before, after = prompt.answer_prefix.split(SUBJECT)
    if not (prefix.startswith(before) and prefix.endswith(after)):
        raise CheckpointError(f"{file}: level_prefix is {prefix!r}, expected {prompt.answer_prefix!r}")
    prompt = replace(prompt, subject=prefix[len(before) : -len(after)])
    return prompt, readout.bound(processor, prompt)


def note_scale(config: MPLUGOwl2Config, processor: MPLUGOwl2Processor, prompt: Prompt, readout: Readout) -> None:
    """Note in the network's configuration what the published code reads scores by, where it knows the readout."""
    for name in _READ_BY:  # a base may have been read otherwise
        config.__dict__.pop(name, None)
    known = {name: value for name, value in (readout.published() or {}).items() if name in _READ_BY}
    if not known:
        return
    for name, value in known.items():
        setattr(config, name, value)
    if not readout.new_words:
        config.level_prefix = processor.tokenizer.sp_model.encode(prompt.rating_prefix())


def write_full(
    model: PreTrainedModel,
    processor: MPLUGOwl2Processor,
    prompt: Prompt,
    out: Path,
    dtype: torch.dtype,
    weights_format: WeightsFormat,
) -> None:
    """The published full form: weights, configuration, tokenizer, preprocessor; no card of ours."""
    model.config.dtype = dtype
    if weights_format == "safetensors":
        with no_bar():
            model.save_pretrained(out)
    else:
        model.to(dtype)  # type: ignore[arg-type]  # transformers' wrapper hides what is bound
        write_shards(model.state_dict(), out, weights_format)
        model.config.architectures = [type(model).__name__]
        model.generation_config.save_pretrained(out)
        model.config.save_pretrained(out)
    _publish_config(out / "config.json", out)
    _write_processor(processor, out)


def write_roc4mllm(
    model: PreTrainedModel,
    processor: MPLUGOwl2Processor,
    prompt: Prompt,
    out: Path,
    dtype: torch.dtype,
    weights_format: WeightsFormat,
) -> None:
    """ROC4MLLM's form: the full one with added words, whose code takes the last rows of the vocabulary for scores."""
    model.resize_token_embeddings(processor.vocabulary_size)
    write_full(model, processor, prompt, out, dtype, weights_format)
    write_json(out / "added_tokens.json", processor.tokenizer.added_words)


def write_lora(source: Path, out: Path, dtype: torch.dtype | None, weights_format: WeightsFormat) -> None:
    """The published LoRA form of a LoRA run. dtype: of the tensors; None: as they are stored."""
    unsaid = sorted(changed_settings(source) - set(_ADAPTER_KEYS) | changed_settings(source) & {"init_lora_weights"})
    if unsaid:
        raise CheckpointError(
            f"{source / ADAPTER_CONFIG}: {unsaid[0]} acts otherwise in the published code; export it as merged or full"
        )
    for stem in ("adapter_model", "non_lora_trainables"):
        if stem == "non_lora_trainables" and not holds_whole(source):
            continue
        tensors = read_form(source, stem)[1]
        if dtype is not None:
            tensors = {name: value.to(dtype) for name, value in tensors.items()}
        if weights_format == "bin":
            with errors_named(out / f"{stem}.bin", RuntimeError):
                torch.save(tensors, out / f"{stem}.bin")
        else:
            save_file(tensors, out / f"{stem}.safetensors")
    _publish_config(source / "config.json", out)
    stored = read_json(source / ADAPTER_CONFIG)
    published = {key: stored.get(key) for key in _ADAPTER_KEYS}
    write_json(out / ADAPTER_CONFIG, published | {"base_model_name_or_path": "", "inference_mode": True})


def _publish_config(file: Path, out: Path) -> None:
    """A network's configuration for the published code: without what says how and where we loaded it."""
    values = read_json(file)
    kept = {key: value for key, value in values.items() if key not in _OURS}
    write_json(out / "config.json", kept | {"use_cache": True})


def _write_processor(processor: MPLUGOwl2Processor, out: Path) -> None:
    """Tokenizer and preprocessor as the base model is published with; current releases write them otherwise.

    Without a word on `legacy`, the published code's release of transformers would take its older rules.
    """
    tokenizer, images = processor.tokenizer, processor.image_processor
    (out / TOKENIZER_MODEL).write_bytes(processor.tokenizer.sp_model.serialized_model_proto())
    tokens = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if name in _SPECIAL_TOKENS}
    write_json(out / "special_tokens_map.json", tokens)
    write_json(
        out / "tokenizer_config.json",
        tokens
        | {
            "add_bos_token": True,
            "add_eos_token": False,
            "clean_up_tokenization_spaces": False,
            "legacy": False,
            "model_max_length": tokenizer.model_max_length,
            "padding_side": "right",
            "sp_model_kwargs": {},
            "tokenizer_class": "LlamaTokenizer",
        },
    )
    views = {} if images.view_sizes is None else {"view_sizes": images.view_sizes}
    write_json(
        out / "preprocessor_config.json",
        {
            "crop_size": images.side,
            "do_center_crop": True,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_mean": images.image_mean,
            "image_std": images.image_std,
            "resample": images.resample,
            "size": images.side,
            **views,
        },
    )

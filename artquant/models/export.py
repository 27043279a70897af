"""A trained model in another form: one merged model of ours, or the forms that the published code reads."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file

from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json, write_json
from artquant.models.adapters import ADAPTER_CONFIG, is_adapter, read_tensors
from artquant.models.checkpoints import LoadedModel, describe_scale, load_model, require_folder
from artquant.models.model_card import Card
from artquant.models.mplug_owl2 import MPLUGOwl2Processor
from artquant.models.mplug_owl2.processing import TOKENIZER_MODEL

Form = Literal["merged", "lora", "full"]
WeightsFormat = Literal["safetensors", "bin"]
FORMS = ("merged", "lora", "full")
_SHARD = "5GB"  # largest weights file
# What the published adapter configurations hold; current releases of peft write more, which older ones need not know.
_PUBLISHED_ADAPTER_KEYS = (
    *("auto_mapping", "base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights"),
    *("layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "modules_to_save", "peft_type", "r"),
    *("revision", "target_modules", "task_type"),
)
# What our configurations hold beside the published fields: where the base lay, and how it was held in training.
_OURS = ("_name_or_path", "quantization_config")
_SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True)
class WrittenFile:
    """A file of an export, with its size in bytes."""

    name: str
    size: int


def export_model(
    source: Path,
    form: Form,
    out: Path,
    base: Path | None = None,
    dtype: torch.dtype | None = None,
    weights_format: WeightsFormat | None = None,
    allow_other_base: bool = False,
) -> list[WrittenFile]:
    """Write a model folder in another form; it appears at once, when everything is in it.

    Args:
        source: a model folder, full or adapter form.
        form: "merged": one self-describing model of ours, an adapter merged into its base in float32. "full": the same
            weights in the published full form, without our card. "lora": the published LoRA form.
        out: folder to make.
        base, allow_other_base: see `artquant.models.checkpoints.load_network`.
        dtype: of the weights; default is float32 for whole models, and what is stored for LoRA.
        weights_format: default is what the form is published in: safetensors for merged, bin for the others.

    Raises:
        ArtQuantError: `out` is there already, the model cannot be read, or is no LoRA run and LoRA was asked for.
    """
    if out.exists():
        raise ArtQuantError(f"{out}: is there already; name a new folder")
    require_folder(source)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        if form == "lora":
            _write_lora(source, partial, dtype, weights_format or "bin")
        else:
            # Merged in float32, whatever is written: rounding comes last.
            loaded = load_model(source, base, allow_other_base=allow_other_base)
            default = "safetensors" if form == "merged" else "bin"
            _write_whole(loaded, source, partial, form, dtype or torch.float32, weights_format or default)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    files = sorted(file for file in out.rglob("*") if file.is_file())
    return [WrittenFile(str(file.relative_to(out)), file.stat().st_size) for file in files]


def _write_whole(
    loaded: LoadedModel, source: Path, out: Path, form: Form, dtype: torch.dtype, weights_format: WeightsFormat
) -> None:
    model = loaded.model.to(dtype)
    model.config.dtype = dtype
    if weights_format == "safetensors":
        model.save_pretrained(out)
    else:
        _write_pickles(model.state_dict(), out)
        model.config.architectures = [type(model).__name__]
        model.generation_config.save_pretrained(out)
    describe_scale(model.config, loaded.processor, loaded.prompt, loaded.readout)
    model.config.save_pretrained(out)
    if form == "full":
        _publish_config(out / "config.json", out)
        _write_published_processor(loaded.processor, out)
        return
    card = Card.read(source)
    history = {"exported_from": str(source)} | ({} if card is None else card.history)
    loaded.processor.save_pretrained(out)
    Card(loaded.prompt, loaded.readout, loaded.attributes, history).write(out)


def _publish_config(file: Path, out: Path) -> None:
    """A network's configuration for the published code: without what says how and where we loaded it."""
    values = read_json(file)
    kept = {key: value for key, value in values.items() if key not in _OURS}
    write_json(out / "config.json", kept | {"use_cache": True})


def _write_published_processor(processor: MPLUGOwl2Processor, out: Path) -> None:
    """Tokenizer and preprocessor as the base model is published with; current releases write them otherwise.

    Without a word on `legacy`, the published code's release of transformers would take its older rules.
    """
    tokenizer, images = processor.tokenizer, processor.image_processor
    (out / TOKENIZER_MODEL).write_bytes(processor.sentencepiece.serialized_model_proto())
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
            "crop_size": images.crop_size,
            "do_center_crop": True,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_mean": images.image_mean,
            "image_std": images.image_std,
            "resample": images.resample,
            "size": images.size,
            **views,
        },
    )


def _write_pickles(tensors: dict[str, torch.Tensor], out: Path) -> None:
    """Weights as the base model is published: pickled shards with an index."""
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    split = split_torch_state_dict_into_shards(
        tensors, filename_pattern="pytorch_model{suffix}.bin", max_shard_size=_SHARD
    )
    for name, keys in split.filename_to_tensors.items():
        torch.save({key: tensors[key] for key in keys}, out / name)
    if split.is_sharded:
        write_json(
            out / "pytorch_model.bin.index.json", {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        )


def _write_lora(source: Path, out: Path, dtype: torch.dtype | None, weights_format: WeightsFormat) -> None:
    if not is_adapter(source):
        raise ArtQuantError(f"{source}: is a whole model, not a LoRA run; export it as merged or full")
    card = Card.read(source)
    if card is not None and card.base is not None and (card.base.base is not None or is_adapter(card.base.folder)):
        raise ArtQuantError(
            f"{source}: lies over another LoRA run, which the published form cannot say; export it as merged or full"
        )
    for stem in ("adapter_model", "non_lora_trainables"):
        if stem == "non_lora_trainables" and not any(source.glob(f"{stem}.*")):
            continue
        tensors = read_tensors(source, stem)[1]
        if dtype is not None:
            tensors = {name: value.to(dtype) for name, value in tensors.items()}
        if weights_format == "bin":
            torch.save(tensors, out / f"{stem}.bin")
        else:
            save_file(tensors, out / f"{stem}.safetensors")
    _publish_config(source / "config.json", out)
    stored = json.loads((source / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    published = {key: stored.get(key) for key in _PUBLISHED_ADAPTER_KEYS}
    write_json(out / ADAPTER_CONFIG, published | {"base_model_name_or_path": "", "inference_mode": True})

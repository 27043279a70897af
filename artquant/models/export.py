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
from artquant.jsonio import read_json, write_json
from artquant.models.adapters import ADAPTER_CONFIG, is_adapter, read_tensors
from artquant.models.card import CARD, Card
from artquant.models.checkpoints import LoadedModel, load_model, require_folder, save_model

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
    history = {"exported_from": str(source)}
    card = source / CARD
    if card.is_file():
        history |= read_json(card)["history"]
    model = loaded.model.to(dtype)
    model.config.dtype = dtype
    save_model(out, model, loaded.processor, loaded.prompt, loaded.readout, history, attributes=loaded.attributes)
    if weights_format == "bin":
        for file in (*out.glob("*.safetensors"), *out.glob("*.safetensors.index.json")):
            file.unlink()
        _write_pickles(model.state_dict(), out)
    if form == "full":
        (out / CARD).unlink()


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
    shutil.copy(source / "config.json", out / "config.json")
    stored = json.loads((source / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    published = {key: stored.get(key) for key in _PUBLISHED_ADAPTER_KEYS}
    write_json(out / ADAPTER_CONFIG, published | {"inference_mode": True})

"""Weights of a folder that holds all of them: read by transformers' own loader, errors by name; written in shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from transformers import PreTrainedModel

from artquant.config.schema import Loading
from artquant.errors import ArtQuantError, one_line
from artquant.files.json_files import read_json, write_json
from artquant.files.unwritten import errors_named
from artquant.models.family import CheckpointError, WeightsFormat
from artquant.models.quantize import quantization_config
from artquant.models.tensors import (
    complain,
    complain_empty,
    is_compiled,
    read_tensors,
    require_numbers,
    stored_dtypes,
)

SHARD = "5GB"  # largest weights file
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_whole(
    loader: Any,
    folder: Path,
    loading: Loading,
    untouched: Sequence[str],
    tensors: Mapping[str, torch.Tensor] | None = None,
    **options: Any,
) -> PreTrainedModel:
    """A network with a folder's weights; nothing in the folder is executed.

    Args:
        loader: a class with transformers' `from_pretrained`.
        untouched: modules that keep their number format where others are quantised.
        tensors: the weights, where they were read already; `options` then hold the configuration.

    Raises:
        CheckpointError: a file is missing or unreadable, a tensor is missing, unexpected or of another shape.
    """
    dtype = DTYPES[loading.dtype]
    quantized = {}
    if loading.narrow_weights is not None:
        quantized["quantization_config"] = quantization_config(loading.narrow_weights, dtype, untouched)
    try:
        network, info = loader.from_pretrained(
            folder if tensors is None else None,
            state_dict=tensors,
            dtype=dtype,
            attn_implementation=loading.attention,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
            ignore_mismatched_sizes=True,  # reported below, by name
            **quantized,
            **options,
        )
    except Exception as error:  # every reader has errors of its own; all mean the folder cannot be used
        if tensors is None and any(folder.glob("pytorch_model*.bin")):
            read_shards(folder)  # which says in our words what is wrong with a pickle
        raise CheckpointError(f"{folder}: cannot be loaded: {one_line(error)}") from error
    if tensors is None and any(is_compiled(name) for name in info["unexpected_keys"]):
        # transformers' own renaming would come back when the network is saved
        options.setdefault("config", network.config)
        return load_whole(loader, folder, loading, untouched, read_shards(folder), **options)
    buffers = {name.rsplit(".", 1)[-1] for name, _ in network.named_buffers()} | {"position_ids"}
    for file in weights_files(folder):
        require_numbers(file, stored_dtypes(file), buffers)
    complain_empty(folder, [name for name, shape, _ in info["mismatched_keys"] if 0 in shape])
    complain(folder, "is missing", info["missing_keys"])
    complain(folder, "is not known", info["unexpected_keys"])
    complain(folder, "has another shape", [mismatch[0] for mismatch in info["mismatched_keys"]])
    return network


def read_shards(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder's weights, by the names that stand there; pickles are read weights-only.

    Raises:
        CheckpointError: no weights, a shard that is missing or cannot be read.
    """
    tensors: dict[str, torch.Tensor] = {}
    for file in weights_files(folder):
        tensors |= read_tensors(file.parent, file.stem)[1]
    return tensors


def weights_files(folder: Path) -> list[Path]:
    """The files of a folder's weights, there or not.

    Raises:
        CheckpointError: there are none, or an index that does not name them.
    """
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        index, single = folder / f"{stem}.{suffix}.index.json", folder / f"{stem}.{suffix}"
        if index.is_file():
            try:
                return [folder / name for name in sorted(set(read_json(index)["weight_map"].values()))]
            except ArtQuantError as error:
                raise CheckpointError(str(error)) from error
            except (KeyError, TypeError, AttributeError) as error:
                raise CheckpointError(f"{index}: does not say which file holds which tensor; copy it again") from error
        if single.is_file():
            return [single]
    raise CheckpointError(f"{folder}: holds no weights (model.safetensors, pytorch_model.bin or their indexes)")


def write_shards(tensors: Mapping[str, torch.Tensor], folder: Path, weights_format: WeightsFormat) -> None:
    """Weights as `read_shards` finds them: one file, or shards with an index. No two may share their memory."""
    safe = weights_format == "safetensors"
    pattern = "model{suffix}.safetensors" if safe else "pytorch_model{suffix}.bin"
    whole = {name: value.contiguous() for name, value in tensors.items()}
    split = split_torch_state_dict_into_shards(whole, filename_pattern=pattern, max_shard_size=SHARD)
    for name, keys in split.filename_to_tensors.items():
        shard = {key: whole[key] for key in keys}
        if safe:
            save_file(shard, folder / name, metadata={"format": "pt"})  # older releases of transformers ask for it
        else:
            with errors_named(folder / name, RuntimeError):
                torch.save(shard, folder / name)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        write_json(folder / f"{pattern.format(suffix='')}.index.json", index)

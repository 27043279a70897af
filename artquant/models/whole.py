"""Reading the weights of a folder that holds all of them, with transformers' own loader and errors by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from artquant.config.schema import Loading
from artquant.errors import one_line
from artquant.models.adapters import complain
from artquant.models.family import CheckpointError
from artquant.models.quantize import quantization_config

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_whole(
    loader: Any, folder: Path, loading: Loading, untouched: Sequence[str], **options: Any
) -> PreTrainedModel:
    """A network with a folder's weights; nothing in the folder is executed.

    Args:
        loader: a class with transformers' `from_pretrained`.
        untouched: modules that keep their number format where others are quantised.

    Raises:
        CheckpointError: a file is missing or unreadable, a tensor is missing, unexpected or of another shape.
    """
    dtype = DTYPES[loading.dtype]
    if loading.quantize is not None:
        options["quantization_config"] = quantization_config(loading.quantize, dtype, untouched)
    try:
        network, info = loader.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=loading.attention,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
            ignore_mismatched_sizes=True,  # reported below, by name
            **options,
        )
    except Exception as error:  # every reader has errors of its own; all mean the folder cannot be used
        raise CheckpointError(f"{folder}: cannot be loaded: {one_line(error)}") from error
    complain(folder, "is missing", info["missing_keys"])
    complain(folder, "is not known", info["unexpected_keys"])
    complain(folder, "has another shape", [mismatch[0] for mismatch in info["mismatched_keys"]])
    return network

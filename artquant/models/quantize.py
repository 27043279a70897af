"""Base weights in 4 or 8 bits: the decoder's linear layers; the other parts stay whole.

QLoRA (Dettmers et al., NeurIPS 2023): a frozen base in 4-bit NormalFloat with adapters trained over it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Literal

import torch
from transformers import BitsAndBytesConfig

from artquant.errors import ArtQuantError

Quantization = Literal["nf4", "int8"]


def quantization_config(kind: Quantization, dtype: torch.dtype, untouched: Sequence[str]) -> BitsAndBytesConfig:
    """The library's configuration: `nf4` (with its constants quantised too, computing in `dtype`) or `int8`.

    Args:
        untouched: names of modules that keep their number format.

    Raises:
        ArtQuantError: bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ArtQuantError(f"quantize: {kind} needs bitsandbytes; pip install artquant[quant]")
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(untouched))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=True,
        llm_int8_skip_modules=list(untouched),
    )

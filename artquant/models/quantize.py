"""Base weights in 4 or 8 bits: the decoder's linear layers; vision encoder, abstractor and output head stay whole.

QLoRA (Dettmers et al., NeurIPS 2023): a frozen base in 4-bit NormalFloat with adapters trained over it.
"""

from __future__ import annotations

import importlib.util
from typing import Literal

import torch
from transformers import BitsAndBytesConfig

from artquant.errors import ArtQuantError

Quantization = Literal["nf4", "int8"]
# Modules that keep their number format.
UNTOUCHED = ("lm_head", "model.vision_model", "model.visual_abstractor")


def quantization_config(kind: Quantization, dtype: torch.dtype) -> BitsAndBytesConfig:
    """The library's configuration: `nf4` (with its constants quantised too, computing in `dtype`) or `int8`.

    Raises:
        ArtQuantError: bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ArtQuantError(f"quantize: {kind} needs bitsandbytes; pip install artquant[quant]")
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(UNTOUCHED))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=True,
        llm_int8_skip_modules=list(UNTOUCHED),
    )

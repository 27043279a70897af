"""A network of transformers' InternVL classes as its authors' own class has it: ArtiMuse's and UniPercept's folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import InternVLConfig, PreTrainedModel

from artquant.errors import ArtQuantError, one_line
from artquant.files.json_files import write_json
from artquant.models.auto.processing import AutoChatProcessor
from artquant.models.family import Row, WeightsFormat
from artquant.models.internvl.configuration import published_config
from artquant.models.internvl.naming import published_names
from artquant.models.internvl.processing import published_processor, write_tokenizer
from artquant.models.whole import write_shards
from artquant.texts.prompt import Exchange, Prompt

_LEVEL = 0.02  # one of a colour's 256 levels, normalised: what ways of resizing differ by


def write_published(
    model: PreTrainedModel,
    processor: AutoChatProcessor,
    prompt: Prompt,
    out: Path,
    dtype: torch.dtype,
    weights_format: WeightsFormat,
) -> None:
    """The published form: configuration with the system text, tokenizer, weights; no card of ours and no code.

    Raises:
        ArtQuantError: the published class cannot compute this network, or would ask it or show it pictures otherwise.
    """
    config: Any = model.config
    values = published_config(config, prompt.system)
    write_json(out / "config.json", values | {"torch_dtype": str(dtype).removeprefix("torch.")})
    write_tokenizer(processor.tokenizer, out)
    _require_same(out, config, processor, prompt)
    tensors = model.state_dict()
    if config.tie_word_embeddings:
        tensors["lm_head.weight"] = tensors["lm_head.weight"].clone()  # weights files hold no shared memory
    write_shards(published_names(tensors), out, weights_format)


def _require_same(folder: Path, config: InternVLConfig, processor: AutoChatProcessor, prompt: Prompt) -> None:
    """Read a written processor back, and refuse what it makes of questions and a picture otherwise."""
    try:
        again = published_processor(folder, config)
    except Exception as error:  # every reader has errors of its own; all mean that it was another kind
        raise ArtQuantError(f"its tokenizer has no published form: {one_line(error)}") from error
    scoring = prompt.scoring()
    asked = (scoring, prompt.describing(), *(prompt.analysing().values() if prompt.aspects else ()))
    words = again.tokenizer.get_vocab()
    if words != processor.tokenizer.get_vocab() or any(_row(again, one) != _row(processor, one) for one in asked):
        raise ArtQuantError("the published code would write its questions in other tokens than it was trained with")
    # Wider than high, so that tiles would show; noise, so that another filter would.
    noise = np.random.default_rng(0).integers(0, 256, (200, 400, 3), dtype=np.uint8)
    wanted, found = (one.inputs([_row(one, scoring)], [Image.fromarray(noise)]) for one in (processor, again))
    if wanted.keys() != found.keys() or not all(
        value.shape == found[name].shape and torch.allclose(value, found[name], rtol=0, atol=_LEVEL)
        for name, value in wanted.items()
    ):
        raise ArtQuantError("the published code prepares pictures otherwise: one square tile, ImageNet's mean and std")


def _row(processor: AutoChatProcessor, exchange: Exchange) -> Row:
    text = processor.conversation(exchange)
    return Row(text, tuple(processor.tokenize(text)))

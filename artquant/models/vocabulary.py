"""Words that a readout adds to the vocabulary: their tokens and their rows in a network."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from artquant.models.family import Processor


@torch.no_grad()
def add_new_words(network: PreTrainedModel, processor: Processor, words: Sequence[str]) -> None:
    """Make words tokens of the processor and give them rows in the network: the mean over the rows before them.

    Words that are tokens already keep their rows, unless the network has none for them (its base was not trained with
    them). A token table with room to spare is not enlarged.
    """
    known = {word for word in words if processor.word_id(word) is not None}
    processor.add_words([word for word in words if word not in known])
    ids = [processor.word_id(word) for word in words]
    rows = network.get_input_embeddings().num_embeddings
    new = [number for word, number in zip(words, ids, strict=True) if word not in known or number >= rows]
    if not new:
        return
    if processor.vocabulary_size > rows:
        network.resize_token_embeddings(processor.vocabulary_size, mean_resizing=False)
    first = min(new)
    for module in (network.get_input_embeddings(), network.get_output_embeddings()):
        with _whole(module.weight):
            module.weight[new] = module.weight[:first].mean(0)


def _whole(parameter: torch.nn.Parameter) -> Any:
    """Under ZeRO-3 a parameter is cut up; changed on every rank alike, it is cut up again afterwards."""
    if not is_deepspeed_zero3_enabled():
        return nullcontext()
    from deepspeed import zero

    return zero.GatheredParameters([parameter], modifier_rank=0)


def new_rows(network: PreTrainedModel, processor: Processor, words: Sequence[str]) -> dict[str, list[int]]:
    """The words' rows by the names of the token table and the output head, as peft takes them; empty without words."""
    if not words:
        return {}
    names = {module: name for name, module in network.named_modules()}
    ids = [number for word in words if (number := processor.word_id(word)) is not None]
    return {names[module]: ids for module in (network.get_input_embeddings(), network.get_output_embeddings())}

"""Words that a readout adds to the vocabulary: their tokens and their rows in a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel

from artquant.models.family import Processor
from artquant.models.zero3 import gathered


@torch.no_grad()
def add_new_words(network: PreTrainedModel, processor: Processor, words: Sequence[str]) -> bool:
    """Make words tokens of the processor and give them rows in the network: the mean over the rows before them.

    Returns whether rows were made.

    Words that are tokens already keep their rows, unless the network has none for them (its base was not trained with
    them). A token table with room to spare is not enlarged.
    """
    known = {word for word in words if processor.word_id(word) is not None}
    processor.add_words(words)  # also those that are there, which may leave the blank before them to itself
    rows = token_rows(network)
    ids = zip(words, _ids(processor, words), strict=True)
    new = [number for word, number in ids if word not in known or number >= rows]
    if not new:
        return False
    if processor.vocabulary_size > rows:
        network.resize_token_embeddings(processor.vocabulary_size, mean_resizing=False)
    first = min(new)
    for module in (network.get_input_embeddings(), network.get_output_embeddings()):
        weight = module.get_parameter("weight")
        with gathered([weight], changed=True):
            weight[new] = weight[:first].mean(0)
    return True


def token_rows(network: PreTrainedModel) -> int:
    """Rows of the token table."""
    return cast(nn.Embedding, network.get_input_embeddings()).num_embeddings


def new_rows(network: PreTrainedModel, processor: Processor, words: Sequence[str]) -> dict[str, list[int]]:
    """The words' rows in `trained_rows`' form."""
    return trained_rows(network, _ids(processor, words))


def trained_rows(network: PreTrainedModel, ids: Sequence[int]) -> dict[str, list[int]]:
    """Rows by the names of the token table and the output head, as peft takes them; empty without rows."""
    names = {module: name for name, module in network.named_modules()}
    tables = (network.get_input_embeddings(), network.get_output_embeddings())
    return {names[table]: list(ids) for table in tables} if ids else {}


def _ids(processor: Processor, words: Sequence[str]) -> list[int]:
    return [number for word in words if (number := processor.word_id(word)) is not None]

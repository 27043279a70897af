"""Prompts about pictures as a network's inputs, each position read once.

What stands before the picture is the same for every picture: its keys and values are computed once and kept. Prompts
that share their beginning with the picture in it are read in one pass (`artquant.batches.packed`).

Shape legend: B pictures, N prompts, T positions.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import Cache

from artquant.batches.packed import MASKING_ATTENTIONS, PackedPrompts, shared_length
from artquant.models.family import NetworkInputs, Row
from artquant.models.fast_attention import PRODUCTS
from artquant.models.weights import LoadedModel


@dataclass(frozen=True)
class Asked:
    """What one forward pass takes.

    inputs: on the device. ends: [B, N] positions in them whose predictions are wanted. begun: keys and values of what
    stands before them.
    """

    inputs: NetworkInputs
    ends: torch.Tensor
    begun: Cache | None = None


class Asking:
    """Makes them for one model. plain: nothing is kept from one picture for the next."""

    def __init__(self, loaded: LoadedModel, device: torch.device, plain: bool):
        self._loaded, self._device = loaded, device
        # Families that pack count positions from one end to the other, whatever stands there.
        self._keeps = loaded.family.packs and not plain
        self._packed: dict[tuple[tuple[Row, ...], int], PackedPrompts] = {}
        self._begun: dict[tuple[int, ...], Cache] = {}

    def ask(self, rows: Sequence[Row], pictures: Sequence[Any]) -> list[Asked]:
        """All prompts about each picture in one pass (N ends) where family and attention allow it, else one each."""
        inputs = self._loaded.processor.inputs
        first = inputs([rows[0]] * len(pictures), pictures)
        packed = self._pack(rows, first) if len(rows) > 1 else None
        if packed is not None:
            together = self._packed_inputs(packed, first)
            return [self.begin(rows[0], together, packed.last.expand(len(pictures), -1))]
        each = [first, *(inputs([row] * len(pictures), pictures) for row in rows[1:])]
        return [self.begin(row, one, one.ends()[:, None] - 1) for row, one in zip(rows, each, strict=True)]

    def begin(self, row: Row, inputs: NetworkInputs, ends: torch.Tensor) -> Asked:
        """Inputs that all begin with a row's beginning, less what stands before the picture."""
        processor, ids = self._loaded.processor, inputs["input_ids"]
        before = row.token_ids[: row.token_ids.index(processor.image_token_id)] if self._keeps else ()
        count = len(before)
        if count == 0 or not bool((ids[:, :count].cpu() == torch.tensor(before)).all()):
            return Asked(inputs.to(self._device), ends)
        own = {name: value[:, count:] if value.shape == ids.shape else value for name, value in inputs.items()}
        mask = inputs["attention_mask"]
        own["attention_mask"] = mask if mask.ndim == 2 else mask[:, :, count:]  # seen is what was begun, too
        return Asked(NetworkInputs(own).to(self._device), ends - count, self._beginning(before, len(ids)))

    def _beginning(self, before: tuple[int, ...], rows: int) -> Cache:
        """Keys and values of a beginning, for so many rows."""
        if before not in self._begun:
            ids = torch.tensor([before], device=self._device)
            with torch.no_grad():
                outputs = self._loaded.network.plain.base_model(
                    input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True
                )
            self._begun[before] = outputs.past_key_values
        begun = copy.deepcopy(self._begun[before])  # a forward pass puts its own behind them
        begun.batch_repeat_interleave(rows)
        return begun

    def _pack(self, rows: Sequence[Row], first: NetworkInputs) -> PackedPrompts | None:
        """Rows as one, given the inputs of the first; None: they must be read one by one."""
        plain = self._loaded.network.plain
        alike = bool(first["attention_mask"].all())  # the pictures take as many positions each
        masks = plain.config._attn_implementation in (*MASKING_ATTENTIONS, PRODUCTS)
        if not (self._loaded.family.packs and alike and masks):
            return None
        key = tuple(rows), first["input_ids"].shape[1]
        if key not in self._packed:
            shared = shared_length([row.token_ids for row in rows])
            own, ids = len(rows[0].token_ids) - shared, first["input_ids"][0].tolist()
            if tuple(ids[-own:]) != rows[0].token_ids[shared:]:
                return None  # the picture is not in what they share
            self._packed[key] = PackedPrompts.from_prompts([[*ids[:-own], *row.token_ids[shared:]] for row in rows])
        return self._packed[key]

    def _packed_inputs(self, packed: PackedPrompts, first: NetworkInputs) -> NetworkInputs:
        """One row a picture that holds the endings of all prompts."""
        rows, width = first["input_ids"].shape
        # What is said of positions is said of what all prompts share.
        more = len(packed.input_ids) - width
        places = {name: pad(value, (0, more)) for name, value in first.items() if value.shape == (rows, width)}
        inputs = packed.inputs(rows, self._loaded.network.plain.dtype, self._device)
        return NetworkInputs(first.tensors | places | inputs)

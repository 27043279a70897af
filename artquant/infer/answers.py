"""What a model says of pictures, with the scores that it says in their places (ROC4MLLM, section 3).

The text goes on behind a score's word, whatever the score is; so it is generated first, and all of its scores are read
in one pass afterwards, where the words that stand for them were predicted.

Shape legend: B pictures, T positions of the prompt, L tokens said.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch.nn.functional import pad

from artquant.batches.packed import shared_length
from artquant.data.predictions import Prediction
from artquant.errors import ArtQuantError
from artquant.infer.asked import Asked
from artquant.models.family import NetworkInputs, Processor, Row
from artquant.models.no_bar import no_bar
from artquant.models.weights import LoadedModel
from artquant.readouts import Readout
from artquant.texts.prompt import Prompt

DECIMALS = 4  # of the scores in a text, as published


class Speaker(Protocol):
    """What a model's words are read with."""

    @property
    def processor(self) -> Processor:
        """Its own."""

    @property
    def prompt(self) -> Prompt:
        """As it is asked."""

    @property
    def readout(self) -> Readout:
        """As its scores are read."""


@dataclass(frozen=True)
class Answer:
    """A generated text, numbers in the places of its scores.

    scores: all of them, in order. names: what each is of, by what stands before it ("composition").
    """

    text: str
    scores: tuple[Prediction, ...] = ()
    names: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain values; score and std are the first's, None where the text holds none."""
        first = self.scores[0] if self.scores else None
        values = {"score": first.score, "std": first.std} if first is not None else {"score": None, "std": None}
        return values | {"scores": [one.score for one in self.scores], "names": list(self.names), "text": self.text}


@torch.inference_mode()
def generate(
    loaded: LoadedModel,
    device: torch.device,
    rows: Sequence[Row],
    pictures: Sequence[Any],
    max_new_tokens: int,
    **watched: Any,
) -> tuple[NetworkInputs, torch.Tensor]:
    """The likeliest answers to a prompt about each prepared picture: inputs [B, T], ids [B, L] (filled up).

    watched: transformers' `streamer` and `stopping_criteria`.
    """
    inputs = loaded.processor.inputs(rows, pictures, padding_side="left").to(device, loaded.network.plain.dtype)
    generated = _said(loaded, max_new_tokens, **inputs, **watched)
    return inputs, generated[:, inputs["input_ids"].shape[1] :]


@torch.inference_mode()
def generate_each(
    loaded: LoadedModel, device: torch.device, rows: Sequence[Row], pictures: Sequence[Any], max_new_tokens: int
) -> list[list[list[int]]]:
    """The likeliest answers to N prompts about each of B prepared pictures: ids of each, N by picture."""
    return [generate(loaded, device, rows, [one] * len(rows), max_new_tokens)[1].tolist() for one in pictures]


@dataclass(frozen=True)
class Begun:
    """What several prompts begin with, the picture in it, read once for each of B pictures.

    inputs: ids, mask and positions [B, T], padded on the left. cache: their keys and values. shared: tokens of a row.
    """

    inputs: NetworkInputs
    cache: Any
    shared: int

    @classmethod
    @torch.inference_mode()
    def read(
        cls, loaded: LoadedModel, device: torch.device, rows: Sequence[Row], pictures: Sequence[Any]
    ) -> Begun | None:
        """None: the picture is not in what the prompts share."""
        each = [row.token_ids for row in rows]
        shared = min(shared_length(each), min(map(len, each)) - 1)  # each has an ending, if others begin with it, too
        own, network = len(rows[0].token_ids) - shared, cast(Any, loaded.network.plain)
        inputs = loaded.processor.inputs([rows[0]] * len(pictures), pictures, padding_side="left")
        shape = inputs["input_ids"].shape
        if any(tuple(line[-own:]) != rows[0].token_ids[shared:] for line in inputs["input_ids"].tolist()):
            return None
        begun = {name: value[:, :-own] if value.shape == shape else value for name, value in inputs.items()}
        begun["position_ids"] = (begun["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        moved = NetworkInputs(begun).to(device, network.dtype)
        cache = network.base_model(**moved, use_cache=True).past_key_values
        names = ("input_ids", "attention_mask", "position_ids")
        return cls(NetworkInputs({name: begun[name] for name in names}), cache, shared)

    def asked(self, row: Row, device: torch.device) -> Asked:
        """One of the prompts' ending for each picture, behind a copy of the cache."""
        rows, ending = len(self.inputs["input_ids"]), torch.tensor(row.token_ids[self.shared :])
        seen = self.inputs["attention_mask"]
        tensors = {
            "input_ids": ending.expand(rows, -1),
            "attention_mask": pad(seen, (0, len(ending)), value=1),
            "position_ids": seen.sum(1, keepdim=True) + torch.arange(len(ending)),
        }
        ends = torch.full((rows, 1), len(ending) - 1)
        return Asked(NetworkInputs(tensors).to(device), ends, copy.deepcopy(self.cache))

    @torch.inference_mode()
    def generate(
        self, loaded: LoadedModel, device: torch.device, rows: Sequence[Row], max_new_tokens: int
    ) -> list[list[list[int]]]:
        """The likeliest answers to N of the prompts: ids of each, N by picture. The cache is used up."""
        pictures = len(self.inputs["input_ids"])
        self.cache.batch_repeat_interleave(len(rows))
        endings = [row.token_ids[self.shared :] for row in rows]
        width = max(map(len, endings))
        # Filled up between beginning and ending: positions are counted over what the mask leaves.
        filled = torch.tensor([[loaded.processor.pad_token_id] * (width - len(one)) + list(one) for one in endings])
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in endings])
        begun, seen = (self.inputs[name].repeat_interleave(len(rows), 0) for name in ("input_ids", "attention_mask"))
        ids = torch.cat([begun, filled.repeat(pictures, 1)], dim=1)
        whole = torch.cat([seen, mask.repeat(pictures, 1)], dim=1)
        given = {"input_ids": ids.to(device), "attention_mask": whole.to(device), "past_key_values": self.cache}
        generated = _said(loaded, max_new_tokens, **given)
        said = generated[:, ids.shape[1] :].tolist()
        return [said[start : start + len(rows)] for start in range(0, len(said), len(rows))]


def generate_together(
    loaded: LoadedModel, device: torch.device, rows: Sequence[Row], pictures: Sequence[Any], max_new_tokens: int
) -> list[list[list[int]]]:
    """As `generate_each`, for families that pack: what all prompts begin with, the picture in it, is read once."""
    begun = Begun.read(loaded, device, rows, pictures)
    if begun is None:
        return generate_each(loaded, device, rows, pictures, max_new_tokens)
    return begun.generate(loaded, device, rows, max_new_tokens)


def _said(loaded: LoadedModel, max_new_tokens: int, **inputs: Any) -> torch.Tensor:
    """The likeliest tokens behind prompts [B, T]: [B, T + L]. Raises ArtQuantError: there would be none."""
    if max_new_tokens < 1:
        raise ArtQuantError(f"the longest answer must be 1 token or more, got {max_new_tokens}")
    network: Any = loaded.network.plain  # transformers' type of all networks does not say that it can generate
    with no_bar():
        generated: torch.Tensor = network.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            use_cache=True,  # models that older releases trained say no
            pad_token_id=loaded.processor.pad_token_id,
        )
    return generated


def score_places(loaded: Speaker, ids: torch.Tensor) -> torch.Tensor:
    """Where answers [B, L] hold a score: [M, 2], row and index, in order; none where a readout's words are ordinary."""
    if not loaded.readout.several:
        return torch.zeros(0, 2, dtype=torch.int64)
    return torch.isin(ids, torch.tensor(loaded.readout.place_ids, device=ids.device)).nonzero()


def with_answers(inputs: NetworkInputs, ids: torch.Tensor) -> NetworkInputs:
    """Prompts [B, T] with their answers [B, L] behind them."""
    shape, more = inputs["input_ids"].shape, ids.shape[1]
    # What is said of positions says nothing of those of an answer, which are text.
    tensors = {name: pad(value, (0, more)) if value.shape == shape else value for name, value in inputs.items()}
    tensors["input_ids"] = torch.cat([inputs["input_ids"], ids], dim=1)
    tensors["attention_mask"] = pad(inputs["attention_mask"], (0, more), value=1)
    return NetworkInputs(tensors)


def worded(loaded: Speaker, ids: Sequence[int], scores: Sequence[Prediction], decimals: int) -> Answer:
    """One answer's ids [L] as a text."""
    pieces: list[list[int]] = [[]]
    for token in ids:
        if scores and token in loaded.readout.place_ids:
            pieces.append([])
        else:
            pieces[-1].append(token)
    texts = [loaded.processor.decode(piece, skip_special_tokens=True) for piece in pieces]
    if not scores:
        return Answer(texts[0].strip())
    told = zip(scores, texts[1:], strict=True)
    text = texts[0].lstrip() + "".join(f" {one.score:.{decimals}f} {after}" for one, after in told)
    return Answer(text, tuple(scores), tuple(loaded.prompt.score_name(before) for before in texts[:-1]))

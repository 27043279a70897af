"""What a network of a hub folder can: scores and descriptions of pictures, with transformers alone.

Shape legend: B pictures, T positions, M scores, D hidden width.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from huggingface_hub import snapshot_download
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from artquant.batches.samples import encode_row
from artquant.data.predictions import Prediction
from artquant.errors import ArtQuantError
from artquant.infer.answers import DECIMALS, score_places, with_answers, worded
from artquant.infer.given import Pictures, as_pictures
from artquant.models.family import NetworkInputs, Processor, Row
from artquant.readouts import Readout, Scores, Seen, stored_readout
from artquant.texts.prompt import Exchange, Prompt

CARD = "artquant.json"
HEAD = "readout_head.safetensors"
_FILES = ("*.json", "*.jinja", "*.txt", "*.model", HEAD)  # beside weights and code
_HUB = ("revision", "cache_dir", "token", "local_files_only")  # of `from_pretrained`: where its files are


@dataclass(frozen=True)
class Manner:
    """How a model is asked and read. head: the readout's own. learned: tasks of its training; None: not known."""

    processor: Processor
    prompt: Prompt
    readout: Readout
    head: nn.Module | None
    learned: tuple[str, ...] | None


class ScoresPictures:
    """Beside a network of transformers, before it in a class's bases.

    Nothing in it is of one model: a process that has loaded a folder takes its class for others of the same network.

    read_processor: of the network's family.
    """

    read_processor: ClassVar[Callable[[Path, Any], Processor]]
    place: tuple[str, Mapping[str, Any]]
    # Of the network.
    config: Any
    device: torch.device
    dtype: torch.dtype
    base_model: Any
    generate: Any
    get_output_embeddings: Any

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *arguments: Any, **how: Any) -> Any:
        """As every network's of transformers; it remembers where the other files lie."""
        made = super().from_pretrained(pretrained_model_name_or_path, *arguments, **how)  # type: ignore[misc]
        network = made[0] if isinstance(made, tuple) else made
        hub = {name: how[name] for name in _HUB if how.get(name) is not None}
        network.place = (str(pretrained_model_name_or_path), hub)
        return made

    @classmethod
    def is_custom_code(cls) -> bool:
        """No, as far as weights go: transformers names those in files otherwise than those in memory."""
        return False

    @cached_property
    def manner(self) -> Manner:
        """How it is asked and read, from the files beside its weights.

        Raises:
            ArtQuantError: a file is not there or is of another version.
        """
        name, hub = self.place
        folder = Path(name) if Path(name).is_dir() else Path(snapshot_download(name, allow_patterns=[*_FILES], **hub))
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        readout = stored_readout(card["readout"])
        head = readout.head(self.config.get_text_config().hidden_size)
        if head is not None and (folder / HEAD).is_file():
            head.load_state_dict(load_file(folder / HEAD))
        learned = None if card.get("learned") is None else tuple(card["learned"])
        processor = type(self).read_processor(folder, self.config)
        return Manner(processor, Prompt.from_dict(card["prompt"]), readout, head, learned)

    @property
    def score_range(self) -> tuple[float, float]:
        """The lowest and the highest score."""
        return self.manner.readout.low, self.manner.readout.high

    @torch.no_grad()
    def score(self, images: Pictures, batch_size: int = 8) -> torch.Tensor:
        """Scores [N] in float32 of N pictures, on the model's scale (`score_range`).

        Args:
            images: paths, PIL pictures, arrays or tensors [H, W, 3] or [3, H, W] (uint8, or floats in 0 to 1), one or
                several in a list; or one array or tensor with a dimension more.

        Raises:
            ArtQuantError: something is no picture, or a score is not finite.
        """
        row = encode_row(self.manner.processor, self.manner.prompt.scoring())
        found = [torch.zeros(0, device=self.device)]
        for batch in _batches(as_pictures(images)[0], batch_size):
            inputs = self._inputs(row, batch)
            positions = inputs.ends() - 1 + inputs["input_ids"].shape[1] * torch.arange(len(batch))
            found.append(self._read(inputs, positions).score)
        scores = torch.cat(found)
        if not torch.isfinite(scores).all():
            raise ArtQuantError("a score is not finite: the weights overflow in this number format; load in float32")
        return scores

    @torch.no_grad()
    def describe(
        self, images: Pictures, level: int | None = None, max_new_tokens: int = 512, batch_size: int = 8
    ) -> list[str]:
        """Descriptions, the likeliest words; scores that are said stand in them as numbers.

        Args:
            images: as of `score`. level: 1 perception, 2 and cognition, 3 and emotion; None: the fullest.
            max_new_tokens: where a description is cut off at the latest.

        Raises:
            ArtQuantError: something is no picture, or the model was not trained to describe.
        """
        asked = self.manner.prompt.describing(level)
        if self.manner.learned is not None and "description" not in self.manner.learned:
            raise ArtQuantError("the model was not trained to describe; take one that was")
        batches = _batches(as_pictures(images)[0], batch_size)
        return [text for batch in batches for text in self._told(asked, batch, max_new_tokens)]

    def _told(self, asked: Exchange, pictures: Sequence[Image.Image], most: int) -> list[str]:
        manner = self.manner
        inputs = self._inputs(encode_row(manner.processor, asked), pictures, "left").to(self.device, self.dtype)
        fill = manner.processor.pad_token_id
        whole = self.generate(**inputs, max_new_tokens=most, do_sample=False, use_cache=True, pad_token_id=fill)
        begin = inputs["input_ids"].shape[1]
        ids, scores = whole[:, begin:], dict[int, list[Prediction]]()
        places = score_places(manner, ids)
        if len(places):
            after = with_answers(inputs, ids)
            flat = places[:, 0] * after["input_ids"].shape[1] + begin + places[:, 1] - 1
            for row, score in zip(places[:, 0].tolist(), self._read(after, flat).score.tolist(), strict=True):
                scores.setdefault(row, []).append(Prediction(score))
        return [worded(manner, line, scores.get(row, ()), DECIMALS).text for row, line in enumerate(ids.tolist())]

    def _inputs(self, row: Row, pictures: Sequence[Image.Image], padding_side: str = "right") -> NetworkInputs:
        processor = self.manner.processor
        prepared = [processor.picture(picture) for picture in pictures]
        return processor.inputs([row] * len(prepared), prepared, padding_side)

    def _read(self, inputs: NetworkInputs, positions: torch.Tensor) -> Scores:
        """Scores at flat positions [M] of B * T; logits in float32, whatever the weights are in."""
        states = self.base_model(**inputs.to(self.device, self.dtype), use_cache=False).last_hidden_state
        hidden = states.flatten(0, 1).index_select(0, positions.to(self.device)).float()
        head, own = self.get_output_embeddings(), self.manner.head
        bias = None if head.bias is None else head.bias.float()
        logits = nn.functional.linear(hidden, head.weight.float(), bias)
        return self.manner.readout.read(Seen(logits, hidden, None if own is None else own.to(self.device)(hidden)))


def _batches(images: Sequence[Image.Image], size: int) -> Iterator[Sequence[Image.Image]]:
    return (images[start : start + size] for start in range(0, len(images), size))

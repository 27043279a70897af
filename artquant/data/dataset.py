"""Training records as encoded samples, and samples as batches.

The batch is the one contract between data and training. Shape legend: B samples, T merged positions, S pixels of a
side, M positions whose logits are needed, K width of the readout's target.

    input_ids       [B, T]        int64, image positions hold -200; padded on the right
    attention_mask  [B, T]        int64, 1 at real positions
    pixel_values    [B, 3, S, S]  float32, normalised (with views [B, 3 views, 3, S, S])
    positions       [M]           int64, flat indices b * T + t of the positions that predict a learned token: first
                                  those of description answers, then those of score answers without the rating word,
                                  then one per scored sample for the rating word
    token_ids       [M]           int64, the token to be predicted at each of them
    level_probs     [R, K]        float32, target of each scored sample, in the order of the last R positions
    counts          (Md, Ms, R)   plain integers with Md + Ms + R = M, so that no device is asked for them
    sources         [B]           the records' files, numbers and ids, for messages
    errors                        messages about the samples that were to be in this batch and cannot be read

Of a batch that would be empty the first sample stays, with a blank picture and nothing to learn (M = R = 0), so that
every rank goes through the same steps.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from artquant.data.images import ImageError, load_image
from artquant.data.records import TrainingRecord
from artquant.errors import ArtQuantError
from artquant.models.backbone import BackboneProcessor
from artquant.prompts import Prompt
from artquant.readouts import Readout

TASKS = ("description", "score_text", "score_distribution")


@dataclass(frozen=True)
class EncodedSample:
    """One conversation as the network reads it; positions count merged (expanded) tokens."""

    input_ids: list[int]
    answer_start: int
    rating_index: int | None  # of a score sample: where the rating word stands
    target: tuple[float, ...] | None  # of a score sample: the readout's target


class ArtDataset(Dataset):
    """Records with their pictures; text is encoded once, pictures are read when asked for (once, if cached).

    Raises (on construction):
        ArtQuantError: a record's text does not line up with the prompt or is longer than `max_length` merged positions,
            or a score lies outside the scale; names the record.
    """

    def __init__(
        self,
        records: Sequence[TrainingRecord],
        processor: BackboneProcessor,
        prompt: Prompt,
        readout: Readout,
        max_length: int,
        cache_pictures: bool = False,
    ):
        self._cache: dict[Path, torch.Tensor] | None = {} if cache_pictures else None
        self.records = list(records)
        self.processor = processor
        targets = self._targets(readout)
        self.samples = [
            self._encode(record, prompt, readout, target, max_length)
            for record, target in zip(self.records, targets, strict=True)
        ]

    def _targets(self, readout: Readout) -> list[tuple[float, ...] | None]:
        """The readout's target of each record: the record's own distribution, else one made from its score."""
        targets = [record.level_probs if record.task == "score" else None for record in self.records]
        wanted = [
            index for index, record in enumerate(self.records) if record.task == "score" and targets[index] is None
        ]
        if wanted:
            scores = np.array([self.records[index].gt_score for index in wanted], dtype=np.float64)
            try:
                made = readout.targets(scores)
            except ArtQuantError:
                for index, score in zip(wanted, scores, strict=True):
                    self._check_target(readout, self.records[index], score)
                raise
            for index, target in zip(wanted, made.tolist(), strict=True):
                targets[index] = tuple(target)
        return targets

    @staticmethod
    def _check_target(readout: Readout, record: TrainingRecord, score: float) -> None:
        """Raise the readout's error about this score, if there is one, with the record's name."""
        try:
            readout.targets(np.array([score]))
        except ArtQuantError as error:
            raise ArtQuantError(f"{record.source} (id {record.id!r}): {error}") from error

    def _encode(self, record, prompt, readout, target, max_length) -> EncodedSample:
        where = f"{record.source} (id {record.id!r})"
        try:
            if record.task == "score":
                known = record.gt_score is not None  # a record may hold its distribution alone
                word = readout.answer_word(record.gt_score if known else readout.target_score(target))
                encoded = prompt.encode_rating(
                    self.processor, record.question, word, readout.token_ids, record.attribute
                )
            else:
                encoded = prompt.encode_description(self.processor, record.question, record.answer)
        except ArtQuantError as error:
            raise ArtQuantError(f"{where}: {error}") from error
        grown = self.processor.image_sequence_length - 1  # the picture stands before every learned token
        input_ids = self.processor.expand(encoded.token_ids)
        if len(input_ids) > max_length:
            raise ArtQuantError(
                f"{where}: {len(input_ids)} tokens with the image's, more than max_length {max_length}; shorten the "
                "text or raise max_length"
            )
        rating_index = None if encoded.rating_index is None else encoded.rating_index + grown
        return EncodedSample(input_ids, encoded.answer_start + grown, rating_index, target)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that the score records are about, in the order of their first record."""
        return tuple(dict.fromkeys(record.attribute for record in self.records if record.attribute is not None))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        item = {"sample": self.samples[index], "source": f"{record.source} ({record.id})"}
        try:
            return item | {"pixel_values": self._pixels(record)}
        except ImageError as error:  # met by the trainer: from a worker process only a traceback would arrive
            blank = self.processor.image_processor(Image.new("RGB", (8, 8)))["pixel_values"][0]
            return item | {"pixel_values": blank, "error": str(error)}

    def _pixels(self, record: TrainingRecord) -> torch.Tensor:
        if self._cache is not None and record.image in self._cache:
            return self._cache[record.image]
        image = load_image(record.image, record=f"{record.source} id {record.id!r}")
        pixel_values = self.processor.image_processor(image)["pixel_values"][0]
        if self._cache is not None:
            self._cache[record.image] = pixel_values
        return pixel_values

    def lengths(self) -> list[int]:
        """Merged positions of each sample."""
        return [len(sample.input_ids) for sample in self.samples]


@dataclass(frozen=True)
class Collator:
    """Samples -> batch, as documented at the head of this file."""

    processor: BackboneProcessor

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        errors = [item["error"] for item in items if "error" in item]
        items = [item for item in items if "error" not in item] or items[:1]
        samples = [item["sample"] for item in items]
        readable = "error" not in items[0]
        batch = self.processor.pad([sample.input_ids for sample in samples])
        width = batch["input_ids"].shape[1]
        places: dict[str, list[tuple[int, int]]] = {task: [] for task in TASKS}
        for row, sample in enumerate(samples):
            learned = range(sample.answer_start, len(sample.input_ids)) if readable else ()
            for index in learned:
                # The token at `index` is predicted one position earlier.
                place = (row * width + index - 1, sample.input_ids[index])
                if sample.rating_index is None:
                    places["description"].append(place)
                elif index == sample.rating_index:
                    places["score_distribution"].append(place)
                else:
                    places["score_text"].append(place)
        joined = [place for task in TASKS for place in places[task]]
        targets = [sample.target for sample in samples if sample.rating_index is not None and readable]
        return batch | {
            "pixel_values": torch.stack([item["pixel_values"] for item in items]),
            "positions": torch.tensor([position for position, _ in joined], dtype=torch.long),
            "token_ids": torch.tensor([token for _, token in joined], dtype=torch.long),
            "level_probs": torch.tensor(targets, dtype=torch.float32),
            "counts": tuple(len(places[task]) for task in TASKS),
            "sources": [item["source"] for item in items],
            "errors": errors,
        }


class EpochSampler(torch.utils.data.Sampler):
    """Order of the samples in each epoch; a function of seed and epoch alone, so that a resumed run repeats it.

    Args:
        parts: index lists, one per data set (repeated or sampled by weight already).
        seed: of every shuffle.
        in_order: the parts one after the other (levels 1, 2, 3), each shuffled; otherwise all mixed.
        lengths: merged positions of each sample, to put samples of similar length into the same batches; None: do not.
        group_size: samples of a forward pass over all ranks, the grain of grouping by length.
    """

    def __init__(
        self,
        parts: Sequence[Sequence[int]],
        seed: int,
        in_order: bool = False,
        lengths: Sequence[int] | None = None,
        group_size: int = 1,
    ):
        self.parts = [list(part) for part in parts]
        self.seed = seed
        self.in_order = in_order
        self.lengths = lengths
        self.group_size = group_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __iter__(self):
        draw = random.Random(f"{self.seed}-{self.epoch}")
        parts = [list(part) for part in self.parts]
        for part in parts:
            draw.shuffle(part)
        order = [index for part in parts for index in part]
        if self.in_order:
            return iter(order)
        draw.shuffle(order)
        return iter(self._grouped(order, draw) if self.lengths is not None else order)

    def _grouped(self, order: list[int], draw: random.Random) -> list[int]:
        """Sort by length within stretches of 50 groups, then shuffle the groups.

        The group with the longest sample comes first: if memory runs out, it does so at once.
        """
        stretch = 50 * self.group_size
        groups = []
        for start in range(0, len(order), stretch):
            part = sorted(order[start : start + stretch], key=lambda index: -self.lengths[index])
            groups += [part[first : first + self.group_size] for first in range(0, len(part), self.group_size)]
        full = [group for group in groups if len(group) == self.group_size]
        rest = [index for group in groups if len(group) != self.group_size for index in group]
        draw.shuffle(full)
        longest = max((max(self.lengths[index] for index in group) for group in full), default=0)
        full.sort(key=lambda group: max(self.lengths[index] for index in group) != longest)
        return [index for group in full for index in group] + rest


def weighted_indices(offset: int, size: int, weight: float, seed: int) -> list[int]:
    """Indices of one data set: the whole part of the weight repeats it, the fraction samples it (at least one)."""
    whole, fraction = int(weight), weight - int(weight)
    indices = list(range(offset, offset + size)) * whole
    sampled = round(fraction * size)
    if sampled == 0 and whole == 0:
        sampled = 1
    return indices + random.Random(f"{seed}-{offset}").sample(range(offset, offset + size), sampled)

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
    truth           [R, 2]        float32, mean and standard deviation of each scored sample's true score
    pairs           [P, 2]        int64, pairs of scored samples, as indices into the last R positions
    counts          (Md, Ms, R)   plain integers with Md + Ms + R = M, so that no device is asked for them
    sources         [B]           the records' files, numbers and ids, for messages
    errors                        messages about the samples that were to be in this batch and cannot be read

Of a batch that would be empty the first sample stays, with a blank picture and nothing to learn (M = R = 0), so that
every rank goes through the same steps. A batch with a record that cannot be encoded is {"fault": message} alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from artquant.data.images import ImageError, load_image
from artquant.data.record_file import RecordColumns, RecordFile, RecordSets
from artquant.data.records import TrainingRecord
from artquant.errors import ArtQuantError
from artquant.models.family import BackboneProcessor
from artquant.readouts import Readout
from artquant.texts.prompt import Prompt

TASKS = ("description", "score_text", "score_distribution")
_LONGEST = 2000  # longest texts that are encoded before training begins
_PROMPT_BYTES = 300  # of every prompt beside question and answer, with some to spare


@dataclass(frozen=True)
class EncodedSample:
    """One conversation as the network reads it; positions count merged (expanded) tokens."""

    input_ids: list[int]
    answer_start: int
    rating_index: int | None  # of a score sample: where the rating word stands
    target: np.ndarray | None  # [K], of a score sample: the readout's target
    truth: tuple[float, float] = (math.nan, math.nan)  # of a score sample: mean and standard deviation of the score


class ArtDataset(Dataset):
    """Records with their pictures; text is encoded and pictures are read when asked for (once, if cached).

    Targets are computed for all records at once. Of the texts, those most likely to be at fault are encoded right away:
    one with each question and attribute, and the longest.

    Args:
        records: with their columns, such as a `RecordFile`; a plain sequence is looked through once.
        max_length: longest sample allowed, in merged positions.
        cache: keep prepared pictures and encoded texts in memory.

    Raises (on construction):
        ArtQuantError: a record's text does not line up with the prompt or is longer than `max_length` merged positions,
            or a score lies outside the scale; names the record.
    """

    def __init__(
        self,
        records: RecordFile | RecordSets | Sequence[TrainingRecord],
        processor: BackboneProcessor,
        prompt: Prompt,
        readout: Readout,
        max_length: int,
        cache: bool = False,
    ):
        self._pictures: dict[Path, torch.Tensor] | None = {} if cache else None
        self._samples: dict[int, EncodedSample] | None = {} if cache else None
        self.records = records
        with_columns = isinstance(records, RecordFile | RecordSets)
        self.columns = records.columns if with_columns else RecordColumns.of(records, len(readout.token_ids))
        self.processor = processor
        self._prompt, self._readout, self._max_length = prompt, readout, max_length
        self._targets = self._made_targets()
        self.truth = self._known_scores()
        for index in self._suspects():
            self._sample(index)

    def _made_targets(self) -> np.ndarray:
        """The readout's target of each record [N, K]: the record's own distribution, else one made from its score."""
        targets = self.columns.level_probs.copy()
        wanted = np.flatnonzero(self.columns.is_scored & np.isnan(targets).any(axis=1))
        if wanted.size:
            try:
                targets[wanted] = self._readout.targets(self.columns.score[wanted])
            except ArtQuantError:
                for index in wanted.tolist():
                    self._check_target(index)
                raise
        return targets

    def _known_scores(self) -> np.ndarray:
        """Mean and standard deviation of each record's true score [N, 2]: its own, else those of its target."""
        own = np.stack([self.columns.score, self.columns.std], axis=1)
        own[~self.columns.is_scored] = np.nan
        return np.where(np.isnan(own), self._readout.target_moments(self._targets), own)

    def _check_target(self, index: int) -> None:
        """Raise the readout's error about this record's score, if there is one, with the record's name."""
        try:
            self._readout.targets(self.columns.score[[index]])
        except ArtQuantError as error:
            record = self.records[index]
            raise ArtQuantError(f"{record.source} (id {record.id!r}): {error}") from error

    def _suspects(self) -> list[int]:
        """Records to encode before training begins."""
        longest = np.argsort(-self.columns.text_bytes, kind="stable")[:_LONGEST]
        # A token stands for a byte at least.
        room = self._max_length - self.processor.image_sequence_length - _PROMPT_BYTES
        longest = longest[self.columns.text_bytes[longest] > room]
        return sorted({*self.columns.representatives, *longest.tolist()})

    def _sample(self, index: int, record: TrainingRecord | None = None) -> EncodedSample:
        if self._samples is not None and index in self._samples:
            return self._samples[index]
        sample = self._encode(index, self.records[index] if record is None else record)
        if self._samples is not None:
            self._samples[index] = sample
        return sample

    def _encode(self, index: int, record: TrainingRecord) -> EncodedSample:
        where = f"{record.source} (id {record.id!r})"
        target = self._targets[index] if record.task == "score" else None
        try:
            if record.task == "score":
                known = record.gt_score is not None  # a record may hold its distribution alone
                word = self._readout.answer_word(record.gt_score if known else self._readout.target_score(target))
                encoded = self._prompt.encode_rating(
                    self.processor, record.question, word, self._readout.token_ids, record.attribute
                )
            else:
                encoded = self._prompt.encode_description(self.processor, record.question, record.answer)
        except ArtQuantError as error:
            raise ArtQuantError(f"{where}: {error}") from error
        grown = self.processor.image_sequence_length - 1  # the picture stands before every learned token
        input_ids = self.processor.expand(encoded.token_ids)
        if len(input_ids) > self._max_length:
            raise ArtQuantError(
                f"{where}: {len(input_ids)} tokens with the image's, more than max_length {self._max_length}; shorten "
                "the text or raise max_length"
            )
        rating_index = None if encoded.rating_index is None else encoded.rating_index + grown
        return EncodedSample(
            input_ids, encoded.answer_start + grown, rating_index, target, tuple(self.truth[index].tolist())
        )

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that the score records are about, in the order of their first record."""
        return self.columns.attributes

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """A sample with its picture; asked for with the number of a pair, it carries that."""
        if isinstance(index, tuple):
            index, pair = index
            return self[index] | {"pair": pair}
        # Errors are met by the trainer: from a worker process only a traceback would arrive.
        try:
            record = self.records[index]
            item = {"sample": self._sample(index, record), "source": f"{record.source} ({record.id})"}
        except ArtQuantError as error:
            return {"fault": str(error)}
        try:
            return item | {"pixel_values": self._pixels(record)}
        except ImageError as error:
            blank = self.processor.image_processor(Image.new("RGB", (8, 8)))["pixel_values"][0]
            return item | {"pixel_values": blank, "error": str(error)}

    def _pixels(self, record: TrainingRecord) -> torch.Tensor:
        if self._pictures is not None and record.image in self._pictures:
            return self._pictures[record.image]
        image = load_image(record.image, record=f"{record.source} id {record.id!r}")
        pixel_values = self.processor.image_processor(image)["pixel_values"][0]
        if self._pictures is not None:
            self._pictures[record.image] = pixel_values
        return pixel_values

    def lengths(self) -> np.ndarray:
        """How long each sample is, for batches of similar length: the bytes of its text [N].

        Prompt and picture add the same to each; encoding every text beforehand would take minutes for large sets.
        """
        return self.columns.text_bytes


@dataclass(frozen=True)
class Collator:
    """Samples -> batch, as documented at the head of this file."""

    processor: BackboneProcessor

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        fault = next((item["fault"] for item in items if "fault" in item), None)
        if fault is not None:
            return {"fault": fault}
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
        truth = [sample.truth for sample in samples if sample.rating_index is not None and readable]
        return batch | {
            "pixel_values": torch.stack([item["pixel_values"] for item in items]),
            "positions": torch.tensor([position for position, _ in joined], dtype=torch.long),
            "token_ids": torch.tensor([token for _, token in joined], dtype=torch.long),
            "level_probs": torch.from_numpy(np.array(targets, dtype=np.float32)),
            "truth": torch.tensor(truth, dtype=torch.float32).reshape(-1, 2),
            "pairs": torch.tensor(_pairs(items) if readable else [], dtype=torch.long).reshape(-1, 2),
            "counts": tuple(len(places[task]) for task in TASKS),
            "sources": [item["source"] for item in items],
            "errors": errors,
        }


def _pairs(items: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Which of the scored samples are a pair: neighbours with the number of the same pair.

    One whose partner is not there (its picture cannot be read, or it fell into another batch) is in none.
    """
    pairs, waiting = [], None
    scored = [item for item in items if item["sample"].rating_index is not None]
    for place, item in enumerate(scored):
        pair = item.get("pair")
        if pair is not None and pair == waiting:
            pairs.append((place - 1, place))
            pair = None
        waiting = pair
    return pairs


class EpochSampler(torch.utils.data.Sampler):
    """Order of the samples in each epoch; a function of seed and epoch alone, so that a resumed run repeats it.

    Args:
        parts: index arrays, one per data set (repeated or sampled by weight already).
        seed: of every shuffle.
        in_order: the parts one after the other (levels 1, 2, 3), each shuffled; otherwise all mixed.
        lengths: of each sample, in any unit, to put samples of similar length into the same batches; None: do not.
        group_size: samples of a forward pass over all ranks, the grain of grouping by length.
    """

    def __init__(
        self,
        parts: Sequence[np.ndarray],
        seed: int,
        in_order: bool = False,
        lengths: np.ndarray | None = None,
        group_size: int = 1,
    ):
        self.parts = [np.asarray(part, dtype=np.int64) for part in parts]
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
        draw = np.random.default_rng([self.seed, self.epoch])
        order = np.concatenate([np.zeros(0, dtype=np.int64), *(draw.permutation(part) for part in self.parts)])
        if not self.in_order:
            order = draw.permutation(order)
            if self.lengths is not None:
                order = self._grouped(order, draw)
        return map(int, order)

    def _grouped(self, order: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """Sort by length within stretches of 50 groups, then shuffle the groups.

        The group with the longest sample comes first: if memory runs out, it does so at once. What fills no group comes
        last.
        """
        lengths = np.asarray(self.lengths)
        stretch = 50 * self.group_size
        order = np.concatenate(
            [
                part[np.argsort(-lengths[part], kind="stable")]
                for part in np.split(order, range(stretch, len(order), stretch))
            ]
        )
        whole = len(order) - len(order) % self.group_size  # only the last stretch can hold a group that is not full
        groups = draw.permutation(order[:whole].reshape(-1, self.group_size))
        if len(groups):
            longest = int(lengths[groups].max(axis=1).argmax())
            groups = np.concatenate([groups[longest : longest + 1], groups[:longest], groups[longest + 1 :]])
        return np.concatenate([groups.reshape(-1), order[whole:]])


def weighted_indices(offset: int, size: int, weight: float, seed: int) -> np.ndarray:
    """Indices of one data set: the whole part of the weight repeats it, the fraction samples it (at least one)."""
    whole, fraction = int(weight), weight - int(weight)
    everything = np.arange(offset, offset + size)
    sampled = round(fraction * size)
    if sampled == 0 and whole == 0:
        sampled = 1
    draw = np.random.default_rng([seed, offset])
    return np.concatenate([np.tile(everything, whole), draw.choice(everything, sampled, replace=False)])

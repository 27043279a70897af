"""Training records with their pictures, and what makes batches of them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from artquant.batches.batch import TEXT_TASKS, Batch, Fault, Learned, Scored
from artquant.batches.packed import Placed, pack_rows
from artquant.batches.samples import Conversation, Sample, encode_attributes, encode_record
from artquant.data.images import ImageError, load_image
from artquant.data.record_file import RecordColumns, RecordFile, RecordSets
from artquant.data.records import TrainingRecord
from artquant.errors import ArtQuantError
from artquant.labels.soft_labels import soft_labels
from artquant.labels.truth import Truths
from artquant.models.family import Processor
from artquant.readouts import Readout
from artquant.texts.prompt import Prompt

_LONGEST = 2000  # longest texts that are encoded before training begins
_LEAST_SPREAD = 0.05  # of an attribute's target, as a share of the scale
_PROMPT_BYTES = 300  # of every prompt beside question and answer, with some to spare


@dataclass(frozen=True)
class Item:
    """A sample with its prepared picture.

    error: why the picture could not be read; another stands in its place. pair: number of the pair that it belongs to.
    """

    sample: Sample
    picture: Any
    source: str
    error: str | None = None
    pair: int | None = None


class ArtDataset(Dataset):
    """Records with their pictures; text is encoded and pictures are read when asked for (once, if cached).

    Targets are computed for all records at once. Of the texts, those most likely to be at fault are encoded right away:
    one with each question and attribute, and the longest.

    Args:
        records: with their columns, such as a `RecordFile`; a plain sequence is looked through once.
        readout: bound to the processor.
        level_values: what the records' distributions are over: the score of each rating word.
        max_length: longest sample allowed, in positions of the network.
        cache: keep prepared pictures and encoded texts in memory.

    Raises (on construction):
        ArtQuantError: a record's text does not line up with the prompt or is longer than `max_length`, or a score lies
            outside the scale; names the record.
    """

    def __init__(
        self,
        records: RecordFile | RecordSets | Sequence[TrainingRecord],
        processor: Processor,
        prompt: Prompt,
        readout: Readout,
        level_values: Sequence[float],
        max_length: int,
        cache: bool = False,
    ):
        self._pictures: dict[Path, Any] | None = {} if cache else None
        self._samples: dict[int, Sample] | None = {} if cache else None
        self._answers: dict[Hashable, Conversation] | None = {} if cache else None
        self.records = records
        if isinstance(records, RecordFile | RecordSets):
            self.columns = records.columns
        else:
            self.columns = RecordColumns.of(records, len(level_values))
        self.processor = processor
        self._prompt, self._readout, self._max_length = prompt, readout, max_length
        columns = self.columns
        self._known = Truths(columns.score, columns.std, columns.level_probs, np.array(level_values, dtype=np.float64))
        self._targets = self._made_targets()
        self.truth = self._known_scores()
        for index in self._suspects():
            self._sample(index)

    def _made_targets(self) -> np.ndarray:
        """The readout's target of each score record [N, K]; NaN in the rows of descriptions."""
        targets = np.full((len(self.columns), self._readout.width), np.nan)
        known = ~np.isnan(self._known.mean) | self._known.has_shares  # of answers with several scores: record by record
        scored = np.flatnonzero(self.columns.is_scored & known)
        if scored.size:
            try:
                targets[scored] = self._readout.targets(self._known[scored])
            except ArtQuantError:
                for index in scored.tolist():
                    self._check_target(index)
                raise
        return targets

    def _known_scores(self) -> np.ndarray:
        """Mean and standard deviation of each record's true score [N, 2]: its own, else those of its target."""
        own = np.stack([self._known.means(), self.columns.std], axis=1)
        own[~self.columns.is_scored] = np.nan
        return np.where(np.isnan(own), self._readout.moments(self._targets), own)

    def _check_target(self, index: int) -> None:
        """Raise the readout's error about this record's score, if there is one, with the record's name."""
        try:
            self._readout.targets(self._known[[index]])
        except ArtQuantError as error:
            record = self.records[index]
            raise ArtQuantError(f"{record.where}: {error}") from error

    def _suspects(self) -> list[int]:
        """Records to encode before training begins."""
        longest = np.argsort(-self.columns.text_bytes, kind="stable")[:_LONGEST]
        # A token stands for a byte at least.
        room = self._max_length - self.processor.picture_positions - _PROMPT_BYTES
        longest = longest[self.columns.text_bytes[longest] > room]
        return sorted({*self.columns.representatives, *longest.tolist()})

    def _sample(self, index: int, record: TrainingRecord | None = None) -> Sample:
        if self._samples is not None and index in self._samples:
            return self._samples[index]
        sample = self._encode(index, self.records[index] if record is None else record)
        if self._samples is not None:
            self._samples[index] = sample
        return sample

    def _encode(self, index: int, record: TrainingRecord) -> Sample:
        where = record.where
        scored = record.task == "score"
        targets, truth = self._targets[[index]], self.truth[[index]]
        try:
            if record.scores or record.targets:
                targets, truth = self._own_targets(record)
            score = float(truth[0, 0]) if scored else None
            ways = self.processor, self._prompt, self._readout, record
            sample = Sample(encode_record(*ways, score, targets[0]))
            if scored:
                about = record.names or (record.attribute,) * len(targets)
                others: tuple[Conversation, ...] = ()
                if record.attributes:  # in one sequence with the total, as they are scored
                    of_them = self._attribute_targets(record)
                    others = encode_attributes(*ways, sample.conversation, self._answers, of_them[0])
                    targets, truth = (np.concatenate(pair) for pair in zip((targets, truth), of_them, strict=True))
                    about = (*about, *(one.name for one in record.attributes))
                sample = replace(
                    sample,
                    learns_places=self._readout.learns_word,
                    targets=targets,
                    truth=truth,
                    about=about,
                    others=others,
                )
        except ArtQuantError as error:
            raise ArtQuantError(f"{where}: {error}") from error
        length = sample.length - 1 + self.processor.picture_positions
        if length > self._max_length:
            raise ArtQuantError(f"{where}: {too_long(length, self._max_length)}")
        return sample

    def _attribute_targets(self, record: TrainingRecord) -> tuple[np.ndarray, np.ndarray]:
        """Targets [m, K] and true scores [m, 2] of a record's attributes, with the spread of their ratings if known."""
        means = np.array([one.mean for one in record.attributes])
        stds = np.array([math.nan if one.std is None else one.std for one in record.attributes])
        levels, known = self._known.values, ~np.isnan(stds)
        shares = np.full((len(means), len(levels)), np.nan)
        if known.any():
            least = _LEAST_SPREAD * (levels.max() - levels.min())
            shares[known] = soft_labels(means[known], levels, sigma=np.maximum(stds[known], least))
        targets = self._readout.targets(Truths(means, stds, shares, levels))
        return targets, np.stack([means, np.where(known, stds, self._readout.moments(targets)[:, 1])], axis=1)

    def _own_targets(self, record: TrainingRecord) -> tuple[np.ndarray, np.ndarray]:
        """Targets [m, K] and true scores [m, 2] of a record with several scores, or with shares of its own."""
        readout = self._readout
        means = np.array(record.scores or (record.gt_score,), dtype=np.float64)
        known = Truths.of_means(means)
        if record.targets:
            shares = np.array(record.targets, dtype=np.float64)
            known = replace(known, shares=shares, values=np.linspace(readout.low, readout.high, shares.shape[1]))
        targets = readout.targets(known)
        stds = readout.moments(targets)[:, 1]
        if record.std is not None and not record.scores:  # of several it is not said whose it would be
            stds = np.full(len(means), record.std)
        return targets, np.stack([means, stds], axis=1)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that the score records are about, in the order of their first record."""
        return self.columns.attributes

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int | tuple[int, int]) -> Item | Fault:
        """A sample with its picture; asked for with the number of a pair, it carries that."""
        if isinstance(index, tuple):
            index, pair = index
            item = self[index]
            return item if isinstance(item, Fault) else replace(item, pair=pair)
        # Errors are met by the trainer: from a worker process only a traceback would arrive.
        try:
            record = self.records[index]
            sample, source = self._sample(index, record), f"{record.source} ({record.id})"
        except ArtQuantError as error:
            return Fault(str(error))
        try:
            return Item(sample, self._picture(record), source)
        except ImageError as error:
            return Item(sample, self.processor.picture(Image.new("RGB", (8, 8))), source, str(error))

    def _picture(self, record: TrainingRecord) -> Any:
        if self._pictures is not None and record.image in self._pictures:
            return self._pictures[record.image]
        picture = self.processor.picture(load_image(record.image, record=f"{record.source} id {record.id!r}"))
        if self._pictures is not None:
            self._pictures[record.image] = picture
        return picture

    def lengths(self) -> np.ndarray:
        """How long each sample is, for batches of similar length: the bytes of its text [N].

        Prompt and picture add about the same to each; encoding every text beforehand would take minutes for large sets.
        """
        return self.columns.text_bytes


@dataclass(frozen=True)
class Collator:
    """Items -> batch. max_length: of a sample, in positions; where a picture's size decides, it shows only here."""

    processor: Processor
    max_length: int

    def __call__(self, items: Sequence[Item | Fault]) -> Batch | Fault:
        fault = next((item for item in items if isinstance(item, Fault)), None)
        if fault is not None:
            return fault
        given = [item for item in items if isinstance(item, Item)]
        unreadable = tuple(item.error for item in given if item.error is not None)
        used = [item for item in given if item.error is None] or given[:1]
        rows = [item.sample.conversation.row for item in used]
        try:
            inputs = self.processor.inputs(rows, [item.picture for item in used])
        except ArtQuantError as error:
            return Fault(f"{used[0].source}: {error}")
        lengths = [
            real + item.sample.length - len(row.token_ids)
            for real, item, row in zip(inputs["attention_mask"].sum(1).tolist(), used, rows, strict=True)
        ]
        longest = max(range(len(used)), key=lengths.__getitem__)
        if lengths[longest] > self.max_length:
            return Fault(f"{used[longest].source}: {too_long(lengths[longest], self.max_length)}")
        learned = used if used[0].error is None else []
        inputs, places = pack_rows(
            inputs, [[one.row for one in item.sample.conversations] for item in used], self.processor.pad_token_id
        )
        return Batch(
            inputs,
            _learned(learned, places),
            _scored(learned, places),
            tuple(item.source for item in used),
            unreadable,
            sum(lengths),
        )


def too_long(length: int, allowed: int) -> str:
    """The message about a sample of more positions than allowed."""
    return f"{length} tokens with the image's, more than max_length {allowed}; shorten the text or raise max_length"


def _learned(items: Sequence[Item], places: Sequence[Sequence[Placed]]) -> Learned:
    """Tokens that are learned as text; of what several conversations begin with, once."""
    tokens: dict[str, list[tuple[int, int]]] = {task: [] for task in TEXT_TASKS}
    for item, placed in zip(items, places, strict=False):
        sample = item.sample
        of_task = tokens["description" if sample.targets is None else "score_text"]
        for found, there in zip(sample.conversations, placed, strict=True):
            silent = () if sample.learns_places else found.places
            for index in (place for start, end in found.answers for place in range(start, end)):
                if index not in silent and index >= there.branch:
                    of_task.append((there.at(index), found.row.token_ids[index]))
    joined = torch.tensor([place for task in TEXT_TASKS for place in tokens[task]], dtype=torch.int64).reshape(-1, 2)
    return Learned(joined[:, 0], joined[:, 1], (len(tokens["description"]), len(tokens["score_text"])))


def _scored(items: Sequence[Item], places: Sequence[Sequence[Placed]]) -> Scored:
    """Places of scores."""
    positions, rows, targets, truth, about = [], [], [], [], []
    for row, (item, placed) in enumerate(zip(items, places, strict=False)):
        sample = item.sample
        if sample.targets is not None and sample.truth is not None:
            positions += [
                there.at(place)
                for found, there in zip(sample.conversations, placed, strict=True)
                for place in found.places
            ]
            rows += [row] * len(sample.targets)
            targets.append(sample.targets)
            truth.append(sample.truth)
            about += [name is not None for name in sample.about]
    return Scored(
        torch.tensor(positions, dtype=torch.int64),
        torch.tensor(rows, dtype=torch.int64),
        torch.from_numpy(np.concatenate(targets or [np.zeros((0, 0))]).astype(np.float32)),
        torch.from_numpy(np.concatenate(truth or [np.zeros((0, 2))]).astype(np.float32)),
        torch.tensor(about, dtype=torch.bool),
        torch.tensor(_pairs(items), dtype=torch.int64).reshape(-1, 2),
    )


def _pairs(items: Sequence[Item]) -> list[tuple[int, int]]:
    """Which of the scored samples are a pair: neighbours with the number of the same pair.

    One whose partner is not there (its picture cannot be read, or it fell into another batch) is in none.
    """
    pairs: list[tuple[int, int]] = []
    waiting: int | None = None
    place = before = 0
    for item in items:
        if item.sample.targets is None:
            continue
        pair = item.pair
        if pair is not None and pair == waiting:
            pairs.append((before, place))
            pair = None
        waiting, before = pair, place
        place += len(item.sample.targets)
    return pairs

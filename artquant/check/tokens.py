"""Conversations as tokens: do they line up with the prompt, are they short enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from artquant.batches.samples import Sample, encode_attributes, encode_record
from artquant.check.findings import Finding
from artquant.check.sources import Entry, Inputs
from artquant.data.records import TrainingRecord
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.models.family import Processor
from artquant.models.model_folder import ModelFolder
from artquant.readouts import Readout, readout_of
from artquant.texts.prompt import Prompt


def token_checks(inputs: Inputs, base: Path) -> TokenChecks:
    """With the tokenizer of the base model.

    Raises:
        ArtQuantError: The model folder cannot be used, or the rating words are not single tokens there.
    """
    opened = ModelFolder.open(base, alone=True)
    config = opened.family.config(opened.path, inputs.untested)
    processor = opened.family.processor(opened.path, config)
    readout = readout_of(inputs.readout, inputs.scale)
    processor.add_words(readout.new_words)
    return TokenChecks(processor, inputs.prompt, readout.bound(processor, inputs.prompt), inputs.scale)


class TokenChecks:
    """Whether conversations line up with the prompt and are short enough, by the base model's own tokenizer."""

    def __init__(self, processor: Processor, prompt: Prompt, readout: Readout, scale: RatingScale) -> None:
        self.processor = processor
        self.prompt = prompt
        self.readout = readout
        self.scale = scale
        self.longest: dict[str, int] = {}  # tokens of the longest conversation of each file

    def add(self, entry: Entry) -> Iterator[Finding]:
        """What is wrong with a record."""
        record = entry.record
        if not isinstance(record, TrainingRecord):
            return
        try:
            score = self._score(record) if record.task == "score" else None
            found = encode_record(self.processor, self.prompt, self.readout, record, score)
            others = encode_attributes(self.processor, self.prompt, self.readout, record, found)
        except ArtQuantError as error:
            yield entry.finding("prompt", f"{error}; change the text or the prompt")
            return
        length = Sample(found, others=others).length - 1 + self.processor.picture_positions
        self.longest[entry.place.file] = max(length, self.longest.get(entry.place.file, 0))
        for stage, limit in entry.source.max_lengths:
            if length > limit:
                message = f"{length} tokens with the image's, more than max_length {limit} of stage {stage}"
                yield entry.finding("too-long", message + "; shorten the text or raise max_length")

    def _score(self, record: TrainingRecord) -> float:
        if record.gt_score is not None or record.scores:
            return record.scores[0] if record.gt_score is None else record.gt_score
        return float(self.scale.expectation(record.level_probs or ()))

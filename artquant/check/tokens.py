"""Conversations as tokens: do they line up with the prompt, are they short enough."""

from __future__ import annotations

from collections.abc import Iterator

from artquant.check.findings import Finding
from artquant.check.sources import Entry, Inputs
from artquant.data.records import TrainingRecord
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.models.family import BackboneProcessor
from artquant.readouts import RatingLevels
from artquant.texts.prompt import Prompt


def token_checks(inputs: Inputs) -> TokenChecks:
    """With the tokenizer of the base model.

    Raises:
        ArtQuantError: The model folder cannot be used, or the rating words are not single tokens there.
    """
    from artquant.models.mplug_owl2 import MPLUGOwl2Processor

    try:
        processor = MPLUGOwl2Processor.from_pretrained(inputs.base, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtQuantError(f"{inputs.base}: the tokenizer cannot be loaded: {reason}") from None
    return TokenChecks(processor, inputs.prompt, inputs.scale)


class TokenChecks:
    """Whether conversations line up with the prompt and are short enough, by the base model's own tokenizer."""

    def __init__(self, processor: BackboneProcessor, prompt: Prompt, scale: RatingScale) -> None:
        self.processor = processor
        self.prompt = prompt
        self.scale = scale
        self.readout = RatingLevels.from_encoder(processor, prompt, scale.words, scale.values)
        self.longest: dict[str, int] = {}  # tokens of the longest conversation of each file

    def add(self, entry: Entry) -> Iterator[Finding]:
        """What is wrong with a record."""
        record = entry.record
        if not isinstance(record, TrainingRecord):
            return
        try:
            if record.task == "score":
                word = self.readout.answer_word(self._score(record))
                ids = self.readout.token_ids
                encoded = self.prompt.encode_rating(self.processor, record.question, word, ids, record.attribute)
            else:
                encoded = self.prompt.encode_description(self.processor, record.question, record.answer)
        except ArtQuantError as error:
            yield entry.finding("prompt", f"{error}; change the text or the prompt")
            return
        length = len(self.processor.expand(encoded.token_ids))
        self.longest[entry.place.file] = max(length, self.longest.get(entry.place.file, 0))
        for stage, limit in entry.source.max_lengths:
            if length > limit:
                message = f"{length} tokens with the image's, more than max_length {limit} of stage {stage}"
                yield entry.finding("too-long", message + "; shorten the text or raise max_length")

    def _score(self, record: TrainingRecord) -> float:
        if record.gt_score is not None:
            return record.gt_score
        return self.readout.target_score(record.level_probs or ())

"""Scores, distributions and rating words that contradict each other.

Figures are on the data set's scale; shares are of its width (highest minus lowest score).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from artquant.check.findings import Finding
from artquant.check.sources import Entry, Place
from artquant.check.votes import check_votes
from artquant.config.requirements import LARGEST
from artquant.data.fields import number_of
from artquant.data.records import TrainingRecord
from artquant.labels.rating_scale import RatingScale
from artquant.labels.soft_labels import soft_labels
from artquant.texts.prompt import Prompt

if TYPE_CHECKING:
    from artquant.readouts import Readout

# How far a distribution's expectation may lie from the score, as a share of the width: 0.225 on the scale 1 to 10, 0.1
# on 1 to 5. Room for probabilities rounded to two decimals (0.14 on 1 to 10) and for DeQA-Score's rule, which keeps
# distributions whose mean it moved by up to 0.1.
EXPECTATION_TOLERANCE = 0.025
# A distribution of one word alone is a choice (one-hot labels), not a slip, if it is the score's word or a neighbour.
_ONE_HOT = 0.999
STD_ROOM = 0.02  # share of the width by which a standard deviation may exceed its bound: means are rounded
ATTRIBUTE_TOLERANCE = 0.001  # share of the width within which two values of an attribute are the same


class ScoreChecks:
    """Everything about scores; records are added one at a time, the rest comes at the end."""

    def __init__(self, scale: RatingScale, prompt: Prompt, readout: Readout | None = None) -> None:
        """readout: how scores are read, where it is known and not by the scale's words."""
        self.scale = scale
        self.prompt = prompt
        self.readout = readout
        self.width = scale.high - scale.low
        self._scores: dict[tuple[str, str, str | None], tuple[float, Place]] = {}
        self._rated: dict[tuple[str, str, str | None], Place] = {}  # file, picture, attribute: where first
        self._attributes: dict[str, tuple[dict[str, float], Place]] = {}
        # Attribute records of pictures whose attributes are not known yet: picture, attribute, score, place.
        self._waiting: list[tuple[str, str, float, Place]] = []
        self._ranges: dict[str, tuple[float, float, int]] = {}  # lowest, highest, number of scores by file
        self._unscored: dict[tuple[str, str], list[Place]] = {}  # records without a score of lists to be evaluated
        self._listed: dict[tuple[str, str], int] = {}

    def add(self, entry: Entry) -> Iterator[Finding]:
        """What is wrong with a record and with what it says beside earlier ones."""
        record = entry.record
        yield from self._std(entry)
        yield from check_votes(entry, self.scale)
        if record.gt_score is not None:
            self._count(entry.place.file, record.gt_score)
            attribute = record.attribute if isinstance(record, TrainingRecord) else None
            yield from self._conflict(entry, record.gt_score, attribute)
            if not isinstance(record, TrainingRecord) or record.task == "score":
                yield from self._twice(entry, attribute)
        if isinstance(record, TrainingRecord):
            if record.task == "score":
                for score in record.scores:
                    self._count(entry.place.file, score)
                for score, name in zip(record.scores, record.names, strict=False):
                    yield from self._conflict(entry, score, name)
                yield from self._distribution(entry, record)
                yield from self._targets(entry, record)
                yield from self._answer(entry, record)
        elif entry.source.split in ("validation", "test"):
            key = (entry.source.split, entry.place.file)
            self._listed[key] = self._listed.get(key, 0) + 1
            if record.gt_score is None:
                self._unscored.setdefault(key, []).append(entry.place)
        yield from self._attribute(entry)

    def finish(self) -> Iterator[Finding]:
        """What shows when everything has been read."""
        for rated in self._waiting:
            known = self._attributes.get(rated[0])
            if known is not None:
                yield from self._compare(rated, *known)
        for (split, file), places in self._unscored.items():
            count, total = len(places), self._listed[split, file]
            which = "no record has" if count == total else f"{count} of {total} records have no"
            message = f'{which} "gt_score"; predictions for it cannot be evaluated: add the scores'
            first = None if count == total else places[0]
            yield Finding("no-scores", message, file, first and first.record, first and first.id)
        for file, (low, high, count) in self._ranges.items():
            if low == high and count > 1:
                message = f"all {count} scores are {low:g}; nothing can be learned from them or compared with them"
                yield Finding("constant-scores", message, file)

    def range_of(self, file: str) -> tuple[float, float] | None:
        """Lowest and highest score of a file."""
        return self._ranges[file][:2] if file in self._ranges else None

    def _count(self, file: str, score: float) -> None:
        low, high, count = self._ranges.get(file, (math.inf, -math.inf, 0))
        self._ranges[file] = (min(low, score), max(high, score), count + 1)

    def _std(self, entry: Entry) -> Iterator[Finding]:
        """Scores within a scale spread at most sqrt((mean - low)(high - mean)), sqrt(2) times that for two raters.

        Bhatia and Davis (2000); the factor is the worst case of dividing by n - 1.
        """
        std, score = entry.record.std, entry.record.gt_score
        if std is None:
            return
        low, high = entry.source.score_range or (self.scale.low, self.scale.high)
        inner = (high - low) ** 2 / 4 if score is None else (score - low) * (high - score)
        bound = math.sqrt(2 * max(inner, 0.0)) + STD_ROOM * (high - low)
        if std > bound:
            of = "" if score is None else f" around {score:g}"
            message = (
                f'"std" {std:g} is more than scores of {low:g} to {high:g}{of} can spread ({bound:.3g}); correct it'
            )
            yield entry.finding("std", message)

    def _twice(self, entry: Entry, attribute: str | None) -> Iterator[Finding]:
        first = self._rated.setdefault((entry.place.file, entry.picture, attribute), entry.place)
        if first.id != entry.place.id:
            message = f"the picture of record {first.record} under another id ({first.id!r} there); keep one of them"
            yield entry.finding("picture-twice", message)

    def _conflict(self, entry: Entry, score: float, attribute: str | None) -> Iterator[Finding]:
        key = (entry.source.split, entry.picture, attribute)
        known, place = self._scores.setdefault(key, (score, entry.place))
        if abs(known - score) > ATTRIBUTE_TOLERANCE * self.width:
            what = "" if attribute is None else f" for {attribute}"
            message = f"score {score:g}{what}, but {known:g} for the same picture in {place}; keep the right one"
            yield entry.finding("conflicting-scores", message)

    def _distribution(self, entry: Entry, record: TrainingRecord) -> Iterator[Finding]:
        if record.level_probs is None or record.gt_score is None:
            return
        expectation = float(self.scale.expectation(record.level_probs))
        if abs(expectation - record.gt_score) <= EXPECTATION_TOLERANCE * self.width:
            return
        if self._is_one_hot(record.level_probs, record.gt_score):
            return
        message = (
            f'"level_probs" give {expectation:.3f}, "gt_score" is {record.gt_score:g}; compute the distribution again '
            "(artquant prepare generic does) or correct the score"
        )
        yield entry.finding("distribution", message)

    def _targets(self, entry: Entry, record: TrainingRecord) -> Iterator[Finding]:
        """Shares of values evenly over the readout's range."""
        low, high = (self.scale.low, self.scale.high) if self.readout is None else (self.readout.low, self.readout.high)
        for score, shares in zip(record.scores or (record.gt_score,), record.targets, strict=False):
            step = (high - low) / (len(shares) - 1)
            mean = math.fsum(share * (low + place * step) for place, share in enumerate(shares)) / math.fsum(shares)
            if score is not None and abs(mean - score) > EXPECTATION_TOLERANCE * self.width:
                message = (
                    f'"target" gives {mean:.3f} on {low:g} to {high:g}, "gt_score" is {score:g}; correct one of them'
                )
                yield entry.finding("distribution", message)

    def _is_one_hot(self, probs: tuple[float, ...], score: float) -> bool:
        """Whether all weight is on the score's word, or on the word whose value is nearest."""
        top = max(range(len(probs)), key=probs.__getitem__)
        nearest = min(self.scale.values, key=lambda value: abs(value - score))
        fits = self.scale.values[top] == nearest or self.scale.words[top] in self._words(score)
        return probs[top] >= _ONE_HOT and fits

    def _answer(self, entry: Entry, record: TrainingRecord) -> Iterator[Finding]:
        """Training derives the rating word from the score: an answer that says another is not learned as it stands."""
        if record.gt_score is None:
            return
        word = self._word(record.gt_score, record.level_probs)
        answers = (record.answer, *(told for _, told in record.rounds))
        if self.readout is not None and self.readout.several and any(word in told for told in answers):
            return  # it is learned as it stands
        wanted = self.prompt.rating_answer(word, record.attribute)
        answer = record.answer.strip()
        if answer == wanted:
            return
        if word in self.scale.words and any(
            answer == self.prompt.rating_answer(other, record.attribute) for other in self._words(record.gt_score)
        ):
            return  # by another rule than this run's, and no slip
        said = next((w for w in self.scale.words if answer == self.prompt.rating_answer(w, record.attribute)), None)
        if said is not None:
            message = f"the answer says {said!r}, the score {record.gt_score:g} is {word!r}; training uses the score's"
            yield entry.finding("answer-word", message + ": correct what is wrong")
        else:
            message = f"the answer is {answer[:80]!r}; training uses {wanted!r}: check prompt, subject and attribute"
            yield entry.finding("answer-form", message)

    def _word(self, score: float, probs: tuple[float, ...] | None) -> str:
        """What training's answer says: of rating words, unless a readout is named, the likeliest."""
        if self.readout is not None:
            return self.readout.word(score, None if probs is None else np.array(probs))
        return self._words(score)[1] if probs is None else self.scale.likeliest([probs])[0]

    def _words(self, score: float) -> list[str]:
        """The score's word by the published rule, and the likeliest of a Gaussian."""
        return [self.scale.word(score), *self.scale.likeliest(soft_labels([score], self.scale.values, clamp=True))]

    def _attribute(self, entry: Entry) -> Iterator[Finding]:
        values = _values(entry.item.get("attributes"))
        if values:
            self._attributes.setdefault(entry.picture, (values, entry.place))
        record = entry.record
        if not isinstance(record, TrainingRecord) or record.attribute is None or record.gt_score is None:
            return
        rated = (entry.picture, record.attribute, record.gt_score, entry.place)
        if record.attribute in values:
            yield from self._compare(rated, values, entry.place)
        elif entry.picture in self._attributes:
            yield from self._compare(rated, *self._attributes[entry.picture])
        else:
            self._waiting.append(rated)

    def _compare(
        self, rated: tuple[str, str, float, Place], values: dict[str, float], source: Place
    ) -> Iterator[Finding]:
        picture, attribute, score, place = rated
        value = values.get(attribute)
        if value is not None and abs(value - score) > ATTRIBUTE_TOLERANCE * self.width:
            where = "its own attributes" if source == place else f"the attributes in {source}"
            message = f"score {score:g} for {attribute}, but {value:g} in {where}; keep the right one"
            yield Finding("attribute-score", message, *place, picture=picture)


def _values(attributes: Any) -> dict[str, float]:
    """The numbers of an "attributes" object."""
    if not isinstance(attributes, dict):
        return {}
    found = {name: number_of(value) for name, value in attributes.items()}
    return {name: number for name, number in found.items() if number is not None and abs(number) <= LARGEST}

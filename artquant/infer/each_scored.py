"""Scores of many pictures, where one whose score is not finite keeps none of the others from theirs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image

from artquant.data.predictions import NotFinite
from artquant.errors import ArtQuantError
from artquant.infer.score import Score
from artquant.infer.scorer import Scorer

logger = logging.getLogger(__name__)

_NO_SCORE = "its score is not finite: it overflows in this number format; score it in float32"


class EachScored:
    """A scorer that says of a picture why it has no score, instead of refusing all of its batch.

    Where a GPU's memory is too small for a batch, it takes half as many at a time from then on.
    """

    def __init__(self, scorer: Scorer):
        self._scorer = scorer
        self._most: int | None = None  # pictures that fit; None: all so far

    def score_pictures(self, pictures: Sequence[Any], attributes: Sequence[str] = ()) -> list[Score | str]:
        """Scores of prepared pictures, as `Scorer.score_pictures` gives them, or why there is none.

        Raises:
            NotFinite: it is the model's fault: a plain grey picture has no score either.
            ArtQuantError: there is no memory for a single picture.
        """
        found: list[Score | str] = []
        while len(found) < len(pictures):
            part = pictures[len(found) : len(found) + (self._most or len(pictures))]
            try:
                found += self._fitting(part, attributes)
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise ArtQuantError(
                        f"{self._scorer.device}: its memory is too small for this model and one picture; free it, load "
                        "the model in bfloat16 or quantised, or name another device"
                    ) from None
                most = self._most = len(part) // 2
                logger.warning("%s: no memory for %d pictures; %d from now on", self._scorer.device, len(part), most)
        return found

    def _fitting(self, pictures: Sequence[Any], attributes: Sequence[str]) -> list[Score | str]:
        try:
            return list(self._scorer.score_pictures(pictures, attributes))
        except NotFinite:
            grey = self._scorer.processor.picture(Image.new("RGB", (64, 64), "grey"))
            self._scorer.score_pictures([grey], attributes)
        return [self._alone(picture, attributes) for picture in pictures]

    def _alone(self, picture: Any, attributes: Sequence[str]) -> Score | str:
        try:
            return self._scorer.score_pictures([picture], attributes)[0]
        except NotFinite:
            return _NO_SCORE


class EachDescribed(EachScored):
    """Scores with a column "description": the likeliest words about the picture, on a level; none without a score."""

    def __init__(self, scorer: Scorer, level: int, max_new_tokens: int):
        super().__init__(scorer)
        self._row = scorer.row(scorer.loaded.prompt.describing(level))
        self._tokens = max_new_tokens

    def _fitting(self, pictures: Sequence[Any], attributes: Sequence[str]) -> list[Score | str]:
        found = super()._fitting(pictures, attributes)
        good = [picture for picture, score in zip(pictures, found, strict=True) if not isinstance(score, str)]
        texts = iter(self._scorer.say([self._row] * len(good), good, self._tokens) if good else ())
        return [one if isinstance(one, str) else _with_text(one, next(texts)) for one in found]


def _with_text(score: Score, text: str) -> Score:
    return replace(score, columns={**score.columns, "description": text})

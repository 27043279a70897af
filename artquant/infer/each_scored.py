"""Scores of many pictures, where one whose score is not finite keeps none of the others from theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from artquant.data.predictions import NotFinite
from artquant.infer.score import Score
from artquant.infer.scorer import Scorer

_NO_SCORE = "its score is not finite: it overflows in this number format; score it in float32"


class EachScored:
    """A scorer that says of a picture why it has no score, instead of refusing all of its batch."""

    def __init__(self, scorer: Scorer):
        self._scorer = scorer

    def score_pictures(self, pictures: Sequence[Any], attributes: Sequence[str] = ()) -> list[Score | str]:
        """Scores of prepared pictures, as `Scorer.score_pictures` gives them, or why there is none.

        Raises:
            NotFinite: it is the model's fault: a plain grey picture has no score either.
        """
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

"""Putting a data set's scores on the scale of the rating words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.prepare.annotation import Annotation, PrepareError
from artquant.prepare.units import rounded


@dataclass(frozen=True)
class Fit:
    """How scores come from the data set's range onto the rating words' scale.

    Args:
        native: Lowest and highest score of the data set.
        levels: The rating words with their values.
        rule: "same": the ranges are equal. "rescale": linear map of one range onto the other. "clamp": scores outside
            the levels move to the nearest end, all others stay.

    Raises:
        ArtQuantError: The range differs from the levels' while the rule is "same".
    """

    native: tuple[float, float]
    levels: RatingScale
    rule: Literal["same", "rescale", "clamp"] = "same"

    def __post_init__(self) -> None:
        low, high = self.native
        if self.rule == "same" and self.native != (self.levels.low, self.levels.high):
            raise ArtQuantError(
                f"scores of {low:g} to {high:g} do not fit rating values of {self.levels.low:g} to "
                f"{self.levels.high:g}; --rescale maps one range onto the other, --clamp moves scores outside to the "
                "nearest end, --range and --levels name others"
            )

    def apply(self, annotation: Annotation) -> Annotation:
        """The annotation with score, standard deviation and attributes on the levels' scale.

        Raises:
            PrepareError: A score is outside the data set's range.
        """
        low, high = self.native
        for what, value in (("score", annotation.score), *annotation.attributes.items()):
            if not low <= value <= high:
                raise PrepareError(
                    f"{annotation.source}: {what} {value:g} is outside {low:g} to {high:g}; correct it, or name the "
                    "range with --range"
                )
        if self.rule == "same":
            return annotation
        std = annotation.std
        if std is not None and self.rule == "rescale":
            std = rounded(std * self._slope, self._width)
        attributes = {name: self.value(value) for name, value in annotation.attributes.items()}
        return replace(annotation, score=self.value(annotation.score), std=std, attributes=attributes)

    @property
    def _slope(self) -> float:
        return self._width / (self.native[1] - self.native[0])

    @property
    def _width(self) -> float:
        return self.levels.high - self.levels.low

    def value(self, value: float) -> float:
        """One value of the data set's scale on the levels' scale."""
        if self.rule == "rescale":
            value = rounded(self.levels.low + (value - self.native[0]) * self._slope, self._width)
        return min(max(value, self.levels.low), self.levels.high)


def choose_fit(
    native: tuple[float, float] | None,
    usual: tuple[float, float] | None,
    usual_levels: Sequence[float] | None,
    levels: Sequence[float] | None,
    words: Sequence[str],
    rule: Literal["same", "rescale", "clamp"],
) -> Fit:
    """The fit from what the user asked for and what the data set usually has.

    Args:
        native: The range the user named.
        usual: The data set's published range, where it is certain.
        usual_levels: The data set's published rating values; for the usual range and as many words.
        levels: Rating values the user named, best first.
        words: Rating words, best first.
        rule: As in `Fit`.

    Raises:
        ArtQuantError: No range is known, or it does not rise, or as `Fit` and `RatingScale`.
    """
    scale = RatingScale(tuple(words), tuple(levels)) if levels else None
    found = native or usual or ((scale.low, scale.high) if scale else None)
    if found is None:
        raise ArtQuantError("the range of the scores is not known; name it with --range LO,HI (such as --range 1,5)")
    low, high = found
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ArtQuantError(f"the range of scores must be two rising numbers LO,HI, got {low:g},{high:g}")
    if scale is None and usual_levels and found == usual and len(usual_levels) == len(words):
        scale = RatingScale(tuple(words), tuple(usual_levels))
    return Fit(found, scale or RatingScale.even(low, high, words), rule)

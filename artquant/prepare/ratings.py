"""One record per rater and picture (EVA, LAPIS, PARA): put together, with mean, deviation and votes."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from artquant.prepare.annotation import Annotation, PrepareError
from artquant.prepare.units import rounded

_MOST_VALUES = 21  # of ratings in whole numbers that are counted as votes
_Rated = tuple[tuple[str, float], ...]  # attributes


@dataclass
class _Picture:
    """The ratings of one picture, in columns."""

    first: Annotation
    scores: array[float] = field(default_factory=lambda: array("d"))
    attributes: list[_Rated] = field(default_factory=list)
    raters: list[str] = field(default_factory=list)

    def add(self, rating: Annotation, rater: str, attributes: _Rated) -> bool:
        """Take a rating up; False: its rater said the same before.

        Raises:
            PrepareError: The rater said something else before, or the picture was of another split.
        """
        if rating.split != self.first.split:
            raise PrepareError(
                f"{rating.source}: {rating.image!r} is of another split in {self.first.source}; keep one"
            )
        if rater and rater in self.raters:
            place = self.raters.index(rater)
            if (self.scores[place], self.attributes[place]) == (rating.score, attributes):
                return False
            raise PrepareError(
                f"{rating.source}: rater {rater!r} rates {rating.image!r} again and otherwise; take one of the two "
                "out, or count both: --per-rater instead of --rater-column"
            )
        self.scores.append(rating.score)
        self.attributes.append(attributes)
        self.raters.append(rater)
        return True

    def annotation(self, values: tuple[float, ...] | None, width: float) -> Annotation:
        """What the raters said together, on a scale of this width."""
        counts = Counter(self.scores)
        rated: dict[str, list[float]] = {}
        for attributes in self.attributes:
            for name, value in attributes:
                rated.setdefault(name, []).append(value)
        return replace(
            self.first,
            score=rounded(math.fsum(self.scores) / len(self.scores), width),
            std=rounded(float(np.std(self.scores)), width),
            votes=None if values is None else tuple(counts[value] for value in values),
            attributes={name: rounded(math.fsum(found) / len(found), width) for name, found in rated.items()},
            rater=None,
        )


def of_ratings(
    ratings: Iterable[Annotation], score_range: tuple[float, float], vote_values: Sequence[float] | None
) -> tuple[list[Annotation], tuple[float, ...] | None, list[str]]:
    """One annotation per picture: the mean of its ratings, their deviation (of the population), votes where they fit.

    Args:
        ratings: One person's score of one picture each, with the attributes that the person rated.
        score_range: Lowest and highest rating.
        vote_values: That a rating may have, rising; None: whole numbers, where the range and all ratings are such.

    Returns:
        The annotations in the order in which their pictures come first, the value of each vote or None, and notes.

    Raises:
        PrepareError: A rater rates a picture twice and differently, ratings of a picture name several splits or have a
            comment each, or a rating is none of the values or off the range.
    """
    values, low, high = _values(score_range, vote_values), *score_range
    pictures: dict[str, _Picture] = {}
    raters: dict[str, str] = {}  # the same ones again and again, held once
    rated: dict[_Rated, _Rated] = {}
    count = repeats = 0
    for rating in ratings:
        if rating.comment is not None:
            raise PrepareError(f"{rating.source}: a comment of each rater; leave out --comment-column")
        if not low <= rating.score <= high:
            raise PrepareError(
                f"{rating.source}: rating {rating.score:g} is outside {low:g} to {high:g}; correct it, or name the "
                "range with --range"
            )
        if values is not None and rating.score not in values:
            if vote_values is not None:
                raise PrepareError(f"{rating.source}: rating {rating.score:g} is none of --vote-values; correct one")
            values = None
        rater, attributes = rating.rater or "", tuple(rating.attributes.items())
        picture = pictures.setdefault(rating.image, _Picture(rating))
        added = picture.add(rating, raters.setdefault(rater, rater), rated.setdefault(attributes, attributes))
        count, repeats = count + added, repeats + (not added)
    made = [picture.annotation(values, high - low) for picture in pictures.values()]
    notes = [f"{count} ratings of {len(made)} pictures, {count / max(len(made), 1):.1f} each"]
    if repeats:
        notes.append(f"{repeats} ratings that repeat one of the same rater and picture are left out")
    if values is None:
        notes.append("the ratings are no whole numbers, so they are not counted as votes; --vote-values lists theirs")
    return made, values, notes


def _values(score_range: tuple[float, float], named: Sequence[float] | None) -> tuple[float, ...] | None:
    """What ratings may be, as far as range and user say."""
    low, high = score_range
    if named is not None:
        return tuple(named)
    if not (low.is_integer() and high.is_integer() and high - low < _MOST_VALUES):
        return None
    return tuple(float(value) for value in range(int(low), int(high) + 1))

"""One record per rater and picture (EVA, LAPIS, PARA): put together, with mean, deviation and votes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from artquant.prepare.annotation import Annotation, PrepareError

_DIGITS = 6  # of means and deviations, as of those of votes
_MOST_VALUES = 21  # of ratings in whole numbers that are counted as votes


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
        PrepareError: A rater rates a picture twice and differently, its ratings name several splits or have a comment
            each, or a rating is none of the values.
    """
    pictures: dict[str, list[Annotation]] = {}
    repeats = count = 0
    for rating in ratings:
        count += 1
        if rating.comment is not None:
            raise PrepareError(f"{rating.source}: a comment of each rater; leave out --comment-column")
        pictures.setdefault(rating.image, []).append(replace(rating, votes=None, std=None))
    values = _values(pictures, score_range, vote_values)
    made = []
    for given in pictures.values():
        own = _once(given)
        repeats += len(given) - len(own)
        made.append(_together(own, values))
    notes = [f"{count - repeats} ratings of {len(made)} pictures, {(count - repeats) / max(len(made), 1):.1f} each"]
    if repeats:
        notes.append(f"{repeats} ratings that repeat one of the same rater and picture are left out")
    if values is None:
        notes.append("the ratings are no whole numbers, so they are not counted as votes; --vote-values lists theirs")
    return made, values, notes


def _once(given: list[Annotation]) -> list[Annotation]:
    """The ratings of one picture, those of one rater that are the same only once."""
    if given[0].rater is None:
        return given
    first: dict[str | None, Annotation] = {}
    for rating in given:
        known = first.setdefault(rating.rater, rating)
        if replace(rating, source=known.source) != known:
            raise PrepareError(
                f"{rating.source}: rater {rating.rater!r} rates {rating.image!r} otherwise than in {known.source}; "
                "take one out, or count both: --per-rater instead of --rater-column"
            )
    return list(first.values())


def _values(
    pictures: dict[str, list[Annotation]], score_range: tuple[float, float], named: Sequence[float] | None
) -> tuple[float, ...] | None:
    ratings = (rating for given in pictures.values() for rating in given)
    if named is not None:
        strange = next((rating for rating in ratings if rating.score not in named), None)
        if strange is not None:
            raise PrepareError(f"{strange.source}: rating {strange.score:g} is none of --vote-values; correct one")
        return tuple(named)
    low, high = score_range
    whole = low.is_integer() and high.is_integer() and high - low < _MOST_VALUES
    if not whole or not all(rating.score.is_integer() and low <= rating.score <= high for rating in ratings):
        return None
    return tuple(float(value) for value in range(int(low), int(high) + 1))


def _together(given: list[Annotation], values: tuple[float, ...] | None) -> Annotation:
    first = given[0]
    for rating in given:
        if rating.split != first.split:
            raise PrepareError(f"{rating.source}: {rating.image!r} is of another split in {first.source}; keep one")
    scores = np.array([rating.score for rating in given])
    counts = Counter(scores.tolist())
    attributes: dict[str, list[float]] = {}
    for rating in given:
        for name, value in rating.attributes.items():
            attributes.setdefault(name, []).append(value)
    return replace(
        first,
        score=round(math.fsum(scores) / len(scores), _DIGITS),
        std=round(float(scores.std()), _DIGITS),
        votes=None if values is None else tuple(counts[value] for value in values),
        attributes={name: round(math.fsum(found) / len(found), _DIGITS) for name, found in attributes.items()},
        rater=None,
    )

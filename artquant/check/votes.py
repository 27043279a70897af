"""Votes against the score and the deviation that stand beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from artquant.check.findings import Finding
from artquant.check.sources import Entry
from artquant.config.requirements import LARGEST
from artquant.data.records import TrainingRecord
from artquant.labels.rating_scale import RatingScale

TOLERANCE = 0.025  # share of the scale's width: scores and deviations are rounded


def check_votes(entry: Entry, scale: RatingScale) -> Iterator[Finding]:
    """Whether the votes of a record give its score, and its deviation by either rule (n or n - 1 in the denominator).

    Votes are counts for the values that the card beside the file names, else for values evenly over the scale.
    """
    record, votes = entry.record, entry.item.get("votes")
    one_score = not isinstance(record, TrainingRecord) or record.attribute is None
    if record.gt_score is None or not one_score or not isinstance(votes, list) or len(votes) < 2:
        return
    if not all(isinstance(count, (int, float)) and 0 <= count <= LARGEST for count in votes) or not sum(votes):
        yield entry.finding("votes", '"votes" must be how many raters gave each value, none negative; correct them')
        return
    low, high = entry.source.score_range or (scale.low, scale.high)
    values = entry.source.vote_values
    if len(values) != len(votes):
        values = tuple(low + (high - low) * place / (len(votes) - 1) for place in range(len(votes)))
    number = math.fsum(votes)
    mean = math.fsum(count * value for count, value in zip(votes, values, strict=True)) / number
    spread = math.fsum(count * (value - mean) ** 2 for count, value in zip(votes, values, strict=True))
    room = TOLERANCE * (high - low)
    if abs(mean - record.gt_score) > room:
        message = f'"votes" on {values[0]:g} to {values[-1]:g} give {mean:.3f}, "gt_score" is {record.gt_score:g}'
        yield entry.finding("votes", f"{message}; correct one of them, or prepare the file again with its --range")
    elif record.std is not None:
        least, most = math.sqrt(spread / number), math.sqrt(spread / max(number - 1, 0.5 * number))
        if not least - room <= record.std <= most + room:
            message = f'"votes" spread by {least:.3f}, "std" is {record.std:g}; correct one of them'
            yield entry.finding("votes", message)

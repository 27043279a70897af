"""Whether scores, deviations and votes of a data set are in the unit that is said of them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from artquant.labels.soft_labels import VOTES_TOLERANCE
from artquant.prepare.annotation import Annotation, PrepareError
from artquant.prepare.tables import Table

if TYPE_CHECKING:
    from artquant.prepare.columns import Columns

_WIDEST = 0.52  # deviation as a share of the range: half of it at most, and some room for rounding
# Median deviation as a share of the range; people spread over 5 to 25 %, means of many over 1.4 %. On 1-5 people seldom
# spread over more than 1.25 in the median: such deviations are told where the scores are on 0-100.
_NARROWEST = 0.0125
_FEW = 10  # scores: if so many lie in one half of the range, that is no chance
_SMALL = 0.04  # median deviation as a share of the range, below which it may be that of means
_FILLED = 0.3  # share of the range that scores fill at least, if it is theirs (AVA, 50 pictures: 0.31; all: 0.75)
_FEWEST_RATERS = 5  # where votes are shares: a sample's deviation exceeds that of its votes by no more than 12 %
_ROWS = 50  # that are looked at to see whether columns are the votes
_DIGITS = 10  # of what is computed, where the range is up to 10 wide


def rounded(value: float, width: float) -> float:
    """A computed number with digits down to 1e-11 of the width: 7.5 does not become 7.500000000000001."""
    return round(value, _DIGITS + 1 - math.ceil(math.log10(width)))


def require_votes_deviation(std: float, votes: Sequence[float], values: np.ndarray, where: str) -> None:
    """Refuse a stated standard deviation that is not that of the votes, over their number or one less.

    Raises:
        PrepareError: With the record.
    """
    spread = vote_moments(votes, values)[1]
    room = VOTES_TOLERANCE * float(np.ptp(values))
    if not spread - room <= std <= spread * _sampled(sum(votes)) + room:
        raise PrepareError(
            f"{where}: standard deviation {std:g}, but that of the votes is {spread:.6g}; correct one, or go on with "
            "the votes' (--ignore-std)"
        )


def vote_moments(votes: Sequence[float], values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of votes."""
    shares = np.array(votes) / math.fsum(votes)
    mean = float(shares @ values)
    return mean, float(math.sqrt(shares @ (values - mean) ** 2))


def _sampled(count: float) -> float:
    """How much larger the deviation of a sample may be stated than that of its votes."""
    raters = max(count, 2.0) if count > 1.5 else float(_FEWEST_RATERS)
    return math.sqrt(raters / (raters - 1))


def require_units(
    table: Table, columns: Columns, annotations: Sequence[Annotation], score_range: tuple[float, float]
) -> None:
    """Refuse deviations that cannot be of scores on the range (KonIQ-10k: scores on 1-100, deviations on 1-5).

    Args:
        table: What was read.
        columns: Which column says what.
        annotations: Of the table, on its own scale.
        score_range: Said of the scores.

    Raises:
        PrepareError: A deviation is above half the range, or they are too small for it, or scores are off the range
            that the deviations are of; says what to type.
    """
    if columns.std is None or columns.votes:  # of votes each record is compared
        return
    stds = np.array([found.std for found in annotations if found.std is not None and found.votes is None])
    if not stds.size:
        return
    (low, high), some = score_range, stds[stds > 0] if stds.any() else stds
    wide, narrow = some.max() > _WIDEST * (high - low), np.median(some) < _NARROWEST * (high - low)
    votes = _vote_columns(table, columns.std)
    scores = [found.score for found in annotations]
    off = bool(votes) and not _are_means(table, votes, scores)
    if not (wide or narrow or off):
        return
    why = "deviations above half the range" if wide else f"most deviations under {_NARROWEST:.2%} of the range"
    advice = "give scores and deviations in one unit, or go on without them (--ignore-std)"
    if votes:
        advice = f"they are those of the votes: --range 1,{len(votes)} --vote-columns {','.join(votes)}"
    raise PrepareError(
        f"{table.path}: {columns.std!r} is {some.min():g} to {some.max():g} and {columns.score!r} {min(scores):g} to "
        f"{max(scores):g}, which is not both on {low:g} to {high:g}{f' ({why})' if wide or narrow else ''}; {advice}"
    )


def _vote_columns(table: Table, std: str) -> list[str]:
    """The columns NAME1 to NAMEn, if there are such and the stated deviations are those of votes for 1 to n."""
    numbered = [re.fullmatch(r"(.*?)(\d+)", name) for name in table.columns]
    for _, group in itertools.groupby((found for found in numbered if found), key=lambda found: found[1]):
        names = [found[0] for found in group]
        first = names[0].removesuffix("1")
        if len(names) < 3 or names != [f"{first}{count}" for count in range(1, len(names) + 1)]:
            continue
        if all(_is_deviation(row, names, std) for row in itertools.islice(table.rows, _ROWS)):
            return names
    return []


def _are_means(table: Table, votes: Sequence[str], scores: Sequence[float]) -> bool:
    """Whether the scores are means of votes for 1 to n, as far as rows are looked at."""
    values, room = np.arange(1.0, len(votes) + 1), VOTES_TOLERANCE * (len(votes) - 1)
    rows = zip(itertools.islice(table.rows, _ROWS), scores, strict=False)
    means = ((vote_moments([float(str(row[name])) for name in votes], values)[0], score) for row, score in rows)
    return all(abs(mean - score) <= room for mean, score in means)


def _is_deviation(row: dict[str, object], names: Sequence[str], std: str) -> bool:
    try:
        votes, stated = [float(str(row[name])) for name in names], float(str(row[std]))
        require_votes_deviation(stated, votes, np.arange(1.0, len(names) + 1), "")
    except (KeyError, ValueError, ZeroDivisionError, PrepareError):
        return False
    return True


def unit_notes(columns: Columns, annotations: Sequence[Annotation], score_range: tuple[float, float]) -> list[str]:
    """What to say where deviations are small for ratings, or the score may be one of which less is better.

    Args:
        columns: Which column says what.
        annotations: Of all files, on the data set's scale.
        score_range: Said of the scores.
    """
    notes = []
    stds = [found.std for found in annotations if found.std and found.votes is None]
    share = float(np.median(stds)) / (score_range[1] - score_range[0]) if stds and columns.std else 1.0
    if share < _SMALL:
        notes.append(
            f"{columns.std!r} is in the median {share:.1%} of the range, where raters spread over 5 to 25 %: if it is "
            "of means (standard errors) or in another unit, go on without (--ignore-std)"
        )
    if columns.score and "dmos" in columns.score.lower() and not columns.lower_is_better:
        notes.append(f"{columns.score!r} is taken as higher is better; if low is, as of most DMOS: --lower-is-better")
    return notes


def range_notes(scores: Sequence[float], score_range: tuple[float, float], words: Sequence[str]) -> list[str]:
    """What to say where scores fill little of the range that is said of them, or all fall on one word.

    Args:
        scores: Of all pictures, on the data set's scale.
        score_range: What is said to be its lowest and highest score.
        words: The rating words of the pictures.
    """
    low, high = min(scores), max(scores)
    filled = (high - low) / (score_range[1] - score_range[0])
    one_word, middle = len(set(words)) == 1, sum(score_range) / 2
    one_half = len(scores) >= _FEW and (high <= middle or low >= middle)
    if len(scores) < 2 or not (filled < _FILLED or one_word or one_half):
        return []
    all_on = f", all of them {words[0]!r}" if one_word else ""
    return [
        f"the scores are {low:g} to {high:g}, {filled:.0%} of the range {score_range[0]:g} to {score_range[1]:g}"
        f"{all_on}: if that is not the data set's own range, name it (--range LO,HI"
        f"{f', such as --range {low:g},{high:g}' if low < high else ''})"
    ]

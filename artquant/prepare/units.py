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
_NARROWEST = 0.01  # median deviation as a share of the range; people spread over 5 to 25 %, means of many over 1.4 %
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
    (low, high), some = score_range, stds[stds > 0]
    if not some.size:
        return
    wide, narrow = some.max() > _WIDEST * (high - low), np.median(some) < _NARROWEST * (high - low)
    votes = _vote_columns(table, columns.std)
    scores = [found.score for found in annotations]
    off = bool(votes) and not (low <= min(scores) and max(scores) <= high)
    if not (wide or narrow or off):
        return
    why = "deviations above half the range" if wide else "deviations under a hundredth of the range"
    advice = "give scores and deviations in one unit, or go on without them (--ignore-std)"
    if votes:
        advice = f"they are those of the votes: --range 1,{len(votes)} --vote-columns {','.join(votes)}"
    raise PrepareError(
        f"{table.path}: {columns.std!r} is {some.min():g} to {some.max():g} and {columns.score!r} {min(scores):g} to "
        f"{max(scores):g}, which is not both on {low:g} to {high:g}{'' if off and not wide else f' ({why})'}; {advice}"
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


def _is_deviation(row: dict[str, object], names: Sequence[str], std: str) -> bool:
    try:
        votes, stated = [float(str(row[name])) for name in names], float(str(row[std]))
        require_votes_deviation(stated, votes, np.arange(1.0, len(names) + 1), "")
    except (KeyError, ValueError, ZeroDivisionError, PrepareError):
        return False
    return True


def range_notes(scores: Sequence[float], score_range: tuple[float, float], words: Sequence[str]) -> list[str]:
    """What to say where scores fill little of the range that is said of them, or all fall on one word.

    Args:
        scores: Of all pictures, on the data set's scale.
        score_range: What is said to be its lowest and highest score.
        words: The rating words of the pictures.
    """
    low, high = min(scores), max(scores)
    filled = (high - low) / (score_range[1] - score_range[0])
    one_word = len(set(words)) == 1
    if len(scores) < 2 or not (filled < _FILLED or one_word):
        return []
    all_on = f", all of them {words[0]!r}" if one_word else ""
    return [
        f"the scores are {low:g} to {high:g}, {filled:.0%} of the range {score_range[0]:g} to {score_range[1]:g}"
        f"{all_on}: if that is not the data set's own range, name it (--range LO,HI, such as --range {low:g},{high:g})"
    ]

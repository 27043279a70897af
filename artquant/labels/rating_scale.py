"""Rating scales: the words that stand for a score, and the value of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from artquant.errors import ArtQuantError

if TYPE_CHECKING:
    import numpy as np  # loaded where it is needed: the command line shows its help without

RATING_WORDS = ("excellent", "good", "fair", "poor", "bad")  # as published, best first
WORD_RULES = ("likeliest", "published")  # which word a text answer says: of the target the likeliest, or `word`'s


@dataclass(frozen=True)
class RatingScale:
    """Rating words and the score that each stands for, best first.

    Args:
        words: K >= 2 different words.
        values: K strictly falling finite numbers, in the unit of the data set's scores.

    Raises:
        ArtQuantError: fewer than two words, an empty or repeated word, lengths that differ, or values that do not fall.
    """

    words: tuple[str, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        words, values = tuple(self.words), tuple(self.values)
        if len(words) < 2 or len(words) != len(values):
            raise ArtQuantError(
                f"a rating scale needs two or more words with a value each: got {len(words)} words, "
                f"{len(values)} values"
            )
        if not all(isinstance(word, str) and word.strip() for word in words) or len(set(words)) != len(words):
            raise ArtQuantError(f"rating words must be text and differ from each other: {list(words)}")
        try:
            values = tuple(float(value) for value in values)
        except (TypeError, ValueError, OverflowError):
            raise ArtQuantError(f"rating values must be numbers: {list(values)}") from None
        if not (all(math.isfinite(value) for value in values) and math.isfinite(values[0] - values[-1])):
            raise ArtQuantError(f"rating values must be finite: {list(values)}")
        if any(above <= below for above, below in pairwise(values)):
            raise ArtQuantError(f"rating values must fall from the best word to the worst: {list(values)}")
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "values", values)

    @classmethod
    def even(cls, low: float, high: float, words: Sequence[str] = RATING_WORDS) -> RatingScale:
        """Evenly spaced values: `high` for the first word, `low` for the last; both exact.

        Raises:
            ArtQuantError: as the constructor; in particular `low` is not below `high`.
        """
        steps = max(len(words) - 1, 1)
        inner = [high + (low - high) * step / steps for step in range(1, steps)]
        return cls(tuple(words), (high, *inner, low))

    @property
    def low(self) -> float:
        """The lowest score."""
        return self.values[-1]

    @property
    def high(self) -> float:
        """The highest score."""
        return self.values[0]

    @property
    def thresholds(self) -> tuple[float, ...]:
        """A word is given to scores above its threshold, K - 1 values; the last word has none."""
        return self.values[1:]

    def word(self, score: float) -> str:
        """The word for a score: the first whose threshold lies below it, else the last (published rule).

        A score equal to a threshold gets the lower word. On APDDv2: bad up to 1, poor up to 3.5, fair up to 5, good up
        to 7.5, excellent above.

        Raises:
            ArtQuantError: the score is not finite.
        """
        if not math.isfinite(score):
            raise ArtQuantError(f"score {score} has no rating word: give a finite number")
        above = (word for word, threshold in zip(self.words, self.thresholds, strict=False) if score > threshold)
        return next(above, self.words[-1])

    def likeliest(self, shares: np.ndarray | Sequence[Sequence[float]]) -> list[str]:
        """The likeliest word of each row of shares [N, K]; of equally likely ones the better."""
        import numpy as np

        from artquant.labels.rules import likeliest

        return [self.words[place] for place in likeliest(np.asarray(shares, dtype=np.float64))]

    def expectation(self, shares: np.ndarray | Sequence[float]) -> np.ndarray:
        """The scores [...] that shares of the words [..., K] stand for; each row sums to 1."""
        import numpy as np

        return np.asarray(shares, dtype=np.float64) @ np.array(self.values)

    def moments(self, shares: np.ndarray | Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Expectation and standard deviation [...] over the words, of shares [..., K]."""
        import numpy as np

        mean = self.expectation(shares)
        variance = (np.asarray(shares) * (np.array(self.values) - mean[..., None]) ** 2).sum(axis=-1)
        return mean, np.sqrt(variance)


APDD_SCALE = RatingScale(RATING_WORDS, (10.0, 7.5, 5.0, 3.5, 1.0))  # APDDv2, scores of 1 to 10

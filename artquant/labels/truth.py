"""What is known of true scores, however a data set says it.

Legend: N scores, K values of which shares are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Truths:
    """Of N scores: mean, standard deviation and shares of the values, NaN where one is not known.

    mean, std: [N], on the data set's scale. shares: [N, K], how much of the votes (or of the distribution over the
    rating words) is on each value; a row of NaN: not known. values: [K], what the shares are of, on the same scale.
    """

    mean: np.ndarray
    std: np.ndarray
    shares: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, places: np.ndarray | list[int]) -> Truths:
        """Some of the scores, by an index array or a mask."""
        return Truths(self.mean[places], self.std[places], self.shares[places], self.values)

    @classmethod
    def of_means(cls, means: np.ndarray) -> Truths:
        """Scores of which the mean [N] alone is known."""
        means = np.asarray(means, dtype=np.float64)
        return cls(means, np.full(len(means), np.nan), np.zeros((len(means), 0)), np.zeros(0))

    @property
    def has_shares(self) -> np.ndarray:
        """[N] bool: whether the shares are known."""
        return ~np.isnan(self.shares).any(axis=1) if self.shares.shape[1] else np.zeros(len(self), dtype=bool)

    def means(self) -> np.ndarray:
        """[N]: the means; where they are not known, those of the shares."""
        return np.where(np.isnan(self.mean) & self.has_shares, self.shares @ self.values, self.mean)

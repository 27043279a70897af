"""Pairs of pictures for a rank loss: two scores of one data set whose order is known (DeQA-Score, pair training)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from artquant.batches.order import EpochSampler
from artquant.errors import ArtQuantError

_DRAWS = 64  # of a partner, before those that are left are looked for one by one


class _Pool:
    """Score records that may be paired with each other: of one data set, about the same attribute.

    Args:
        members: [n] indices of the records; a record that comes twice an epoch is named twice.
        scores, pictures: of each of them.
    """

    def __init__(self, members: np.ndarray, scores: np.ndarray, pictures: np.ndarray):
        order = np.argsort(scores, kind="stable")
        self.members, self.scores, self.pictures = members[order], scores[order], pictures[order]
        # In this order the members with the same score stand together: those of another are all before and after.
        self._first_tie = np.searchsorted(self.scores, self.scores, side="left")
        self._ties = np.searchsorted(self.scores, self.scores, side="right") - self._first_tie
        _, picture, of_picture = np.unique(self.pictures, return_inverse=True, return_counts=True)
        both = picture.astype(np.int64) * len(members) + self._first_tie
        _, place, of_both = np.unique(both, return_inverse=True, return_counts=True)
        partners = len(members) - self._ties - of_picture[picture] + of_both[place]
        self._paired = np.flatnonzero(partners)
        self.alone = self.members[partners == 0]

    def __len__(self) -> int:
        return len(self._paired)

    def pairs(self, draw: np.random.Generator) -> np.ndarray:
        """[P, 2]: every member that has a possible partner, and one of its partners, each as likely as the others."""
        partner = np.zeros(len(self), dtype=np.int64)
        left = np.arange(len(self))
        for _ in range(_DRAWS):
            first = self._paired[left]
            found = draw.integers(0, len(self.members) - self._ties[first])
            partner[left] = np.where(found < self._first_tie[first], found, found + self._ties[first])
            left = left[self.pictures[partner[left]] == self.pictures[first]]
            if not left.size:
                break
        for number in left:
            first = self._paired[number]
            fits = (self.scores != self.scores[first]) & (self.pictures != self.pictures[first])
            partner[number] = draw.choice(np.flatnonzero(fits))
        return np.stack([self.members[self._paired], self.members[partner]], axis=1)


class PairSampler(EpochSampler):
    """Order of the samples in each epoch, score records in pairs; a function of seed and epoch alone.

    Every score record is the first of a pair once an epoch. Its partner is drawn from the same data set and, in records
    about attributes, the same attribute; it shows another picture and has another score. A record without any such
    partner, and every description, comes alone, two of them in a row, so that batches of an even size hold whole pairs
    (an odd one comes last in the epoch).

    Yields (index, number of the pair) for the two of a pair, one after the other, and the index for what comes alone.

    Args:
        parts: index arrays, one per data set (repeated or sampled by weight already).
        seed: of every shuffle.
        scores: of each record [N]; NaN: a description.
        pictures: a number for the picture of each record [N].
        attributes: a number for the attribute of each record [N].

    Raises:
        ArtQuantError: no pair can be made.
    """

    def __init__(
        self,
        parts: Sequence[np.ndarray],
        seed: int,
        scores: np.ndarray,
        pictures: np.ndarray,
        attributes: np.ndarray,
    ):
        super().__init__(parts, seed)
        scores = np.asarray(scores, dtype=np.float32)  # as the loss sees them: what it cannot tell apart is no pair
        self._pools: list[_Pool] = []
        alone = [np.zeros(0, dtype=np.int64)]
        for part in self.parts:
            scored = part[~np.isnan(scores[part])]
            alone.append(part[np.isnan(scores[part])])
            for attribute in np.unique(attributes[scored]):
                members = scored[attributes[scored] == attribute]
                self._pools.append(_Pool(members, scores[members], pictures[members]))
        self.alone = np.concatenate([*alone, *(pool.alone for pool in self._pools)])
        if not self.number_of_pairs:
            raise ArtQuantError(
                "no pairs can be made: no two score records of a data set (about the same attribute) show different "
                "pictures with different scores; check the data, or set pairs: false"
            )

    @property
    def number_of_pairs(self) -> int:
        """Pairs in every epoch."""
        return sum(map(len, self._pools))

    def __len__(self) -> int:
        return 2 * self.number_of_pairs + len(self.alone)

    def __iter__(self) -> Iterator[int | tuple[int, int]]:
        draw = np.random.default_rng([self.seed, self.epoch])
        pairs = np.concatenate([pool.pairs(draw) for pool in self._pools])
        swapped = draw.random(len(pairs)) < 0.5  # which of the two comes first says nothing
        pairs[swapped] = pairs[swapped, ::-1]
        alone = draw.permutation(self.alone)
        in_twos = alone[: len(alone) // 2 * 2]
        twos = np.concatenate([pairs, in_twos.reshape(-1, 2)])
        for number in draw.permutation(len(twos)).tolist():
            first, second = twos[number].tolist()
            if number < len(pairs):
                yield (first, number)
                yield (second, number)
            else:
                yield first
                yield second
        yield from alone[len(in_twos) :].tolist()

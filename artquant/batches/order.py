"""In which order samples come, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch


class EpochSampler(torch.utils.data.Sampler[int | tuple[int, int]]):
    """Order of the samples in each epoch; a function of seed and epoch alone, so that a resumed run repeats it.

    Args:
        parts: index arrays, one per data set (repeated or sampled by weight already).
        seed: of every shuffle.
        in_order: the parts one after the other (levels 1, 2, 3), each shuffled; otherwise all mixed.
        lengths: of each sample, in any unit, to put samples of similar length into the same batches; None: do not.
        group_size: samples of a forward pass over all ranks, the grain of grouping by length.
    """

    def __init__(
        self,
        parts: Sequence[np.ndarray],
        seed: int,
        in_order: bool = False,
        lengths: np.ndarray | None = None,
        group_size: int = 1,
    ):
        self.parts = [np.asarray(part, dtype=np.int64) for part in parts]
        self.seed = seed
        self.in_order = in_order
        self.lengths = lengths
        self.group_size = group_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __iter__(self) -> Iterator[int | tuple[int, int]]:
        draw = np.random.default_rng([self.seed, self.epoch])
        order = np.concatenate([np.zeros(0, dtype=np.int64), *(draw.permutation(part) for part in self.parts)])
        if not self.in_order:
            order = draw.permutation(order)
            if self.lengths is not None:
                order = self._grouped(order, draw)
        return map(int, order)

    def _grouped(self, order: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """Sort by length within stretches of 50 groups, then shuffle the groups.

        The group with the longest sample comes first: if memory runs out, it does so at once. What fills no group comes
        last.
        """
        lengths = np.asarray(self.lengths)
        stretch = 50 * self.group_size
        order = np.concatenate(
            [
                part[np.argsort(-lengths[part], kind="stable")]
                for part in np.split(order, range(stretch, len(order), stretch))
            ]
        )
        whole = len(order) - len(order) % self.group_size  # only the last stretch can hold a group that is not full
        groups = draw.permutation(order[:whole].reshape(-1, self.group_size))
        if len(groups):
            longest = int(lengths[groups].max(axis=1).argmax())
            groups = np.concatenate([groups[longest : longest + 1], groups[:longest], groups[longest + 1 :]])
        return np.concatenate([groups.reshape(-1), order[whole:]])


def weighted_indices(offset: int, size: int, weight: float, seed: int) -> np.ndarray:
    """Indices of one data set: the whole part of the weight repeats it, the fraction samples it (at least one)."""
    whole, fraction = int(weight), weight - int(weight)
    everything = np.arange(offset, offset + size)
    sampled = round(fraction * size)
    if sampled == 0 and whole == 0:
        sampled = 1
    draw = np.random.default_rng([seed, offset])
    return np.concatenate([np.tile(everything, whole), draw.choice(everything, sampled, replace=False)])

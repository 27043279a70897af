"""Texts that are nearly the same, among many.

Alike are two texts by the Jaccard index of their sets of two words in a row: the share that both have of those that
either has. Min-wise hashes (Broder 1997) in bands name candidates, of which the index is then computed; a pair at the
least likeness shares a band with a chance of 99.6 %. The work grows as the number of texts, copies of one another or
not: in a band, a text is compared with the one before it and with the first of those that share its hashes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from artquant.texts.words import Shingles, Tokens, shingles_of, tokenized

LIKENESS = 0.7
_RUN = 2  # words
_BANDS, _ROWS = 20, 4  # at a likeness of 0.7 a pair shares a band with a chance of 1 - (1 - 0.7^4)^20
_BLOCK = 1 << 21  # hashes at a time


def near_duplicates(texts: Sequence[str], likeness: float = LIKENESS) -> list[list[int]]:
    """Groups of indices of texts that are nearly the same, the largest first.

    A text is in the group of any that it is like, so two of a group may be like a third only. Texts without a word are
    in none.

    Args:
        texts: in any language; capitals and punctuation do not count.
        likeness: least Jaccard index of a pair, 0.5 to 1; below, pairs are missed.
    """
    return near_duplicates_of(tokenized(texts), likeness)


def near_duplicates_of(tokens: Tokens, likeness: float = LIKENESS) -> list[list[int]]:
    """As :func:`near_duplicates`, of texts whose words are known."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    shingles = shingles_of(tokens, _RUN)
    filled = np.flatnonzero(np.diff(shingles.starts))
    signatures = _signatures(shingles, filled)
    group = np.arange(len(tokens.lengths))
    for band in range(_BANDS):
        pairs = _candidates(signatures, band, filled)
        pairs = pairs[group[pairs[:, 0]] != group[pairs[:, 1]]]
        alike = pairs[_likeness(shingles, pairs) >= likeness]
        if len(alike):
            ends = group[alike]
            graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(group), len(group)))
            group = connected_components(graph, directed=False)[1][group]
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else []
    return sorted((part.tolist() for part in parts if len(part) > 1), key=lambda part: (-len(part), part))


def _signatures(shingles: Shingles, filled: np.ndarray) -> np.ndarray:
    """Hashes of each band of each text that has words: uint64 [filled, _BANDS]."""
    factors = np.random.default_rng(0).integers(1, 1 << 63, (_BANDS, _ROWS), dtype=np.uint64) * 2 + 1
    found = np.zeros((len(filled), _BANDS), np.uint64)
    starts, last = shingles.starts, 0
    while last < len(filled):
        first, begin = last, starts[filled[last]]
        last = max(first + 1, int(np.searchsorted(starts[filled + 1], begin + _BLOCK, side="right")))
        hashes = shingles.hashes[begin : starts[filled[last - 1] + 1]]
        at = starts[filled[first:last]] - begin
        for band in range(_BANDS):
            for factor in factors[band]:
                least = np.minimum.reduceat(hashes * factor, at)
                found[first:last, band] = found[first:last, band] * np.uint64(0x9E3779B97F4A7C15) + least
    return found


def _candidates(signatures: np.ndarray, band: int, filled: np.ndarray) -> np.ndarray:
    """Pairs [P, 2] of texts with the same hashes in a band."""
    keys = signatures[:, band]
    order = np.lexsort((signatures[:, band - 1], keys))  # what is alike in another band too stands together
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1]) + 1
    is_first = np.ones(len(order), bool)
    is_first[same] = False
    firsts = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    before = np.stack([order[same - 1], order[same]], axis=1)
    with_first = np.stack([order[firsts[same]], order[same]], axis=1)
    return filled[np.concatenate([before, with_first[firsts[same] != same - 1]])]


def _likeness(shingles: Shingles, pairs: np.ndarray) -> np.ndarray:
    """The Jaccard index [P] of pairs [P, 2]."""
    sizes = np.diff(shingles.starts)
    both = sizes[pairs].sum(axis=1)
    common = np.zeros(len(pairs), np.int64)
    last, ends = 0, np.cumsum(both)
    while last < len(pairs):
        first = last
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + _BLOCK)))
        counts = sizes[pairs[first:last]].ravel()
        numbers = np.repeat(np.arange(last - first), both[first:last])
        shift = np.repeat(shingles.starts[pairs[first:last]].ravel() - (np.cumsum(counts) - counts), counts)
        hashes = shingles.hashes[np.arange(len(shift)) + shift]
        order = np.lexsort((hashes, numbers))
        numbers, hashes = numbers[order], hashes[order]
        twice = (numbers[1:] == numbers[:-1]) & (hashes[1:] == hashes[:-1])
        common[first:last] = np.bincount(numbers[1:][twice], minlength=last - first)
    return common / np.maximum(both - common, 1)

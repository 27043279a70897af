"""Finding copies of pictures: the same file twice, or nearly the same picture.

Nearly the same means: re-encoded, resized, brightened or reduced in colour by a little. Cropped, mirrored or repainted
pictures are not found. Two steps: a 64-bit perceptual hash names candidates (DCT of the luminance, signs about the
median: Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010), then colour thumbnails of
16 x 16 pixels decide.

Legend: N pictures, S side of a thumbnail.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from artquant.check.pictures import THUMBNAIL_SIDE, grey_thumbnails

# Bits in which two hashes may differ. One less than a hash has bytes, so that two such hashes share a byte in some
# place, by which candidates are found. Of 6,600 altered copies of drawn pictures (JPEG quality 20 to 95, half to 1.7
# times the size, 10 % lower, brightness and contrast +-10 %, colour -20 %) one differs in 8 bits, none in more.
HAMMING_DISTANCE = 7
# Thumbnails as colour vectors, their means removed. Such copies correlate by at least 0.988; of 1.6 million pairs of
# different drawn pictures, those with similar hashes by at most 0.969.
CORRELATION = 0.98
# Mean absolute difference, of 255, after mean and contrast are matched. Copies at most 5.0, others from 8.9.
DIFFERENCE = 7.0
_CONTRAST = (0.75, 1.33)  # by which contrast may differ
_FLAT = 3.0  # standard deviation, of 255, below which a thumbnail shows nothing that could be compared
_ROWS = 1 << 22  # pairs compared at a time


def perceptual_hashes(thumbnails: np.ndarray) -> np.ndarray:
    """Thumbnails, uint8 [N, S, S, 3] -> hashes, uint64 [N]."""
    k = np.arange(THUMBNAIL_SIDE, dtype=np.float32)
    basis = np.cos(np.pi * (2 * k + 1) * k[:, None] / (2 * THUMBNAIL_SIDE))[:8]  # [8, S], lowest frequencies
    hashes = np.empty(len(thumbnails), dtype=np.uint64)
    for start in range(0, len(thumbnails), 4096):
        part = slice(start, start + 4096)
        spectrum = (basis @ grey_thumbnails(thumbnails[part]) @ basis.T).reshape(-1, 64)
        spectrum[:, 0] = 0  # the mean, which brightness changes
        above = spectrum > np.median(spectrum[:, 1:], axis=1, keepdims=True)
        hashes[part] = np.packbits(above, axis=1).view(np.uint64)[:, 0]
    return hashes


def groups_of_copies(digests: list[bytes], thumbnails: np.ndarray) -> list[list[int]]:
    """Indices of pictures that are copies of each other, exact or near; each group and the groups ascending.

    Args:
        digests: Of the N files; equal for equal files.
        thumbnails: uint8 [N, S, S, 3].
    """
    leader = np.arange(len(digests))  # of each picture's group
    first: dict[bytes, int] = {}
    for index, digest in enumerate(digests):
        leader[index] = first.setdefault(digest, index)
    # One of each set of equal files; of these only what shows something.
    distinct = np.fromiter(first.values(), dtype=np.int64, count=len(first))
    spread = np.concatenate([_spread(thumbnails[part]) for part in _parts(distinct)]) if len(distinct) else np.zeros(0)
    compared = distinct[spread >= _FLAT]
    hashes = perceptual_hashes(thumbnails[compared])
    for left, right in _candidates(hashes):
        _join_same(leader, thumbnails, compared[left], compared[right])
    groups: dict[int, list[int]] = {}
    for index in range(len(leader)):
        groups.setdefault(_leader(leader, index), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _parts(indices: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(indices), 4096):
        yield indices[start : start + 4096]


def _spread(thumbnails: np.ndarray) -> np.ndarray:
    return grey_thumbnails(thumbnails).reshape(len(thumbnails), THUMBNAIL_SIDE**2).std(axis=1)


def _candidates(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of places whose hashes differ in at most HAMMING_DISTANCE bits; a pair may come more than once."""
    octets = hashes.view(np.uint8).reshape(-1, 8)
    for place in range(8):
        order = np.argsort(octets[:, place], kind="stable")
        edges = np.searchsorted(octets[order, place], np.arange(257))
        for low, high in pairwise(edges):
            bucket = order[low:high]
            yield from _close_pairs(hashes[bucket], bucket)


def _close_pairs(hashes: np.ndarray, bucket: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    step = max(1, _ROWS // max(1, len(hashes)))
    for start in range(0, len(hashes) - 1, step):
        rows = hashes[start : start + step, None]
        left, right = np.nonzero(np.bitwise_count(rows ^ hashes[None, start:]) <= HAMMING_DISTANCE)
        ahead = right > left  # both counted from `start`
        if ahead.any():
            yield bucket[start + left[ahead]], bucket[start + right[ahead]]


def _join_same(leader: np.ndarray, thumbnails: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """Join the groups of those pairs that look the same; pairs within a group are not looked at again."""
    for start in range(0, len(left), 4096):
        part = slice(start, start + 4096)
        leader[:] = leader[leader]
        apart = leader[left[part]] != leader[right[part]]
        first, second = left[part][apart], right[part][apart]
        same = look_the_same(thumbnails[first], thumbnails[second])
        for pair in zip(first[same], second[same], strict=True):
            _join(leader, *map(int, pair))


def look_the_same(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether thumbnails, uint8 [N, S, S, 3] each, show the same picture: bool [N]."""
    a, b = (array.reshape(len(array), THUMBNAIL_SIDE**2, 3).astype(np.float32) for array in (first, second))
    a, b = (array - array.mean(axis=1, keepdims=True) for array in (a, b))
    product, square_a, square_b = ((x * y).sum(axis=(1, 2)) for x, y in ((a, b), (a, a), (b, b)))
    correlation = product / np.sqrt(np.maximum(square_a * square_b, 1e-6))
    contrast = product / np.maximum(square_b, 1e-6)
    low, high = _CONTRAST
    rest = np.abs(a - np.clip(contrast, low, high)[:, None, None] * b).mean(axis=(1, 2))
    return (correlation >= CORRELATION) & (rest <= DIFFERENCE)


def _leader(leader: np.ndarray, index: int) -> int:
    while leader[index] != index:
        leader[index] = leader[leader[index]]
        index = int(leader[index])
    return index


def _join(leader: np.ndarray, first: int, second: int) -> None:
    first, second = _leader(leader, first), _leader(leader, second)
    leader[max(first, second)] = min(first, second)

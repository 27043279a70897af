"""Finding copies of pictures: the same file twice, or the same picture in another form.

The same picture means: re-encoded, resized, brightened or reduced in colour by a little, made grey, mirrored, turned by
quarters, framed by lines of one colour, cropped by up to a twentieth of each side - and several of these together.
Repainted pictures are not found. Two steps: a 64-bit perceptual hash names candidates (DCT of the luminance, signs
about the median: Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010), taken of each
picture as it is, and as if it were cropped and turned; then colour thumbnails decide, moved to where they fit best.

Legend: N pictures; M thumbnails, one or two a picture; S side of a thumbnail; V side at which they are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from artquant.check.thumbnails import SIDE, grey

# Bits in which two hashes may differ. One less than a hash has bytes, so that two such hashes share a byte in some
# place, by which candidates are found.
HAMMING_DISTANCE = 7
# Thumbnails as colour vectors, their means removed: the least correlation and, after mean and contrast are matched, the
# greatest mean absolute difference, of 255, of two that show the same. Of 1.1 million pairs of different drawn pictures
# the likest has 0.978 and 7.6; where a crop is fitted, 0.986 and 6.1. Cropped copies differ by at most 3.2.
_SAME = (0.98, 7.0)
_SAME_CROPPED = (0.97, 4.5)
_NEAR = 0.85  # correlation from which on moving the crop may help
_CONTRAST = (0.75, 1.33)  # by which contrast may differ
_FLAT = 3.0  # standard deviation, of 255, below which a thumbnail shows nothing that could be compared
_GREY = 2.0  # mean distance, of 255, of the colours from their grey, below which a thumbnail has no colour
_VIEW = 16  # V
_ROWS = 1 << 22  # pairs compared at a time

Crop = tuple[float, ...]  # shares cut off left, top, right, bottom
_WHOLE: Crop = (0.0, 0.0, 0.0, 0.0)
_CUT = 0.05


class Form(NamedTuple):
    """A way in which a copy may differ: cropped, then transposed, then its rows and columns reversed."""

    crop: Crop
    transposed: bool
    upside_down: bool
    mirrored: bool


def _crops() -> Iterator[Crop]:
    yield _WHOLE
    yield (_CUT / 2,) * 4
    for left, top, right, bottom in product((0, 1), repeat=4):
        if 0 < left + top + right + bottom < 3 and not (left and right) and not (top and bottom):
            yield _CUT * left, _CUT * top, _CUT * right, _CUT * bottom
    yield (_CUT,) * 4


FORMS = tuple(Form(crop, *turn) for crop in _crops() for turn in product((False, True), repeat=3))


def groups_of_copies(digests: Sequence[bytes], thumbnails: np.ndarray, owners: np.ndarray) -> list[list[int]]:
    """Indices of pictures that are copies of each other, exact or in another form; each group and the groups ascending.

    Args:
        digests: Of the N files; equal for equal files.
        thumbnails: uint8 [M, S, S, 3].
        owners: int64 [M]: the picture of each.
    """
    leader = np.arange(len(digests))  # of each picture's group
    first: dict[bytes, int] = {}
    for index, digest in enumerate(digests):
        leader[index] = first.setdefault(digest, index)
    # One of each set of equal files; of these only what shows something.
    compared = np.flatnonzero((leader[owners] == owners) & (_spread(thumbnails) >= _FLAT))
    near = _Near()
    for forms, left, right in _candidates(*_hashes(thumbnails, compared)):
        for form in np.unique(forms).tolist():
            one, other = (compared[places[forms == form]] for places in (left, right))
            _join_same(leader, owners, thumbnails, form, one, other, near)
    for here, there, form in near.best():
        pair = int(owners[here]), int(owners[there])
        apart = _leader(leader, pair[0]) != _leader(leader, pair[1])
        if apart and _fit(thumbnails[[here]], thumbnails[[there]], FORMS[form]):
            _join(leader, *pair)
    groups: dict[int, list[int]] = {}
    for index in range(len(leader)):
        groups.setdefault(_leader(leader, index), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, 4096):
        yield slice(start, min(start + 4096, count))


def _spread(thumbnails: np.ndarray) -> np.ndarray:
    found = [grey(thumbnails[part]).reshape(-1, SIDE**2).std(axis=1) for part in _parts(len(thumbnails))]
    return np.concatenate([np.zeros(0, np.float32), *found])


@lru_cache(maxsize=4096)
def _window(start: float, end: float) -> np.ndarray:
    """float32 [V, S]: the means over V equal parts of what is left of S pixels when these shares are cut off."""
    edges = SIDE * (start + (1 - start - end) * np.arange(_VIEW + 1) / _VIEW)
    pixels = np.arange(SIDE)
    weights = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(weights, 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _hashes(thumbnails: np.ndarray, compared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes in every form, uint64 [len(FORMS), M], and the plain ones, [M]; of the thumbnails at these places."""
    hashes = np.empty((len(FORMS), len(compared)), dtype=np.uint64)
    k = np.arange(_VIEW, dtype=np.float32)
    basis = np.cos(np.pi * (2 * k + 1) * k[:8, None] / (2 * _VIEW))  # [8, V], lowest frequencies
    for part in _parts(len(compared)):
        shown = grey(thumbnails[compared[part]])
        for number, form in enumerate(FORMS):
            if not (form.transposed or form.upside_down or form.mirrored):
                left, top, right, bottom = form.crop
                spectrum = (basis @ _window(top, bottom)) @ shown @ (basis @ _window(left, right)).T
            hashes[number, part] = _signs(_turned_spectrum(spectrum, form))
    return hashes, hashes[0]


def _turned_spectrum(spectrum: np.ndarray, form: Form) -> np.ndarray:
    """[M, 8, 8]: reversing a picture changes the signs of its odd frequencies."""
    alternating = np.where(np.arange(8) % 2, -1, 1).astype(np.float32)
    turned = spectrum.transpose(0, 2, 1) if form.transposed else spectrum
    turned = turned * alternating[:, None] if form.upside_down else turned
    return turned * alternating if form.mirrored else turned


def _signs(spectrum: np.ndarray) -> np.ndarray:
    flat = spectrum.reshape(-1, 64).copy()
    flat[:, 0] = 0  # the mean, which brightness changes
    above = flat > np.median(flat[:, 1:], axis=1, keepdims=True)
    return np.packbits(above, axis=1).view(np.uint64)[:, 0]


def _candidates(queries: np.ndarray, hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Form and places of pairs in `queries` [F, M] and `hashes` [M] that differ in few bits, each pair once."""
    asked = queries.reshape(-1)
    for place in range(8):
        order, edges = _by_octet(asked, place)
        there, bounds = _by_octet(hashes, place)
        for (low, high), (start, end) in zip(pairwise(edges), pairwise(bounds), strict=True):
            for one, other in _close_pairs(asked, order[low:high], hashes, there[start:end]):
                form, left = np.divmod(one, len(hashes))
                octets = (asked[one] ^ hashes[other]).view(np.uint8).reshape(-1, 8)
                new = (left != other) & octets[:, :place].all(axis=1)  # not found by an octet before
                if new.any():
                    yield form[new], left[new], other[new]


def _by_octet(hashes: np.ndarray, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Places in the order of one byte of the hashes, and where each of its values begins, int64 [257]."""
    octets = np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, 8)[:, place]
    order = np.argsort(octets, kind="stable")
    return order, np.searchsorted(octets[order], np.arange(257))


def _close_pairs(
    asked: np.ndarray, some: np.ndarray, hashes: np.ndarray, others: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    step = max(1, _ROWS // max(1, len(others)))
    for start in range(0, len(some) if len(others) else 0, step):
        rows = some[start : start + step]
        left, right = np.nonzero(np.bitwise_count(asked[rows, None] ^ hashes[others]) <= HAMMING_DISTANCE)
        yield rows[left], others[right]


class _Near:
    """Pairs that nearly look the same, each with the form in which they do most."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], tuple[float, int]] = {}

    def add(self, first: np.ndarray, second: np.ndarray, correlation: np.ndarray, form: int) -> None:
        """Note pairs [M] of one form."""
        for one, other, value in zip(first.tolist(), second.tolist(), correlation.tolist(), strict=True):
            if value > self._found.get((one, other), (0.0, 0))[0]:
                self._found[one, other] = (value, form)

    def best(self) -> list[tuple[int, int, int]]:
        """Each pair with its form, the likest first."""
        ordered = sorted(self._found.items(), key=lambda found: (-found[1][0], found[0]))
        return [(first, second, form) for (first, second), (_, form) in ordered]


def _join_same(
    leader: np.ndarray,
    owners: np.ndarray,
    thumbnails: np.ndarray,
    form: int,
    left: np.ndarray,
    right: np.ndarray,
    near: _Near,
) -> None:
    """Join the groups of those pairs that look the same; pairs within a group are not looked at again."""
    for part in _parts(len(left)):
        leader[:] = leader[leader]
        apart = leader[owners[left[part]]] != leader[owners[right[part]]]
        first, second = left[part][apart], right[part][apart]
        one, other = _comparable(thumbnails[first], thumbnails[second])
        correlation, rest = _likeness(_turned(_view(one, FORMS[form].crop), FORMS[form]), _view(other, _WHOLE))
        least, most = _SAME if FORMS[form].crop == _WHOLE else _SAME_CROPPED
        same = (correlation >= least) & (rest <= most)
        for pair in zip(owners[first[same]], owners[second[same]], strict=True):
            _join(leader, *map(int, pair))
        may = ~same & (correlation >= _NEAR)
        near.add(first[may], second[may], correlation[may], form)


def _comparable(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thumbnails, uint8 [M, S, S, 3] each, as float32 [M, 3, S, S]; without colour where one of a pair has none."""
    one, other = (images.transpose(0, 3, 1, 2).astype(np.float32) for images in (first, second))
    colourless = np.minimum(_colour(one), _colour(other)) < _GREY
    for images, thumbnails in ((one, first), (other, second)):
        images[colourless] = grey(thumbnails[colourless])[:, None]
    return one, other


def _colour(images: np.ndarray) -> np.ndarray:
    return np.abs(images - images.mean(axis=1, keepdims=True)).mean(axis=(1, 2, 3))


def _view(images: np.ndarray, crop: Crop) -> np.ndarray:
    """[M, 3, S, S] -> what is left of them, [M, 3, V, V]."""
    left, top, right, bottom = crop
    return _window(top, bottom) @ images @ _window(left, right).T


def _turned(images: np.ndarray, form: Form) -> np.ndarray:
    images = images.transpose(0, 1, 3, 2) if form.transposed else images
    images = images[..., ::-1, :] if form.upside_down else images
    return images[..., ::-1] if form.mirrored else images


def _likeness(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation, and what differs after mean and contrast are matched, [M] each; of views [M, 3, V, V]."""
    a, b = (images - images.mean(axis=(2, 3), keepdims=True) for images in (first, second))
    both, square_a, square_b = ((x * y).sum(axis=(1, 2, 3)) for x, y in ((a, b), (a, a), (b, b)))
    contrast = np.clip(both / np.maximum(square_b, 1e-6), *_CONTRAST)
    rest = np.abs(a - contrast[:, None, None, None] * b).mean(axis=(1, 2, 3))
    return both / np.sqrt(np.maximum(square_a * square_b, 1e-6)), rest


def _fit(first: np.ndarray, second: np.ndarray, form: Form) -> bool:
    """Whether two thumbnails, [1, S, S, 3] each, look the same at the crop near the form's that fits best."""
    one, other = _comparable(first, second)
    other = _view(other, _WHOLE)
    crop, best = list(form.crop), (-1.0, 255.0)
    for step in (_CUT / 2, _CUT / 4):
        for side in range(4):
            for cut in {max(0.0, crop[side] + move) for move in (-step, 0.0, step)}:
                tried = [*crop[:side], cut, *crop[side + 1 :]]
                correlation, rest = _likeness(_turned(_view(one, tuple(tried)), form), other)
                if correlation[0] > best[0]:
                    crop, best = tried, (float(correlation[0]), float(rest[0]))
            if best[0] >= _SAME_CROPPED[0] and best[1] <= _SAME_CROPPED[1]:
                return True
    return False


def _leader(leader: np.ndarray, index: int) -> int:
    while leader[index] != index:
        leader[index] = leader[leader[index]]
        index = int(leader[index])
    return index


def _join(leader: np.ndarray, first: int, second: int) -> None:
    first, second = _leader(leader, first), _leader(leader, second)
    leader[max(first, second)] = min(first, second)

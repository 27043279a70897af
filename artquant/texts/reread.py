"""The score of a picture re-read from its text, without a model: ridge regression on the words, cross-validated.

Features of a text are its words and its pairs of words in a row, hashed to 2^16 places; lengths do not count (rows have
norm 1). A picture's fold goes by its name, so a text is never read by what was learned from its own picture, in this
set or in another.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from artquant.texts.words import Tokens, shingles_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FEWEST = 20  # texts with a score to learn from
FOLDS = 5
_FEATURES = 1 << 16
_PENALTY = 1.0  # of the squared weights, against squared errors of scores
_STEPS = 60


class Learned(NamedTuple):
    """What each fold's other folds taught, and the mean of all scores.

    The mean is one for all folds: the mean of the others is low where a fold's own scores are high, so that texts which
    tell nothing would seem to contradict their scores.
    """

    weights: np.ndarray  # [FOLDS, _FEATURES]
    mean: float


def word_features(tokens: Tokens) -> csr_array:
    """Words and pairs of words of N texts: [N, _FEATURES], rows of norm 1."""
    from scipy.sparse import csr_array, diags_array

    shape = len(tokens.lengths), _FEATURES
    found = csr_array(shape)
    for size in (1, 2):
        shingles = shingles_of(tokens, size)
        places = (shingles.hashes % np.uint64(_FEATURES)).astype(np.int32)
        found = found + csr_array((np.ones(len(places)), places, shingles.starts), shape)
    norms = np.sqrt((found * found).sum(axis=1))
    return diags_array(1 / np.maximum(norms, 1e-9)) @ found


def learn(features: csr_array, scores: np.ndarray, images: Sequence[str]) -> Learned | None:
    """Ridge regressions from texts to scores [N] (NaN: unknown), one a fold; None: too few texts have a score."""
    from scipy.sparse.linalg import lsqr

    known, folds = np.isfinite(scores), _folds(images)
    if known.sum() < FEWEST:
        return None
    weights = np.zeros((FOLDS, _FEATURES))
    for fold in range(FOLDS):
        rows = np.flatnonzero(known & (folds != fold))
        if len(rows):
            centred = scores[rows] - scores[rows].mean()
            weights[fold] = lsqr(features[rows], centred, damp=_PENALTY**0.5, iter_lim=_STEPS)[0]
    return Learned(weights, float(scores[known].mean()))


def read_scores(learned: Learned, features: csr_array, images: Sequence[str]) -> np.ndarray:
    """Scores [N] that texts tell of, each by what other pictures taught."""
    folds = _folds(images)
    found = np.zeros(len(folds))
    for fold in range(FOLDS):
        rows = np.flatnonzero(folds == fold)
        found[rows] = features[rows] @ learned.weights[fold] + learned.mean
    return np.round(found, 9)  # of texts that are all alike, rounding alone would make an order


def _folds(images: Sequence[str]) -> np.ndarray:
    return np.array([zlib.crc32(image.encode("utf-8", "surrogatepass")) % FOLDS for image in images], np.int64)

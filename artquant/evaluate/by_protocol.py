"""What is reported of predictions by a protocol, beside the figures of every evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from artquant.data.fields import number_of
from artquant.errors import ArtQuantError
from artquant.evaluate.distances import earth_movers_distance
from artquant.evaluate.join import Joined
from artquant.evaluate.protocols import (
    Protocol,
    ScoreForm,
    marked,
    marks_of,
    protocol_record,
    require_protocol,
)
from artquant.labels.rating_scale import RatingScale
from artquant.labels.soft_labels import VOTES_TOLERANCE


class _Shares(NamedTuple):
    """Predicted distributions over words."""

    words: tuple[str, ...]  # [L]
    table: np.ndarray  # [N, L], each row sums to 1


@dataclass(frozen=True)
class ByProtocol:
    """A protocol, how the list differs from its own (empty: not at all) and what is known by raw votes."""

    protocol: Protocol
    marks: tuple[str, ...]
    EMD: float | None  # r = 2, mean over pictures
    no_EMD: str | None  # why there is none, where the protocol's votes are published
    votes_std: np.ndarray | None  # [N], standard deviation of the raw votes

    def mark(self) -> str | None:
        """What every table says of figures that are not the protocol's."""
        return marked(self.protocol, self.marks) if self.marks else None

    def threshold(self, truth: np.ndarray) -> float | None:
        """The protocol's, if true scores [N] can be on its scale."""
        form = self.protocol.forms[0]
        return self.protocol.threshold if form.low <= truth.min() and truth.max() <= form.high else None

    def record(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        distances = {"EMD": self.EMD, "no_EMD": self.no_EMD}
        return protocol_record(self.protocol) | {"marks": list(self.marks), "mark": self.mark()} | distances


def by_protocol(protocol: Protocol, joined: Joined, mark: bool, values: RatingScale | None, where: str) -> ByProtocol:
    """Whether a list is the protocol's, and the distances from raw votes.

    Args:
        mark: let a list that is not pass, marked.
        values: of the words that predicted shares are of; None: the words say their values ("1", "2", ...).
        where: what errors begin with.

    Raises:
        ArtQuantError: the list is not the protocol's, or its votes are not those of its scores.
    """
    n = len(joined.truth) + len(joined.missing)
    if not len(joined.truth):
        raise ArtQuantError(f"{where}: none of its pictures is predicted; give the predictions of this list")
    if not mark:
        require_protocol(protocol, joined.truth, n, where)
    found, form = marks_of(protocol, joined.truth, n), _voted(protocol, joined)
    if form is None or form.votes is None or joined.votes is None:
        published = any(one.votes for one in protocol.forms)
        return ByProtocol(protocol, found, None, "the truth holds no raw votes" if published else None, None)
    vote_values = np.array(form.votes)
    mean, std = _moments(joined.votes, vote_values)
    off = np.abs(mean - joined.truth)
    if off.max() > VOTES_TOLERANCE * form.width:
        worst = int(off.argmax())
        raise ArtQuantError(
            f"{where}: {joined.ids[worst]!r} has votes with mean {mean[worst]:.4g}, but gt_score "
            f"{joined.truth[worst]:.4g}; correct the truth file"
        )
    emd, why = _emd(joined, vote_values, values, form.width)
    return ByProtocol(protocol, found, emd, why, std)


def _voted(protocol: Protocol, joined: Joined) -> ScoreForm | None:
    """The protocol's scale on which its votes are, if the truth has as many of them."""
    count = 0 if joined.votes is None else joined.votes.shape[1]
    return next((form for form in protocol.forms if form.votes and len(form.votes) == count), None)


def _moments(shares: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shares = shares / shares.sum(axis=1, keepdims=True)
    mean = shares @ values
    return mean, np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))


def _emd(
    joined: Joined, vote_values: np.ndarray, scale: RatingScale | None, width: float
) -> tuple[float | None, str | None]:
    """The mean distance, or why there is none."""
    shares = _shares([one.prediction.columns for one in joined.pictures])
    if shares is None or joined.votes is None:
        return None, "the predictions hold no distribution (probs)"
    values = _values(shares.words, scale)
    if values is None:
        return None, "the values of the predicted words are not known (--weights)"
    off = np.abs(shares.table @ values - joined.predicted).max()
    if off > 0.01 * width:
        return None, "the predicted distribution is not on the scale of the votes: its mean is not the score"
    return float(earth_movers_distance(joined.votes, vote_values, shares.table, values).mean()), None


def _values(words: tuple[str, ...], scale: RatingScale | None) -> np.ndarray | None:
    if scale is not None and set(words) == set(scale.words):
        of = dict(zip(scale.words, scale.values, strict=True))
        return np.array([of[word] for word in words])
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        return None
    return values if np.isfinite(values).all() and len(set(values.tolist())) == len(values) else None


def _shares(columns: Sequence[Mapping[str, Any]]) -> _Shares | None:
    """The predicted distributions, as the lines say them ("probs", or "logits" of which the softmax is taken)."""
    from scipy.special import softmax

    for key in ("probs", "logits"):
        found = [one.get(key) for one in columns]
        known = [dict(one) for one in found if isinstance(one, Mapping)]
        if not known or len(known) < len(found) or any(one.keys() != known[0].keys() for one in known):
            continue
        words = tuple(known[0])
        values = [[number_of(one[word]) for word in words] for one in known]
        if any(value is None or not math.isfinite(value) for row in values for value in row):
            continue
        table = np.array(values, dtype=np.float64)
        if key == "logits":
            return _Shares(words, softmax(table, axis=1))
        if (table >= 0).all() and (table.sum(axis=1) > 0).all():
            return _Shares(words, table / table.sum(axis=1, keepdims=True))
    return None

"""What a cascade costs: a first model sees all pictures, a second what survives and a random sample of the others.

The figures are of all pictures that the first model scored. A survivor stands for itself, a sampled picture for as many
of the others as there are for each sampled one (a stratified sample; Cochran, Sampling Techniques, chapter 5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from artquant.compare.resampling import weighed_srcc
from artquant.data.fields import RecordError
from artquant.errors import ArtQuantError
from artquant.evaluate.join import read_truth
from artquant.evaluate.metrics import Estimate
from artquant.evaluate.report import aligned, interval_text
from artquant.listing.only import draw_of, id_key, read_keys, unknown_ids
from artquant.listing.table_rows import column_rows, listed_ids

_BEST = {f"survived of the best {share:.0%} by the second model": share for share in (0.01, 0.05, 0.10)}
_LOSS = ("SRCC of cascade and second model", "SRCC of first and second model", *_BEST)
_TRUTH = ("SRCC of cascade and truth", "SRCC of second model and truth", "SRCC of first model and truth")
_ENDS = (0.025, 0.975)  # of an interval
_FEW = 100  # sampled pictures

Figures = Callable[[np.ndarray], np.ndarray]  # weights [N] -> figures [K]


@dataclass(frozen=True)
class Cascade:
    """What a cascade did and what it costs; counts are of pictures.

    survivors, others: that the first model scored. survivors_scored, sampled: those of them that the second did, too.
    srcc_of_scored: of both models on these as they are. figures: of the collection, with 95 % intervals.
    """

    first: int
    second: int
    survivors: int
    survivors_scored: int
    others: int
    sampled: int
    srcc_of_scored: float
    figures: dict[str, Estimate]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Pictures:
    """N pictures that the first model scored; NaN: no score by the second."""

    first: np.ndarray
    second: np.ndarray
    survives: np.ndarray

    def where(self, chosen: np.ndarray) -> _Pictures:
        return _Pictures(self.first[chosen], self.second[chosen], self.survives[chosen])

    @property
    def scored(self) -> np.ndarray:
        """Whether by both models."""
        return ~np.isnan(self.second)

    @property
    def survivors(self) -> int:
        """How many."""
        return int(self.survives.sum())

    @property
    def others(self) -> int:
        """How many."""
        return len(self.survives) - self.survivors

    def order(self) -> np.ndarray:
        """The cascade's: survivors by the second model, above all others by the first."""
        first, second = (np.unique(one, return_inverse=True)[1] for one in (self.first, self.second))
        return np.where(self.survives, len(first) + second, first).astype(np.float64)


def judge_cascade(
    first: Path, second: Path, only: Path, truth: Path | None = None, resamples: int = 1000, seed: int = 0
) -> Cascade:
    """How far a cascade's order is the second model's own, and which of its best pictures survived.

    Args:
        first, second: tables with `id` and `score`, as `shard merge` writes them. only: ids of the survivors.
        truth: records with `gt_score` of some of the pictures. resamples: for the intervals; 0: none.

    Raises:
        ArtQuantError: a table cannot be read or has an id twice, a survivor or a picture of the second is none of the
            first's, none of the others was sampled, or an order cannot be told as all scores are equal.
    """
    keys, scores = _table(first)
    own_keys, own_scores = _table(second)
    survivors = read_keys(only)
    for file, its in ((only, survivors), (second, own_keys)):
        if len(unknown := np.setdiff1d(its, keys)):
            raise unknown_ids(file, unknown, first)
    survives = np.isin(keys, survivors, assume_unique=True)
    pictures = _Pictures(scores, _joined(keys, own_keys, own_scores), survives)
    known = ~np.isnan(scores)
    others = keys[known & ~survives]
    notes = _notes(others, np.isin(others, own_keys, assume_unique=True))
    found = pictures.where(known)
    both = found.where(found.scored)
    _require_sample(found, both, first, second)
    alike = float(weighed_srcc(both.first[None], both.second)(np.ones((1, len(both.first))))[0, 0])
    figures = _estimates(found, _LOSS, _loss(both), resamples, seed)
    for name, share in _BEST.items():
        figures[name] = _opened(figures[name], share * len(found.first), both.others / found.others)
    if truth is not None:
        true = _joined(keys, *_truth(truth, keys))
        known &= ~np.isnan(true)
        figures |= _against(pictures.where(known), true[known], truth, resamples, seed)
    counts = found.survivors, both.survivors, found.others, both.others
    return Cascade(len(keys), len(own_keys), *counts, alike, figures, notes)


def _table(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Keys of a table's ids, sorted, and their scores; NaN: there is none."""

    def rows() -> Iterator[tuple[int, float]]:
        for fields in column_rows(file, ("id", "score")):
            identity, score = fields.id(), fields.number("score")
            fields.refuse()
            yield id_key(identity), math.nan if score is None else score

    found = np.fromiter(rows(), [("key", np.uint64), ("score", np.float64)])
    found.sort(order="key")
    keys = found["key"].copy()
    if len(twice := keys[1:][keys[1:] == keys[:-1]]):
        name = next(one for one in listed_ids(file) if id_key(one) == twice[0])
        raise RecordError(f"{file}: the id {name!r} stands in it twice; name a table in which each picture stands once")
    return keys, found["score"].copy()


def _truth(file: Path, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = {id_key(one.id): one.gt_score for one in read_truth(file).values()}
    true_keys = np.fromiter(found, np.uint64)
    among = np.isin(true_keys, keys)
    return true_keys[among], np.fromiter(found.values(), np.float64)[among]


def _joined(keys: np.ndarray, own_keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values by key, all of which are among the sorted keys; NaN where there is none."""
    found = np.full(len(keys), np.nan)
    found[np.searchsorted(keys, own_keys)] = values
    return found


def _require_sample(found: _Pictures, both: _Pictures, first: Path, second: Path) -> None:
    if not found.others:
        raise ArtQuantError(f"{first}: all of its pictures survived: such a first pass saves nothing and loses nothing")
    if not both.others:
        raise ArtQuantError(
            f"{second}: holds none of the others' scores; a cascade's loss cannot be told without --sample (artquant "
            "shard plan INPUT --only IDS --sample N)"
        )
    if not both.survivors:
        raise ArtQuantError(f"{second}: holds no survivor's score; score them first")
    for file, scores in ((first, both.first), (second, both.second)):
        _require_order(file, scores)


def _require_order(file: Path, scores: np.ndarray) -> None:
    if np.ptp(scores) == 0:
        raise ArtQuantError(f"{file}: the scores of all pictures that count are equal, which is no order; check them")


def _loss(both: _Pictures) -> Figures:
    """The figures of `_LOSS`."""
    srcc = weighed_srcc(np.stack([both.order(), both.first]), both.second)
    _, group = np.unique(-both.second, return_inverse=True)  # equal scores stand and fall together

    def best(weights: np.ndarray) -> list[float]:
        held, kept = np.bincount(group, weights), np.bincount(group, weights * both.survives)
        shares = np.divide(kept, held, out=np.zeros_like(kept), where=held > 0)
        end = np.cumsum(held)
        wanted = [share * end[-1] for share in _BEST.values()]
        return [float(np.clip(most - end + held, 0, held) @ shares) / most for most in wanted]

    return lambda weights: np.array([*srcc(weights[None])[0], *best(weights)])


def _against(found: _Pictures, true: np.ndarray, truth: Path, resamples: int, seed: int) -> dict[str, Estimate]:
    """The figures of `_TRUTH`, of pictures with true scores."""
    both, true = found.where(found.scored), true[found.scored]
    if not (both.survivors and both.others):
        what = "survivor" if both.others else "sampled picture of the others"
        raise ArtQuantError(f"{truth}: has a true score of no {what}; name records of more pictures, or sample more")
    _require_order(truth, true)
    srcc = weighed_srcc(np.stack([both.order(), both.second, both.first]), true)
    return _estimates(found, _TRUTH, lambda weights: srcc(weights[None])[0], resamples, seed)


def _estimates(
    found: _Pictures, names: Sequence[str], figures: Figures, resamples: int, seed: int
) -> dict[str, Estimate]:
    """Figures of all pictures from those with both scores; how far another sample would move them.

    A resample draws a sample, without putting back, from a collection made of the sample's pictures, each as often as
    it stands for one (Gross 1980; Booth, Butler and Hall 1994): a sample of everybody leaves nothing open.
    """
    survives = found.survives[found.scored]
    lots = np.flatnonzero(~survives)
    weights = np.where(survives, found.survivors / survives.sum(), found.others / len(lots))
    rng, drawn = np.random.default_rng(seed), np.empty((resamples, len(names)))
    for row in drawn:
        places = rng.choice(found.others, len(lots), replace=False, shuffle=False) % len(lots)
        counts = np.bincount(rng.permutation(len(lots))[places], minlength=len(lots))
        again = weights.copy()
        again[lots] *= counts
        row[:] = figures(again)
    values = map(float, figures(weights))
    if not resamples:
        return dict(zip(names, map(Estimate, values), strict=True))
    ends = np.nanquantile(drawn, _ENDS, axis=0).T.tolist()
    return {name: Estimate(value, *pair) for name, value, pair in zip(names, values, ends, strict=True)}


def _opened(survived: Estimate, best: float, sampled: float) -> Estimate:
    """An interval where no sampled picture is among the best, which resamples take for certain.

    With m pictures lost of all others, of which a share s was sampled, none of them shows up with a probability of at
    most (1 - s)^m.
    """
    if survived.low is None or survived.value < 1 - 1e-9 or sampled == 1:
        return survived
    lost = math.log(_ENDS[0]) / math.log1p(-sampled)
    return replace(survived, low=max(0.0, 1 - lost / best))


def _notes(others: np.ndarray, is_sampled: np.ndarray) -> tuple[str, ...]:
    """What is to be known of a sample, by the keys of all others that the first model scored."""
    count, draws = int(is_sampled.sum()), np.fromiter(map(draw_of, others.tolist()), np.uint64)
    found = []
    if count < min(_FEW, len(others)):
        found.append(f"only {count} of the others were sampled; some hundreds narrow the intervals")
    if count and (lacking := int((draws <= draws[is_sampled].max()).sum()) - count):
        found.append(
            f"the sample is not that of --sample N ({lacking} that it draws earlier are lacking); the figures hold if "
            "it was drawn at random all the same, or if these cannot be read"
        )
    return tuple(found)


def as_text(found: Cascade) -> str:
    """Counts, figures with their intervals, notes."""
    lines = [
        f"first model: {found.first} pictures, {found.survivors + found.others} with a score",
        f"second model: {found.second} pictures ({found.second / found.first:.1%}): {found.survivors_scored} of "
        f"{found.survivors} survivors and {found.sampled} of {found.others} others with a score",
        f"SRCC of both models on these {found.survivors_scored + found.sampled}: {found.srcc_of_scored:.4f}",
        "",
    ]
    rows = [["of the whole collection", "estimate", "95 %"]]
    rows += [[name, f"{one.value:.4f}", interval_text(one.low, one.high)] for name, one in found.figures.items()]
    lines += aligned(rows)
    if any(one.low is not None for one in found.figures.values()):
        lines += ["", "95 %: how far another sample of the others would move the estimate (bootstrap)"]
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])

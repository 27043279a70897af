"""What a report is about: the pictures of one or several predictions files, with people's scores where they are known.

Legend: M = predictions files, N = pictures of any of them, A = attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artquant.data.predictions import PredictedPicture, read_origin, read_predictions
from artquant.errors import ArtQuantError
from artquant.evaluate.join import Joined
from artquant.evaluate.report import Evaluation, evaluation_of, run_evaluation

_LEAST = 3  # pictures with a true score, for figures


@dataclass(frozen=True)
class Judged:
    """One predictions file. truth: its pictures' true scores, NaN where one is not known."""

    name: str
    path: Path
    ids: tuple[str, ...]
    pictures: tuple[PredictedPicture, ...]
    truth: np.ndarray
    evaluation: Evaluation | None  # None: too few true scores are known
    origin: Mapping[str, Any]  # what it was made with, as far as that is noted beside it


@dataclass(frozen=True)
class Gathered:
    """All pictures of a report, each with what every file says of it; NaN: nothing."""

    ids: tuple[str, ...]  # [N]
    images: tuple[str, ...]  # [N]
    scores: np.ndarray  # [M, N]
    deviations: np.ndarray  # [M, N]
    truth: np.ndarray  # [N]
    attributes: tuple[str, ...]
    predicted: np.ndarray  # [N, A], of the first file
    rated: np.ndarray  # [N, A]

    @property
    def off(self) -> np.ndarray:
        """[N], by how much the first file's scores are above the true ones."""
        return self.scores[0] - self.truth


def read_judged(
    predictions: Sequence[Path], truth: Path | None, evaluation: Mapping[str, Any], bootstrap: int, seed: int
) -> list[Judged]:
    """Read predictions files and evaluate them where true scores are known: by a file, or by their own lines.

    Args:
        evaluation: further arguments of `artquant.evaluate.report.run_evaluation`.
        bootstrap, seed: as there.

    Raises:
        ArtQuantError: a file that cannot be used, holds nothing, or is named twice.
    """
    if len({path.resolve() for path in predictions}) < len(predictions):
        raise ArtQuantError("the same predictions file is named twice; name each once")
    if truth is not None:
        pairs = [(path, truth) for path in predictions]
        return evaluated(run_evaluation(pairs, bootstrap=bootstrap, seed=seed, **evaluation))
    return [_alone(path, name, bootstrap, seed) for path, name in zip(predictions, _names(predictions), strict=True)]


def evaluated(evaluations: Sequence[Evaluation]) -> list[Judged]:
    """What was evaluated."""
    names = _names([one.predictions for one in evaluations])
    return [
        Judged(
            name,
            one.predictions,
            one.joined.ids,
            one.joined.pictures,
            one.joined.truth,
            one,
            read_origin(one.predictions),
        )
        for one, name in zip(evaluations, names, strict=True)
    ]


def _alone(path: Path, name: str, bootstrap: int, seed: int) -> Judged:
    """Without a file of true scores: those that the lines themselves tell."""
    found = read_predictions(path)
    if not found:
        raise ArtQuantError(f"{path}: holds no predictions; score pictures first")
    pictures = tuple(found.values())
    truth = np.array([np.nan if one.gt_score is None else one.gt_score for one in pictures])
    evaluation = _by_lines(path, found, truth, bootstrap, seed) if np.isfinite(truth).sum() >= _LEAST else None
    return Judged(name, path, tuple(found), pictures, truth, evaluation, read_origin(path))


def _by_lines(
    path: Path, found: Mapping[str, PredictedPicture], truth: np.ndarray, bootstrap: int, seed: int
) -> Evaluation:
    known = {name: one for name, one in found.items() if one.gt_score is not None}
    scores = np.array([one.prediction.score for one in known.values()])
    spreads = [one.prediction.std for one in known.values()]
    spread = None if None in spreads else np.array(spreads, np.float64)
    truth = truth[np.isfinite(truth)]
    rest = tuple(name for name in found if name not in known)
    joined = Joined(tuple(known), scores, truth, spread, None, (), rest, {}, {}, pictures=tuple(known.values()))
    return evaluation_of(path, path, joined, {"bootstrap": bootstrap, "seed": seed})


def _names(paths: Sequence[Path]) -> list[str]:
    """Short names that differ."""
    for parts in range(1, 1 + max(len(path.parts) for path in paths)):
        names = ["/".join(path.with_suffix("").parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def gather(judged: Sequence[Judged]) -> Gathered:
    """The pictures of all files, in the order in which they come."""
    places: dict[str, int] = {}
    for one in judged:
        for name in one.ids:
            places.setdefault(name, len(places))
    named = {place: ids for ids, place in places.items()}
    scores, deviations = np.full((2, len(judged), len(places)), np.nan)
    truth, images = np.full(len(places), np.nan), [""] * len(places)
    for number, one in enumerate(judged):
        at = np.array([places[name] for name in one.ids])
        scores[number, at] = [picture.prediction.score for picture in one.pictures]
        deviations[number, at] = [np.nan if (std := p.prediction.std) is None else std for p in one.pictures]
        truth[at] = np.where(np.isnan(one.truth), truth[at], one.truth)
        for place, picture in zip(at.tolist(), one.pictures, strict=True):
            images[place] = images[place] or picture.image or picture.id
    attributes, predicted, rated = _attributes(judged[0], len(places))
    ids = tuple(named[place] for place in range(len(places)))
    return Gathered(ids, tuple(images), scores, deviations, truth, attributes, predicted, rated)


def _attributes(first: Judged, pictures: int) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """The first file's, whose pictures come first."""
    names = tuple(dict.fromkeys(name for one in first.pictures for name in one.prediction.attributes))
    columns = {name: column for column, name in enumerate(names)}
    predicted, rated = np.full((2, pictures, len(names)), np.nan)
    for place, one in enumerate(first.pictures):
        for name, prediction in one.prediction.attributes.items():
            predicted[place, columns[name]] = prediction.score
    if first.evaluation is not None:
        joined = first.evaluation.joined
        for name, (_, true) in joined.attributes.items():
            rated[joined.attribute_places[name], columns[name]] = true
    return names, predicted, rated

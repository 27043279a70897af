"""Predictions and true scores, joined by id; where no id meets another, by picture."""

from __future__ import annotations

import math
import posixpath
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from artquant.data.fields import Fields, RecordError
from artquant.data.predictions import PredictedPicture, read_origin, read_predictions
from artquant.data.prepared import require_as_prepared
from artquant.errors import ArtQuantError, visible
from artquant.files.json_stream import iterate_records
from artquant.labels.rating_scale import RatingScale

_SCORE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class RatedPicture:
    """One picture's human mean score, with its standard deviation where known."""

    id: str
    gt_score: float
    std: float | None
    attributes: Mapping[str, float]  # mean score of each that was rated
    source: str  # "FILE record N"
    image: str | None = None
    votes: tuple[float, ...] | None = None  # counts or shares of raw votes, the lowest value's first


@dataclass(frozen=True)
class Joined:
    """N pairs in the truth file's order; stds are None unless every pair has one."""

    ids: tuple[str, ...]
    predicted: np.ndarray  # [N]
    truth: np.ndarray  # [N]
    predicted_std: np.ndarray | None  # [N]
    truth_std: np.ndarray | None  # [N]
    missing: tuple[str, ...]  # in the truth but not predicted
    extra: tuple[str, ...]  # predicted but not in the truth
    # Of each: predicted and true scores of the pictures of which both are known, and which these are.
    attributes: dict[str, tuple[np.ndarray, np.ndarray]]
    attribute_places: dict[str, np.ndarray]
    votes: np.ndarray | None = None  # [N, K] raw votes; None unless every pair has as many
    pictures: tuple[PredictedPicture, ...] = ()  # [N] as they were predicted, each with its picture's name
    by_picture: bool = False  # no id met another: joined by the pictures' names, which missing and extra name too

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Predicted and true scores of all attributes, both [N, A], NaN where one is not known."""
        predicted, truth = np.full((2, len(self.ids), len(self.attributes)), np.nan)
        for column, (name, pair) in enumerate(self.attributes.items()):
            predicted[self.attribute_places[name], column], truth[self.attribute_places[name], column] = pair
        return predicted, truth


_Picture = TypeVar("_Picture", PredictedPicture, RatedPicture)


def read_truth(path: Path) -> dict[str, RatedPicture]:
    """Read true scores `{"id", "image", "gt_score", "std", "attributes": {name: score}, "votes": [counts]}` by id.

    The last three are optional. JSON lines or a JSON list. A record without id is known by its image.

    Raises:
        ArtQuantError: Unreadable file, an id twice, or a record without a finite gt_score; names file and record.
    """
    require_as_prepared(path)
    found: dict[str, RatedPicture] = {}
    for source, item in iterate_records(path):
        fields = Fields(item, source)
        identity, score, std = fields.id_or_image(), fields.number("gt_score"), fields.std()
        if score is None:
            fields.fault("gt_score", 'no "gt_score"; add it or remove the record')
        attributes, image = fields.named_numbers("attributes"), fields.picture_name()
        votes = fields.numbers("votes") if isinstance(fields.item.get("votes"), list) else None  # a number: of voters
        if votes is not None and (min(votes, default=-1) < 0 or sum(votes) <= 0):
            fields.fault("votes", '"votes" must be counts or shares, 0 or more and not all 0; correct the record')
        fields.refuse()
        if identity in found:
            raise RecordError(f"{source}: the same id {identity!r} as {found[identity].source}; keep one of them")
        found[identity] = RatedPicture(identity, score or 0.0, std, attributes, source, image, votes)
    return found


def join_files(
    predictions: Path,
    truth: Path,
    scale: RatingScale | None = None,
    score_range: tuple[float, float] | None = None,
    allow_missing: bool = False,
    allow_extra: bool = False,
    predicted_range: tuple[float, float] | None = None,
    rated: Mapping[str, RatedPicture] | None = None,
) -> Joined:
    """Pair the predictions of a file with the true scores of another by id, or by picture where no id meets another.

    The latter (ids such as "x.jpg->5.21" beside names of pictures) needs that each picture is there once. Names that do
    not meet either are compared by their last parts, with and without ending; folders that both say must be the same.

    Args:
        scale, score_range: As in `artquant.data.predictions.read_predictions`.
        allow_missing: Truth without prediction is left out and listed in the result, instead of refused.
        allow_extra: Predictions without truth are left out and listed in the result, instead of refused.
        predicted_range: Of the predictions, where it is another than `score_range`, onto which they are mapped.
        rated: What `read_truth` found in the truth file, where it was read before.

    Raises:
        ArtQuantError: A file cannot be used; missing or extra ids (the first ten are named); a prediction whose own
            gt_score or picture is not the truth's.
    """
    predicted = read_predictions(predictions, scale, predicted_range or score_range)
    true = read_truth(truth) if rated is None else dict(rated)
    if predicted_range is not None:
        _refuse_mapping(predictions, score_range)
        predicted = _mapped(predicted, predicted_range, score_range or predicted_range)
    predicted, true, by_picture = _met(predicted, true)
    missing = tuple(name for name in true if name not in predicted)
    extra = tuple(name for name in predicted if name not in true)
    if not allow_missing:
        theirs = f" (the predictions' are like {extra[0]!r})" if extra else ""
        advice = "finish the run or allow missing (--allow-missing)"
        _refuse(predictions, f"no prediction for ids of {truth}{theirs}", missing, advice)
    if not allow_extra:
        _refuse(
            predictions, f"ids that are not in {truth}", extra, "give their truth file or allow extra (--allow-extra)"
        )
    pairs = [(predicted[name], true[name]) for name in true if name in predicted]
    _refuse_other_pictures(pairs, by_picture)
    attributes = _joined_attributes(predictions, pairs, allow_missing)
    return Joined(
        ids=tuple(rated.id for _, rated in pairs),
        predicted=np.array([one.prediction.score for one, _ in pairs], dtype=np.float64),
        truth=np.array([rated.gt_score for _, rated in pairs], dtype=np.float64),
        predicted_std=_column([one.prediction.std for one, _ in pairs]),
        truth_std=_column([rated.std for _, rated in pairs]),
        missing=missing,
        extra=extra,
        attributes={name: (predicted, rated) for name, (predicted, rated, _) in attributes.items()},
        attribute_places={name: places for name, (_, _, places) in attributes.items()},
        votes=_rows([rated.votes for _, rated in pairs]),
        pictures=tuple(one if one.image else replace(one, image=other.image or other.id) for one, other in pairs),
        by_picture=by_picture,
    )


def _mapped(
    predicted: dict[str, PredictedPicture], of: tuple[float, float], onto: tuple[float, float]
) -> dict[str, PredictedPicture]:
    return {name: replace(one, prediction=one.prediction.mapped(of, onto)) for name, one in predicted.items()}


def _met(
    predicted: dict[str, PredictedPicture], true: dict[str, RatedPicture]
) -> tuple[dict[str, PredictedPicture], dict[str, RatedPicture], bool]:
    """Both by id; where no id meets another, by what of the pictures' names meets, which the last says."""
    if predicted.keys() & true.keys():
        return predicted, true, False
    for part in (posixpath.normpath, _last_part, _stem):
        named, rated = _by_picture(predicted, part), _by_picture(true, part)
        if named.keys() & rated.keys():
            return named, rated, True
    return predicted, true, False


def same_pictures(names: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Which of others each name is: as it stands, else by its last part; without endings where none is met so.

    Names that meet none are left out; so are those whose part is there twice.
    """
    met: dict[str, str] = {}
    for part in (posixpath.normpath, _last_part):
        met |= _met_by(part, [name for name in names if name not in met], others)
    return met or _met_by(_stem, names, others)


def _met_by(part: Callable[[str], str], names: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    ours, theirs = Counter(map(part, names)), Counter(map(part, others))
    known = {part(other): other for other in others if theirs[part(other)] == 1}
    return {name: known[part(name)] for name in names if ours[part(name)] == 1 and part(name) in known}


def _refuse_other_pictures(pairs: Sequence[tuple[PredictedPicture, RatedPicture]], by_picture: bool) -> None:
    """Refuse a pair whose lines say two scores of raters, or two pictures."""
    for one, other in pairs:
        if one.gt_score is not None and not math.isclose(one.gt_score, other.gt_score, abs_tol=_SCORE_TOLERANCE):
            raise ArtQuantError(
                f"{one.source} (id {one.id!r}): gt_score {one.gt_score:g}, but {other.gt_score:g} in {other.source}: "
                "give the truth file that was predicted"
            )
        if by_picture and not _is_end(one.image or one.id, other.image or other.id):
            raise ArtQuantError(
                f"{one.source}: {one.image or one.id!r} and {other.image or other.id!r} in {other.source} are in "
                "different folders; give both files the same names"
            )
        if one.image == other.image:
            continue
        if not by_picture and one.image and other.image and _stem(one.image) != _stem(visible(other.image)):
            raise ArtQuantError(
                f"{one.source} (id {one.id!r}): picture {one.image!r}, but {other.image!r} in {other.source}: the ids "
                "are of other pictures; take them out of both files, and pictures are paired by name"
            )


def _last_part(name: str) -> str:
    return posixpath.basename(name.replace("\\", "/"))


def _stem(name: str) -> str:
    return posixpath.splitext(_last_part(name))[0]


def _is_end(name: str, other: str) -> bool:
    """Whether one of two paths, but for endings, is the end of the other."""
    parts, others = (
        [*posixpath.normpath(path.replace("\\", "/")).split("/")[:-1], _stem(path)] for path in (name, other)
    )
    count = min(len(parts), len(others))
    return parts[-count:] == others[-count:]


def _by_picture(pictures: Mapping[str, _Picture], part: Callable[[str], str]) -> dict[str, _Picture]:
    """By a part of the pictures' names, of lines that say none their ids; empty if one is there twice."""
    named = {part(found.image or found.id): found for found in pictures.values()}
    return named if len(named) == len(pictures) else {}


def _refuse_mapping(path: Path, onto: tuple[float, float] | None) -> None:
    """Predictions cannot be mapped onto nothing, nor twice."""
    if onto is None:
        raise ArtQuantError("the range that predictions are mapped onto is not known; name it (--score-range LO,HI)")
    if read_origin(path).get("score_range") is not None:
        raise ArtQuantError(f"{path}: was mapped onto a range when it was made; leave out --predicted-range")


def _joined_attributes(
    path: Path, pairs: list[tuple[PredictedPicture, RatedPicture]], allow_missing: bool
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of every attribute that was predicted and rated: both scores, and which pairs; in the truth's order of names."""
    foretold = {name for one, _ in pairs for name in one.prediction.attributes}
    rated = dict.fromkeys(name for _, other in pairs for name in other.attributes)
    found = {}
    for name in (name for name in rated if name in foretold):
        both = [(place, one, other) for place, (one, other) in enumerate(pairs) if name in other.attributes]
        without = [one.id for _, one, _ in both if name not in one.prediction.attributes]
        if not allow_missing:
            _refuse(path, f"pictures without a prediction of {name!r}", without, "predict them again or allow missing")
        both = [found for found in both if name in found[1].prediction.attributes]
        found[name] = (
            np.array([one.prediction.attributes[name].score for _, one, _ in both]),
            np.array([other.attributes[name] for _, _, other in both]),
            np.array([place for place, _, _ in both], dtype=np.int64),
        )
    return found


def _refuse(path: Path, what: str, ids: Sequence[str], advice: str) -> None:
    if ids:
        more = f" and {len(ids) - 10} more" if len(ids) > 10 else ""
        raise ArtQuantError(f"{path}: {len(ids)} {what}: {', '.join(map(repr, ids[:10]))}{more}; {advice}")


def _column(values: list[float | None]) -> np.ndarray | None:
    return np.array(values, dtype=np.float64) if values and None not in values else None


def _rows(values: Sequence[Sequence[float] | None]) -> np.ndarray | None:
    """[N, K]; None where one is not known or is of another length."""
    known = [row for row in values if row is not None]
    same = len(known) == len(values) and len({len(row) for row in known}) == 1
    return np.array(known, dtype=np.float64) if same else None

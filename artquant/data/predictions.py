"""Predicted scores: the line that inference writes for a picture, and that evaluation reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from artquant.data.fields import Fields, RecordError
from artquant.errors import ArtQuantError, visible
from artquant.files.json_files import read_json
from artquant.files.json_stream import iterate_records
from artquant.labels.rating_scale import RatingScale

_SUM_TOLERANCE = 1e-3  # probabilities written with few digits still pass
_RANGE_TOLERANCE = 1e-5  # share of the range: float32 sums may pass an end by their last digits
MANIFEST, RESULTS = "manifest.json", "results"  # in the folder of a planned run
_OF_PICTURE = ("id", "image", "gt_score")  # keys of a line beside those of its prediction
_OWN = ("score", "std", "attributes")


_Kind = TypeVar("_Kind", bound="Prediction")


class NotFinite(ArtQuantError):
    """A score that is no number."""


@dataclass(frozen=True)
class Prediction:
    """One predicted score, on the scale of the model's readout."""

    score: float
    std: float | None = None  # standard deviation, where the readout says one
    columns: Mapping[str, Any] = field(default_factory=dict)  # what else it says; of words: "probs", "logits" by word
    attributes: Mapping[str, Prediction] = field(default_factory=dict)  # by attribute, where they were asked for

    def mapped(self: _Kind, of: tuple[float, float], onto: tuple[float, float]) -> _Kind:
        """On another range: its ends become the other's, what lies between is mapped linearly."""
        width = (onto[1] - onto[0]) / (of[1] - of[0])
        attributes = {name: one.mapped(of, onto) for name, one in self.attributes.items()}
        score, std = onto[0] + (self.score - of[0]) * width, None if self.std is None else self.std * width
        return replace(self, score=score, std=std, attributes=attributes)

    def to_dict(self) -> dict[str, Any]:
        """As plain values; what there is none of is left out."""
        std = {} if self.std is None else {"std": self.std}
        attributes = {name: prediction.to_dict() for name, prediction in self.attributes.items()}
        return {"score": self.score} | std | dict(self.columns) | ({"attributes": attributes} if attributes else {})


@dataclass(frozen=True)
class PredictedPicture:
    """A line of a predictions file."""

    id: str
    prediction: Prediction
    gt_score: float | None  # what the predicting run was told
    source: str  # "FILE record N"
    image: str | None = None  # the picture's name, where the line says it


def origin_file(predictions: Path) -> Path:
    """Where inference notes what a file of predictions was made with."""
    return predictions.parent / (predictions.name + ".origin.json")


def notes_file(predictions: Path) -> Path:
    """Where inference notes what the pictures were."""
    return predictions.parent / (predictions.name + ".pictures.jsonl")


def part_file(out: Path) -> Path:
    """The JSON lines that an output in another form is made of."""
    return out.parent / f"{out.name}.part.jsonl"


def read_origin(predictions: Path) -> dict[str, Any]:
    """What is noted beside a predictions file of how it was made; nothing where there is no such note.

    Raises:
        ArtQuantError: the note cannot be read.
    """
    file = origin_file(predictions)
    found = read_json(file) if file.is_file() else None
    return found if isinstance(found, dict) else {}


def is_planned_run(folder: Path) -> bool:
    """Whether a folder is a run over a collection."""
    return (folder / MANIFEST).is_file() and (folder / RESULTS).is_dir()


def is_note(file: Path) -> bool:
    """Whether a file is one of those that inference writes beside its predictions."""
    noted = [file.with_name(file.name.removesuffix(ending)) for ending in (".origin.json", ".pictures.jsonl")]
    return any(one != file and origin_file(one).exists() for one in noted)


def prediction_line(id: str, image: str, gt_score: float | None, prediction: Prediction) -> dict[str, Any]:
    """What stands in a predictions file about a picture; :func:`read_predictions` reads it."""
    known = {} if gt_score is None else {"gt_score": gt_score}
    return {"id": id, "image": visible(image)} | known | prediction.to_dict()


def read_predictions(
    path: Path, scale: RatingScale | None = None, score_range: tuple[float, float] | None = None
) -> dict[str, PredictedPicture]:
    """Read predictions, JSON lines or a JSON list, by id. A line without id is known by its image.

    A score that is null says, as in UniPercept's result files, that there is no prediction.

    Args:
        scale: Compute score and deviation again, from the logits (or probs) of these words and with these values; None
            takes those that the lines hold.
        score_range: Lowest and highest score allowed in the lines; None does not check.

    Raises:
        ArtQuantError: Unreadable or cut-off file, an id twice, a line without score (or, with `scale`, without logits
            or probs of its words), or a score out of range; names file and record.
    """
    found: dict[str, PredictedPicture] = {}
    for source, item in iterate_records(path):
        fields = Fields(item, source)
        if scale is None and "score" in fields.item and fields.item["score"] is None:
            continue
        prediction = _prediction(fields, scale, score_range)
        known = fields.number("gt_score"), source, fields.picture_name()
        picture = PredictedPicture(fields.id_or_image(), prediction, *known)
        fields.refuse()
        if picture.id in found:
            raise RecordError(f"{source}: the same id {picture.id!r} as {found[picture.id].source}; keep one of them")
        found[picture.id] = picture
    return found


def _prediction(fields: Fields, scale: RatingScale | None, score_range: tuple[float, float] | None) -> Prediction:
    score, std = (fields.number("score"), fields.std()) if scale is None else _computed(fields, scale)
    if score is None:
        fields.fault("score", 'no "score"; predict it again, or give the values of its rating words (--weights)')
    elif scale is None and score_range is not None:
        low, high = score_range
        room = _RANGE_TOLERANCE * (high - low)
        if not low - room <= score <= high + room:
            advice = "predict it again, or name the range that predictions are on (--predicted-range)"
            fields.fault("score", f"score {score:g} is outside {low:g} to {high:g}; {advice}")
    attributes = {
        name: _prediction(Fields(value, f"{fields.name}, attribute {name!r}"), scale, score_range)
        for name, value in fields.object("attributes").items()
    }
    fields.refuse()
    columns = {key: value for key, value in fields.item.items() if key not in (*_OF_PICTURE, *_OWN)}
    return Prediction(score or 0.0, std, columns, attributes)


def _computed(fields: Fields, scale: RatingScale) -> tuple[float | None, float | None]:
    """Score and deviation over the rating words."""
    from scipy.special import softmax

    key = next((key for key in ("logits", "probs") if fields.item.get(key) is not None), None)
    if key is None:
        fields.fault("", "no logits or probs of rating words; only its own score can be evaluated (without --weights)")
        return None, None
    numbers = fields.named_numbers(key)
    if set(numbers) != set(scale.words):
        fields.fault(
            key, f'"{key}" of {sorted(numbers)}, but values for {sorted(scale.words)}; give those of its words'
        )
        return None, None
    shares = np.array([numbers[word] for word in scale.words])
    if key == "logits":
        shares = softmax(shares)
    elif (shares < 0).any() or abs(shares.sum() - 1) > _SUM_TOLERANCE:
        fields.fault(key, f'"probs" must be 0 or more and sum to 1, they sum to {shares.sum():g}; predict them again')
        return None, None
    mean, std = scale.moments(shares / shares.sum())
    return float(mean), float(std)

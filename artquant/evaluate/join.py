"""Predictions and truth: read with checks, joined by id. Files are JSON lines, or one JSON list of the same records."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from artquant.errors import ArtQuantError
from artquant.evaluate.distribution import closed_set_moments, moments
from artquant.files.json_files import parse_json, parse_json_lines, read_text
from artquant.labels.rating_scale import APDD_SCALE, RATING_WORDS

_SUM_TOLERANCE = 1e-3  # probabilities written with few digits still pass
_SCORE_TOLERANCE = 1e-6

Weights = Mapping[str, float] | Sequence[float]  # rating value of each word; a sequence is in the order of RATING_WORDS


@dataclass(frozen=True)
class Prediction:
    """One predicted score; `std` is the predicted standard deviation, `gt_score` what the predicting run was told."""

    id: str
    number: int  # line or list position in its file, from 1
    score: float
    std: float | None = None
    gt_score: float | None = None
    attributes: dict[str, float] = field(default_factory=dict)  # predicted score of each


@dataclass(frozen=True)
class Truth:
    """One human mean score, with its standard deviation where known."""

    id: str
    number: int
    gt_score: float
    std: float | None = None
    attributes: dict[str, float] = field(default_factory=dict)  # mean score of each that was rated


@dataclass(frozen=True)
class PredictionFile:
    path: Path
    records: tuple[Prediction, ...]


@dataclass(frozen=True)
class TruthFile:
    path: Path
    records: tuple[Truth, ...]


@dataclass(frozen=True)
class Joined:
    """Pairs in the truth file's order; stds are None unless every pair has one."""

    ids: tuple[str, ...]
    predicted: np.ndarray  # [N]
    truth: np.ndarray  # [N]
    predicted_std: np.ndarray | None  # [N]
    truth_std: np.ndarray | None  # [N]
    missing: tuple[str, ...]  # in the truth but not predicted
    extra: tuple[str, ...]  # predicted but not in the truth
    attributes: dict[str, tuple[np.ndarray, np.ndarray]]  # of each: predicted and true scores, where both are known


def read_predictions(
    path: Path, weights: Weights | None = None, score_range: tuple[float, float] | None = None
) -> PredictionFile:
    """Read predictions `{"id", "image", "gt_score", "logits": {word: x}, "probs": {word: p}, "score", "std"}`.

    `"attributes": {name: {"logits", "probs", "score", "std"}}` may stand beside them.

    The score is the record's own; where it has none, or weights are given, it is the expectation of the weights under
    the closed-set softmax of the logits (or under the probs). A record without id is known by its image.

    Args:
        weights: rating value per word; by default APDDv2's 10, 7.5, 5, 3.5, 1.
        score_range: lowest and highest score allowed; by default those of the weights.

    Raises:
        ArtQuantError: unreadable or cut-off file, logits that are not finite, probabilities that do not sum to 1
            (0.001), words without weight, or a score out of range; names file and line.
    """
    word_weights = _word_weights(APDD_SCALE.values if weights is None else weights)
    low, high = score_range or (min(word_weights.values()), max(word_weights.values()))
    records = []
    for number, where, record in _records(path):
        limits = (word_weights, weights is not None, low, high)
        score, std = _score(where, record, *limits)
        attributes = {
            name: _score(f"{where}, attribute {name!r}", _object(where, name, values), *limits)[0]
            for name, values in _attributes(where, record).items()
        }
        records.append(
            Prediction(_id(where, record), number, score, std, _number(where, record, "gt_score"), attributes)
        )
    return PredictionFile(Path(path), tuple(records))


def read_truth(path: Path) -> TruthFile:
    """Read truth records `{"id", "image", "gt_score", "std", "attributes": {name: score}}`, the last two optional.

    Without id a record is known by its image.

    Raises:
        ArtQuantError: unreadable file, or a record without a finite gt_score; names file and record.
    """
    records = []
    for number, where, record in _records(path):
        gt_score, std = _number(where, record, "gt_score"), _number(where, record, "std")
        if gt_score is None:
            raise ArtQuantError(f"{where}: no gt_score: add it or remove the record")
        if std is not None and std < 0:
            raise ArtQuantError(f"{where}: std is {std:g}: it must be >= 0")
        attributes = {
            name: _required(where, values, "attributes", name)
            for values in [_attributes(where, record)]
            for name in values
        }
        records.append(Truth(_id(where, record), number, gt_score, std, attributes))
    return TruthFile(Path(path), tuple(records))


def join_by_id(
    predictions: PredictionFile, truth: TruthFile, allow_missing: bool = False, allow_extra: bool = False
) -> Joined:
    """Pair predictions with truth by id.

    Args:
        allow_missing: truth without prediction is left out and listed in the result, instead of refused.
        allow_extra: predictions without truth are left out and listed in the result, instead of refused.

    Raises:
        ArtQuantError: repeated, missing or extra ids (the first ten are named), or a prediction whose own gt_score is
            not the truth's.
    """
    for file in (predictions, truth):
        counts = Counter(record.id for record in file.records)
        _refuse(file.path, "repeated ids", [name for name, count in counts.items() if count > 1], "keep one of each")
    predicted = {record.id: record for record in predictions.records}
    true = {record.id: record for record in truth.records}
    missing = tuple(name for name in true if name not in predicted)
    extra = tuple(name for name in predicted if name not in true)
    if not allow_missing:
        _refuse(predictions.path, f"no prediction for ids of {truth.path}", missing, "finish the run or allow missing")
    if not allow_extra:
        _refuse(predictions.path, f"ids that are not in {truth.path}", extra, "give their truth file or allow extra")
    ids = tuple(name for name in true if name in predicted)
    for name in ids:
        told, known = predicted[name].gt_score, true[name].gt_score
        if told is not None and not math.isclose(told, known, rel_tol=0, abs_tol=_SCORE_TOLERANCE):
            raise ArtQuantError(
                f"{predictions.path}, record {predicted[name].number} (id {name!r}): gt_score {told:g}, but {known:g} "
                f"in {truth.path}, record {true[name].number}: give the truth file that was predicted"
            )
    return Joined(
        ids=ids,
        predicted=np.array([predicted[name].score for name in ids], dtype=np.float64),
        truth=np.array([true[name].gt_score for name in ids], dtype=np.float64),
        predicted_std=_column([predicted[name].std for name in ids]),
        truth_std=_column([true[name].std for name in ids]),
        missing=missing,
        extra=extra,
        attributes=_joined_attributes(predictions.path, [(predicted[name], true[name]) for name in ids], allow_missing),
    )


def _joined_attributes(
    path: Path, pairs: list[tuple[Prediction, Truth]], allow_missing: bool
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Predicted and true scores of every attribute that was both predicted and rated, in the truth's order of names."""
    foretold = {name for prediction, _ in pairs for name in prediction.attributes}
    rated = dict.fromkeys(name for _, truth in pairs for name in truth.attributes)
    found = {}
    for name in (name for name in rated if name in foretold):
        both = [(prediction, truth) for prediction, truth in pairs if name in truth.attributes]
        without = [prediction.id for prediction, _ in both if name not in prediction.attributes]
        if not allow_missing:
            _refuse(path, f"pictures without a prediction of {name!r}", without, "predict them again or allow missing")
        both = [pair for pair in both if name in pair[0].attributes]
        found[name] = (
            np.array([prediction.attributes[name] for prediction, _ in both]),
            np.array([truth.attributes[name] for _, truth in both]),
        )
    return found


def _refuse(path: Path, what: str, ids: Sequence[str], advice: str) -> None:
    if ids:
        more = f" and {len(ids) - 10} more" if len(ids) > 10 else ""
        raise ArtQuantError(f"{path}: {len(ids)} {what}: {', '.join(map(repr, ids[:10]))}{more}; {advice}")


def _column(values: list[float | None]) -> np.ndarray | None:
    return np.array(values, dtype=np.float64) if values and None not in values else None


def _records(path: Path) -> Iterator[tuple[int, str, dict]]:
    """Number, place (for messages) and content of each record."""
    text = read_text(path)
    if text.lstrip().startswith("["):
        numbered = list(enumerate(parse_json(text, path), start=1))
        unit = "record"
    else:
        numbered, unit = _lines(text, path), "line"
    if not numbered:
        raise ArtQuantError(f"{path}: no records in it: give a file with at least one")
    for number, record in numbered:
        where = f"{path}, {unit} {number}"
        if not isinstance(record, dict):
            raise ArtQuantError(f"{where}: must be an object with id and score, got {type(record).__name__}")
        yield number, f"{where} (id {record['id']!r})" if "id" in record else where, record


def _lines(text: str, path: Path) -> list[tuple[int, dict]]:
    """Numbered records of JSON lines; a last line that breaks off is told from damage elsewhere."""
    whole, _, last = text.rpartition("\n")
    try:
        json.loads(last.strip() or "null")
    except json.JSONDecodeError:
        list(parse_json_lines(whole, path))
        raise ArtQuantError(
            f"{path} line {text.count(chr(10)) + 1}: cut off after {last[-20:]!r}, as by a run that was killed: "
            "resume the run or delete this line"
        ) from None
    return list(parse_json_lines(text, path))


def _id(where: str, record: dict) -> str:
    value = record.get("id", record.get("image"))
    if not isinstance(value, str) or not value:
        raise ArtQuantError(f"{where}: id (or image, without id) must be a text, got {value!r}")
    return value


def _number(where: str, record: dict, name: str) -> float | None:
    value = record.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise ArtQuantError(f"{where}: {name} is {value!r}: it must be a finite number")
    return float(value)


def _score(
    where: str, record: dict, weights: dict[str, float], recompute: bool, low: float, high: float
) -> tuple[float, float | None]:
    """Score and standard deviation of one prediction, its own or (`recompute`, or where it has none) by the weights."""
    logits, probs = (_word_numbers(where, record, name) for name in ("logits", "probs"))
    if probs and (min(probs.values()) < 0 or abs(sum(probs.values()) - 1) > _SUM_TOLERANCE):
        raise ArtQuantError(f"{where}: probs must be >= 0 and sum to 1, they sum to {sum(probs.values()):g}")
    score, std = _number(where, record, "score"), _number(where, record, "std")
    if std is not None and std < 0:
        raise ArtQuantError(f"{where}: std is {std:g}: it must be >= 0")
    if recompute or score is None:
        score, std = _closed_set_score(where, logits, probs, weights)
    if not low <= score <= high:
        raise ArtQuantError(
            f"{where}: score {score:g} is not within {low:g} to {high:g}: predict it again or give its score range"
        )
    return score, std


def _attributes(where: str, record: dict) -> dict:
    return _object(where, "attributes", record.get("attributes", {}))


def _object(where: str, name: str, value: object) -> dict:
    if not isinstance(value, dict):
        raise ArtQuantError(f"{where}: {name} must be an object, got {type(value).__name__}")
    return value


def _word_numbers(where: str, record: dict, name: str) -> dict[str, float] | None:
    """The finite numbers per word under a name, or None where the record has no such entry."""
    values = record.get(name)
    if values is None:
        return None
    if not isinstance(values, dict) or not values:
        raise ArtQuantError(f"{where}: {name} must be an object of word: number")
    return {word: _required(where, values, name, word) for word in values}


def _required(where: str, values: dict, name: str, word: str) -> float:
    value = _number(f"{where}, {name}", values, word)
    if value is None:
        raise ArtQuantError(f"{where}, {name}: {word} is null: it must be a finite number")
    return value


def _word_weights(weights: Weights) -> dict[str, float]:
    if not isinstance(weights, Mapping) and len(weights) != len(RATING_WORDS):
        raise ArtQuantError(f"{len(weights)} weights: give {len(RATING_WORDS)}, for {', '.join(RATING_WORDS)}")
    named = dict(weights) if isinstance(weights, Mapping) else dict(zip(RATING_WORDS, weights, strict=True))
    if not named or not all(math.isfinite(value) for value in named.values()):
        raise ArtQuantError(f"weights must be finite numbers, got {named}")
    return {word: float(value) for word, value in named.items()}


def _closed_set_score(
    where: str, logits: dict[str, float] | None, probs: dict[str, float] | None, weights: dict[str, float]
) -> tuple[float, float]:
    """Mean and standard deviation over the rating words."""
    source = logits or probs
    if source is None:
        raise ArtQuantError(f"{where}: no logits, probs or score to evaluate: predict it again")
    if set(source) != set(weights):
        raise ArtQuantError(
            f"{where}: rating words {sorted(source)} but weights for {sorted(weights)}: give its weights"
        )
    levels_K = np.array([weights[word] for word in source])
    row_1K = np.array([list(source.values())])
    mean, std = closed_set_moments(row_1K, levels_K) if logits else moments(row_1K / row_1K.sum(), levels_K)
    # Rounding may carry the expectation past the outermost weight by its last digit.
    return float(np.clip(mean[0], levels_K.min(), levels_K.max())), float(std[0])

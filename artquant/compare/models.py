"""Predictions of several models for the pictures of one truth file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from artquant.data.fields import Fields
from artquant.errors import ArtQuantError, visible
from artquant.evaluate.join import Joined, RatedPicture, join_files, read_truth
from artquant.files.json_stream import iterate_records

Files = Mapping[str, Path]  # predictions by the model's name


@dataclass(frozen=True)
class Models:
    """Scores of models for the same N pictures, in the truth file's order."""

    ids: tuple[str, ...]
    predicted: dict[str, np.ndarray]  # [N] by model
    truth: np.ndarray  # [N]
    joined: dict[str, Joined]  # by model


def read_models(
    files: Files,
    truth: Path,
    score_range: tuple[float, float] | None = None,
    rated: Mapping[str, RatedPicture] | None = None,
) -> Models:
    """Join every model's predictions with the truth; none may lack a picture or have one more.

    Args:
        score_range: lowest and highest score allowed; None does not check.
        rated: what `read_truth` found in the truth file, where it was read before.

    Raises:
        ArtQuantError: a file cannot be used, or its ids are not the truth's; names it.
    """
    rated = read_truth(truth) if rated is None else rated
    joined = {name: _joined(file, truth, score_range, rated) for name, file in files.items()}
    first = next(iter(joined.values()))
    predicted = {name: one.predicted for name, one in joined.items()}
    return Models(first.ids, predicted, first.truth, joined)


def _joined(
    file: Path, truth: Path, score_range: tuple[float, float] | None, rated: Mapping[str, RatedPicture]
) -> Joined:
    """One model's predictions, of just the truth's pictures."""
    joined = join_files(file, truth, score_range=score_range, allow_missing=True, allow_extra=True, rated=rated)
    advice = "models are compared on the same pictures; predict them all, and give that list's truth"
    for what, ids in (("without prediction", joined.missing), ("predicted, but not in the truth", joined.extra)):
        if ids:
            more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
            named = ", ".join(map(repr, ids[:5])) + more
            raise ArtQuantError(f"{file}: {len(ids)} pictures {what} ({truth}): {named}; {advice}")
    for path, scores in ((file, joined.predicted), (truth, joined.truth)):
        if (scores == scores[0]).all():
            raise ArtQuantError(f"{path}: all {len(scores)} scores are {scores[0]:g}: there is nothing to compare")
    return joined


def require_one_unit(models: Models, files: Files) -> None:
    """Refuse errors over two scales, as far as can be told: the mean of the scores lies beyond all true ones.

    Raises:
        ArtQuantError: so it is; names the file.
    """
    low, high = float(models.truth.min()), float(models.truth.max())
    for name, scores in models.predicted.items():
        if not low <= scores.mean() <= high:
            raise ArtQuantError(
                f"{files[name]}: scores from {scores.min():g} to {scores.max():g}, the truth's from {low:g} to "
                f"{high:g}: an error has no meaning over two scales; map them (artquant infer --range), or compare srcc"
            )


def named_files(given: Sequence[str]) -> dict[str, Path]:
    """Files by the models' names: of NAME=FILE as it says, else the file's name, or its folder's where names are equal.

    Raises:
        ArtQuantError: a name is there twice, or one is empty.
    """
    said: list[tuple[str | None, Path]] = []
    for one in given:
        own, is_named, rest = one.partition("=")
        if not is_named or Path(one).exists():
            said.append((None, Path(one)))
        elif own.strip() and rest.strip():
            said.append((own.strip(), Path(rest)))
        else:
            raise ArtQuantError(f"{one!r}: expected FILE or NAME=FILE")
    stems = Counter(file.stem for name, file in said if name is None)
    found: dict[str, Path] = {}
    for name, file in said:
        called = visible(name or (file.stem if stems[file.stem] == 1 else file.resolve().parent.name))
        if called in found:
            raise ArtQuantError(f"{found[called]} and {file} would both be called {called!r}; name them: NAME=FILE")
        found[called] = file
    return found


def read_labels(truth: Path, key: str) -> dict[str, str]:
    """What the truth file's records say of a key, beside their scores or in "categories", by id; those that say it.

    Raises:
        ArtQuantError: no record has the key, or a record has neither text nor a whole number there; names it.
    """
    found = {}
    for source, item in iterate_records(truth):
        fields = Fields(item, source)
        holder = item if fields.is_object and item.get(key) is not None else fields.object("categories")
        identity, value = fields.id_or_image(), holder.get(key)
        if value is not None:
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            found[identity] = str(value) if is_whole else fields.text_of(key, value)
        fields.refuse()
    if not found:
        raise ArtQuantError(f"{truth}: no record has {key!r}, by itself or in categories; name a key that they have")
    return found


def groups_of(ids: Sequence[str], labels: Mapping[str, str]) -> np.ndarray:
    """Group numbers [N] from 0; a picture without label is a group of its own."""
    numbers: dict[tuple[str, bool], int] = {}
    keys = [(labels[name], True) if name in labels else (name, False) for name in ids]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])

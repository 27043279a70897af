"""The best and the worst of sets of pictures, picked by predicted scores (as in the Visual Aesthetic Benchmark).

There, a model sees all pictures of a set at once and names the best and the worst, three times with the pictures in
another order. ap@1: how often a single answer names the best. p^3: how often all three answers name both right, so that
a model that goes by places has little of it.

A score of a picture by itself knows no order, so what becomes of them is:

    best    ap@1: the highest score is that of the best picture
    worst   the lowest score is that of the worst picture
    both    both in one answer
    p^3     both in three answers: equal to `both` where no scores tie

Ties count as shares, as if each answer drew among those that tie: of k highest scores with the best among them `best`
is 1/k; `both` is the chance of naming both, two different pictures, in one draw; `p^3` its third power. Chance is the
same of a set of which all scores tie.

Legend: S sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artquant.data.fields import Fields, RecordError, kind_of
from artquant.data.predictions import read_predictions
from artquant.errors import ArtQuantError
from artquant.evaluate.metrics import Estimate, mean_estimate
from artquant.evaluate.report import aligned, interval_text
from artquant.files.json_stream import iterate_records

_ANSWERS = 3  # of p^3
FIGURES = ("best", "worst", "both", "p^3")
_TITLES = {"best": "ap@1", "worst": "worst", "both": "both", "p^3": "p^3"}  # in tables and JSON


@dataclass(frozen=True)
class PictureSet:
    """Pictures of one set, and which of them people call the best and the worst."""

    id: str
    pictures: tuple[str, ...]
    best: str
    worst: str | None  # None: not said


@dataclass(frozen=True)
class SetFigures:
    """Shares of the sets that say what is asked, each with a bootstrap interval over sets, and what chance gives."""

    name: str
    n: dict[str, int]  # sets, by figure
    figures: dict[str, Estimate]  # by FIGURES; without those that no set can say
    chance: dict[str, float]
    ties: int  # sets of which the highest or the lowest score is there more than once


def read_sets(path: Path) -> list[PictureSet]:
    """Read sets `{"id", "pictures": [names], "best": name, "worst": name}`, the last optional; JSON lines or list.

    Names are the pictures' ids or names in the predictions. `set` and `images` are also taken as keys.

    Raises:
        ArtQuantError: unreadable file, none, or a record that is not so; names file and record.
    """
    found: dict[str, PictureSet] = {}
    for source, item in iterate_records(path):
        one = _read_set(Fields(item, source))
        if one.id in found:
            raise RecordError(f"{source}: a second set {one.id!r}; give each its own id")
        found[one.id] = one
    if not found:
        raise ArtQuantError(f"{path}: holds no sets; each is a record of id, pictures, best and worst")
    return list(found.values())


def _read_set(fields: Fields) -> PictureSet:
    item = fields.item
    if "id" not in item and "set" in item:
        fields.item = item = {**item, "id": item["set"]}
    identity = fields.id()
    pictures = item.get("pictures", item.get("images"))
    if not isinstance(pictures, list) or len(pictures) < 2:
        fields.fault("pictures", '"pictures" must be a list of two pictures or more; correct the record')
        pictures = []
    names = tuple(_name(fields, "pictures", one) for one in pictures)
    if len(set(names)) < len(names):
        fields.fault("pictures", '"pictures" names a picture twice; take one out')
    best = _name(fields, "best", fields.get("best"))
    worst = None if item.get("worst") is None else _name(fields, "worst", item["worst"])
    for key, name in (("best", best), ("worst", worst)):
        if name is not None and name not in names:
            fields.fault(key, f'"{key}" {name[:80]!r} is not among its pictures; correct the record')
    if best == worst:
        fields.fault("worst", '"best" and "worst" are one picture; correct the record')
    fields.refuse()
    return PictureSet(identity, names, best, worst)


def _name(fields: Fields, key: str, value: Any) -> str:
    """A picture's name; ids may be whole numbers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        fields.fault(key, f'"{key}" must hold names of pictures, got {kind_of(value)}; correct the record')
        return ""
    return fields.text_of(key, value)


def read_scores(path: Path) -> dict[str, float]:
    """Predicted scores by id and, where no id is the same, by the pictures' names that are there once.

    Raises:
        ArtQuantError: as :func:`artquant.data.predictions.read_predictions`.
    """
    predicted = read_predictions(path)
    counts = Counter(one.image for one in predicted.values())
    named = {one.image: one.prediction.score for one in predicted.values() if one.image and counts[one.image] == 1}
    return named | {name: one.prediction.score for name, one in predicted.items()}


def evaluate_sets(
    name: str, sets: Sequence[PictureSet], scores: Mapping[str, float], bootstrap: int = 1000, seed: int = 0
) -> SetFigures:
    """Figures of the picks by scores.

    Args:
        name: of the predictions, for errors and tables. scores: by picture; further pictures do not matter.
        bootstrap: resamples of sets for intervals of 95 %; 0: none. seed: of the resampling.

    Raises:
        ArtQuantError: a picture of a set has no score; names both.
    """
    missing = [(one.id, picture) for one in sets for picture in one.pictures if picture not in scores]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ArtQuantError(
            f"{name}: no prediction for {missing[0][1]!r} of set {missing[0][0]!r}{more} (the predictions' are like "
            f"{next(iter(scores), '')!r}); predict them too"
        )
    picked = [_picked(one, np.array([scores[picture] for picture in one.pictures])) for one in sets]
    alike = [_picked(one, np.zeros(len(one.pictures))) for one in sets]
    columns = {figure: np.array([one[figure] for one in picked]) for figure in FIGURES}
    known = {figure: column[np.isfinite(column)] for figure, column in columns.items()}
    chance = {figure: np.array([one[figure] for one in alike]) for figure in FIGURES}
    return SetFigures(
        name,
        {figure: len(column) for figure, column in known.items() if len(column)},
        {figure: mean_estimate(column, bootstrap, seed) for figure, column in known.items() if len(column)},
        {figure: float(np.nanmean(chance[figure])) for figure, column in known.items() if len(column)},
        sum(one["ties"] > 0 for one in picked),
    )


def _picked(one: PictureSet, scores: np.ndarray) -> dict[str, float]:
    """How far a set is picked right, by figure; NaN where it does not say what is asked."""
    high, low = scores == scores.max(), scores == scores.min()
    best = high[one.pictures.index(one.best)] / high.sum()
    found = {"best": best, "worst": np.nan, "both": np.nan, "p^3": np.nan, "ties": high.sum() > 1 or low.sum() > 1}
    if one.worst is not None:
        found["worst"] = worst = low[one.pictures.index(one.worst)] / low.sum()
        if (high & low).any():  # all alike: the worst is drawn among the others
            found["both"] = best / (len(scores) - 1)
        else:
            found["both"] = best * worst
        found["p^3"] = found["both"] ** _ANSWERS
    return {name: float(value) for name, value in found.items()}


def sets_record(found: SetFigures) -> dict[str, Any]:
    """As plain values, for JSON; "ap@1" is the share of sets whose best is picked."""
    figures = {
        _TITLES[figure]: asdict(estimate) | {"n": found.n[figure], "chance": found.chance[figure]}
        for figure, estimate in found.figures.items()
    }
    return {"predictions": found.name, "figures": figures, "sets_with_ties": found.ties}


def format_sets(evaluations: Sequence[SetFigures]) -> str:
    """Plain text: a row per file, its intervals below, and what chance gives last."""
    figures = [figure for figure in FIGURES if figure in evaluations[0].figures]
    rows = [["predictions", "sets", *(_TITLES[figure] for figure in figures)]]
    for one in evaluations:
        rows.append([one.name, str(one.n["best"]), *(f"{one.figures[figure].value:.4f}" for figure in figures)])
        if one.figures["best"].low is not None:
            rows.append(["", "", *(interval_text(one.figures[key].low, one.figures[key].high) for key in figures)])
    rows.append(["chance", "", *(f"{evaluations[0].chance[figure]:.4f}" for figure in figures)])
    lines = aligned(rows)
    for one in evaluations:
        if one.ties:
            lines.append(f"{one.name}: scores tie for best or worst in {one.ties} sets; such picks count as shares")
        if "both" in one.n and one.n["both"] < one.n["best"]:
            lines.append(
                f"{one.name}: {one.n['best'] - one.n['both']} sets name no worst; they count for the best alone"
            )
    return "\n".join(lines)

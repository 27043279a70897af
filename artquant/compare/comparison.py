"""Prediction files compared with each other over one truth file: over all pictures, by category and by attribute."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from artquant.compare.models import Files, Models, groups_of, read_labels, read_models, require_one_unit
from artquant.compare.significance import LEVEL, Contest, contest, judged, permutations_for, require_permutations
from artquant.errors import ArtQuantError
from artquant.evaluate.metrics import scale_doubt

logger = logging.getLogger(__name__)

LEAST = 10  # pictures of a category
_RESAMPLES = 1000
_A_KENDALL = 1_000  # as long as this many pictures a correlation takes beside its own
_KENDALLS = 30_000_000  # pictures that Kendall's correlations are counted over, where nothing else is asked: 15 s or so


@dataclass(frozen=True)
class Settings:
    """How figures are compared; of None: 1,000 resamples, and as many permutations as the number of pairs needs."""

    metric: str = "SRCC"
    bootstrap: int | None = None
    permutations: int | None = None
    seed: int = 0

    def draws(self, models: int, pictures: int, rows: int = 1) -> Draws:
        """How many resamples and permutations a table takes. Of Kendall's, whose every one counts anew, fewer.

        Args:
            rows: of the table, each a comparison of all models. pictures: of all rows together.

        Raises:
            ArtQuantError: too few permutations were asked for.
        """
        pairs = models * (models - 1) // 2
        bootstrap = _RESAMPLES if self.bootstrap is None else self.bootstrap
        permutations = permutations_for(rows * pairs) if self.permutations is None else self.permutations
        require_permutations(permutations, rows * pairs)
        share = _KENDALLS / max(1, (pictures + _A_KENDALL * rows) * (bootstrap * models + 2 * permutations * pairs))
        if self.metric == "KRCC" and share < 1:
            if self.bootstrap is None:
                bootstrap = max(200, int(bootstrap * share))
            if self.permutations is None:
                permutations = max(40 * rows * pairs, int(permutations * share))
        return Draws(bootstrap, permutations)


@dataclass(frozen=True)
class Draws:
    """Resamples of an interval, permutations of a verdict."""

    bootstrap: int
    permutations: int


@dataclass(frozen=True)
class Spread:
    """A model's scores: from where to where, and how many are another picture's too."""

    lowest: float
    highest: float
    tied: int


@dataclass(frozen=True)
class Apart:
    """A picture on which two models differ; places: 0 lowest, 1 highest of all pictures by that model."""

    id: str
    truth: float
    scores: tuple[float, float]
    places: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Models over one truth file."""

    files: dict[str, Path]
    truth: Path
    settings: Settings
    draws: Draws  # over all pictures
    groups: int | None  # how many source groups; None: pictures are drawn by themselves
    spreads: dict[str, Spread]
    total: Contest
    parts: dict[str, dict[str, Contest]]  # "by KEY" or "attributes" -> category or attribute
    apart: dict[tuple[str, str], tuple[Apart, ...]]  # by pair, most different first
    notes: tuple[str, ...]


def run_comparison(
    files: Files,
    truth: Path,
    settings: Settings,
    score_range: tuple[float, float] | None = None,
    by: str | None = None,
    attributes: bool = False,
    groups: str | None = None,
    most: int = 5,
) -> Comparison:
    """Compare two models or more.

    Args:
        files: predictions by the models' names; all of the pictures of `truth`, and no others.
        score_range: lowest and highest score allowed; None does not check.
        by: key of the truth file's records, beside their scores or in "categories", by whose values to compare too.
        attributes: compare each attribute too that every model predicts and the truth rates.
        groups: such a key that says which pictures come from one source: they are drawn and swapped together.
        most: how many pictures of each pair to list.

    Raises:
        ArtQuantError: whatever is wrong with a file, its records or the settings.
    """
    if len(files) < 2:
        raise ArtQuantError("give --predictions of two models or more")
    models = read_models(files, truth, score_range)
    notes: list[str] = []
    grouped = _groups(models, truth, groups, notes) if groups else None
    if settings.metric == "MAE":
        require_one_unit(models, files)
    draws = settings.draws(len(files), len(models.ids))
    logger.info("%s over %d pictures: %d models", settings.metric, len(models.ids), len(files))
    total = _contest(models.predicted, models.truth, settings, draws, grouped)
    parts = {}
    if by:
        parts[f"by {by}"] = _by_label(models, truth, by, settings, grouped, notes)
    if attributes:
        parts["attributes"] = _by_attribute(models, settings, grouped, notes)
    notes += _remarks(models, files, total)
    return Comparison(
        files=dict(files),
        truth=truth,
        settings=settings,
        draws=draws,
        groups=None if grouped is None else int(grouped.max()) + 1,
        spreads={name: _spread(scores) for name, scores in models.predicted.items()},
        total=total,
        parts=parts,
        apart={(one.first, one.second): _apart(models, one.first, one.second, most) for one in total.differences},
        notes=tuple(notes),
    )


def _contest(
    predicted: dict[str, np.ndarray],
    truth: np.ndarray,
    settings: Settings,
    draws: Draws,
    groups: np.ndarray | None,
) -> Contest:
    return contest(predicted, truth, settings.metric, draws.bootstrap, draws.permutations, settings.seed, groups)


def _groups(models: Models, truth: Path, key: str, notes: list[str]) -> np.ndarray:
    labels = _labels(models, truth, key)
    found = groups_of(models.ids, labels)
    number = int(found.max()) + 1
    if _are_few(number, len(models.predicted)):
        raise ArtQuantError(
            f"{truth}: {number} groups by {key!r} are too few for a verdict; name a finer key (--groups)"
        )
    missing = len(models.ids) - len(labels)
    if missing:
        notes.append(f"{missing} pictures without {key!r}: each is a group of its own")
    return found


def _are_few(units: int, models: int) -> bool:
    """Whether so many pictures, or groups, leave no room for a finding: as often are all swapped or none."""
    return models * (models - 1) // 2 * 2.0 ** (1 - units) >= LEVEL


def _labels(models: Models, truth: Path, key: str) -> dict[str, str]:
    labels = read_labels(truth, key)
    return {name: labels[name] for name in models.ids if name in labels}


def _by_label(
    models: Models, truth: Path, key: str, settings: Settings, groups: np.ndarray | None, notes: list[str]
) -> dict[str, Contest]:
    labels = _labels(models, truth, key)
    if len(labels) < len(models.ids):
        notes.append(f"by {key}: {len(models.ids) - len(labels)} pictures do not say it and are in no row")
    places: dict[str, list[int]] = {}
    for place, name in enumerate(models.ids):
        if name in labels:
            places.setdefault(labels[name], []).append(place)
    chosen = {label: np.array(found) for label, found in sorted(places.items()) if len(found) >= LEAST}
    if not chosen:
        raise ArtQuantError(f"{truth}: no value of {key!r} has {LEAST} pictures; name another key with --by")
    few = [f"{label} ({len(found)})" for label, found in sorted(places.items()) if len(found) < LEAST]
    if few:
        notes.append(f"by {key}: left out with fewer than {LEAST} pictures: {_first(few)}")
    table = {
        label: ({name: scores[at] for name, scores in models.predicted.items()}, models.truth[at], at)
        for label, at in chosen.items()
    }
    return _contests(f"by {key}", table, settings, groups, notes)


def _first(said: list[str]) -> str:
    return ", ".join(said[:10]) + (f" and {len(said) - 10} more" if len(said) > 10 else "")


def _by_attribute(
    models: Models, settings: Settings, groups: np.ndarray | None, notes: list[str]
) -> dict[str, Contest]:
    every = dict.fromkeys(name for one in models.joined.values() for name in one.attributes)
    if not every:
        raise ArtQuantError("no model predicts an attribute that the truth rates; leave out --attributes")
    shared = [name for name in every if _is_shared(name, models)]
    others = [name for name in every if name not in shared]
    if others:
        notes.append(f"attributes: left out, as not every model predicts them everywhere: {', '.join(others)}")
    first = next(iter(models.joined.values()))
    table = {
        name: (
            {model: one.attributes[name][0] for model, one in models.joined.items()},
            first.attributes[name][1],
            first.attribute_places[name],
        )
        for name in shared
    }
    return _contests("attributes", table, settings, groups, notes)


def _is_shared(attribute: str, models: Models) -> bool:
    """Whether all models predict an attribute of the same pictures."""
    nowhere = np.empty(0, dtype=np.int64)
    first, *others = (one.attribute_places.get(attribute, nowhere) for one in models.joined.values())
    return all(np.array_equal(first, one) for one in others)


_Part = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]  # predicted, truth, places among all pictures


def _contests(
    what: str, table: Mapping[str, _Part], settings: Settings, groups: np.ndarray | None, notes: list[str]
) -> dict[str, Contest]:
    """One contest for each row, Holm's correction over all of them."""
    models = len(next(iter(table.values()))[0]) if table else 0
    draws = settings.draws(models, sum(len(truth) for _, truth, _ in table.values()), len(table))
    found, few = {}, []
    for label, (predicted, truth, places) in table.items():
        own = None if groups is None else np.unique(groups[places], return_inverse=True)[1]
        if own is not None and _are_few(number := int(own.max()) + 1, models):
            few.append(f"{label} ({number})")
            continue
        try:
            found[label] = _contest(predicted, truth, settings, draws, own)
        except ArtQuantError as error:
            notes.append(f"{what}: left out {label}: {error}")
    if few:
        notes.append(f"{what}: left out with too few groups for a verdict: {_first(few)}")
    return dict(zip(found, judged(list(found.values())), strict=True))


def _remarks(models: Models, files: Files, total: Contest) -> list[str]:
    """What a reader should know of the scores."""
    found = []
    for name, figure in total.figures.items():
        if total.metric != "MAE" and figure.low is not None and figure.high is not None and figure.low <= 0:
            found.append(
                f"{name}: does not follow the truth ({total.metric} {figure.value:.3f}): are ids its pictures'?"
            )
        elif total.metric == "MAE" and (doubt := scale_doubt(models.predicted[name], models.truth)):
            found.append(f"{name}: {doubt}")
    for one in total.differences:
        first, second = models.predicted[one.first], models.predicted[one.second]
        if np.array_equal(first, second):
            found.append(f"{one.first} and {one.second} hold the same scores")
    if _are_few(total.n, len(models.predicted)):
        found.append(f"{total.n} pictures are too few for any verdict: no difference could be a finding")
    found += [f"{name}: joined by picture: no id of {files[name]} is in the truth file" for name in _by_picture(models)]
    return found


def _by_picture(models: Models) -> list[str]:
    return [name for name, one in models.joined.items() if one.by_picture]


def _spread(scores: np.ndarray) -> Spread:
    _, counts = np.unique(scores, return_counts=True)
    return Spread(float(scores.min()), float(scores.max()), int(counts[counts > 1].sum()))


def _apart(models: Models, first: str, second: str, most: int) -> tuple[Apart, ...]:
    """The pictures whose places in the two models' orders are farthest from each other."""
    from scipy.stats import rankdata

    pair = models.predicted[first], models.predicted[second]
    places = [(rankdata(scores) - 1) / (len(scores) - 1) for scores in pair]
    order = np.argsort(-np.abs(places[0] - places[1]), kind="stable")[:most]
    return tuple(
        Apart(
            models.ids[at],
            float(models.truth[at]),
            (float(pair[0][at]), float(pair[1][at])),
            (float(places[0][at]), float(places[1][at])),
        )
        for at in order
        if places[0][at] != places[1][at]
    )

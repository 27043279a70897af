"""Many models over many data sets: figures with intervals, and ranks that significance bears out."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from artquant.compare.comparison import Settings
from artquant.compare.models import read_models, require_one_unit
from artquant.compare.significance import Contest, contest
from artquant.config.run_paths import PREDICTIONS
from artquant.data.predictions import is_note
from artquant.errors import ArtQuantError
from artquant.evaluate.metrics import Estimate
from artquant.files.child_processes import one_thread_each, process_pool

logger = logging.getLogger(__name__)

_ENDINGS = (".jsonl", ".json")


@dataclass(frozen=True)
class Cell:
    """One model on one data set."""

    figure: Estimate
    rank: int


@dataclass(frozen=True)
class Matrix:
    """Models x data sets; of what was not predicted there is no cell."""

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    settings: Settings
    contests: dict[str, Contest]  # by data set
    cells: dict[tuple[str, str], Cell]  # by model and data set
    notes: tuple[str, ...]


def run_matrix(folder: Path, truths: Mapping[str, Path], settings: Settings, workers: int = 0) -> Matrix:
    """Compare all models of a folder on all data sets.

    Args:
        folder: holds MODEL/DATASET.jsonl (or .json), or MODEL/DATASET/predictions.jsonl.
        truths: the truth file of each data set.
        workers: processes, each at a data set; 0: one for each core.

    Raises:
        ArtQuantError: whatever is wrong with a file, the folder or the settings.
    """
    if not truths:
        raise ArtQuantError("no data set: give --truth NAME=FILE, or a folder of truth files")
    files, notes = _found(folder, truths)
    models = tuple(sorted({model for predicted in files.values() for model in predicted}))
    for predicted in files.values():
        settings.draws(len(predicted), 0)  # refuses before anything is read
    contests = _contests(files, truths, settings, workers)
    cells: dict[tuple[str, str], Cell] = {}
    for dataset, found in contests.items():
        ranks = ranked(found)
        cells |= {(model, dataset): Cell(figure, ranks[model]) for model, figure in found.figures.items()}
    return Matrix(models, tuple(contests), settings, contests, cells, tuple(notes))


def _found(folder: Path, truths: Mapping[str, Path]) -> tuple[dict[str, dict[str, Path]], list[str]]:
    """Predictions by data set and model, and what was left out."""
    if not folder.is_dir():
        raise ArtQuantError(f"{folder}: no such folder; name one that holds MODEL/DATASET.jsonl")
    files: dict[str, dict[str, Path]] = {name: {} for name in truths}
    notes, unknown = [], set()
    for model in sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith(".")):
        own = _of_model(model)
        for dataset in own.keys() & files.keys():
            files[dataset][model.name] = own[dataset]
        unknown |= own.keys() - files.keys()
        if not own.keys() & files.keys():
            notes.append(f"{model}: left out: predictions of no data set that has a truth")
    if unknown:
        notes.append(f"left out, as their truth was not given: {', '.join(sorted(unknown))}")
    empty = [name for name, predicted in files.items() if not predicted]
    if len(empty) == len(files):
        raise ArtQuantError(f"{folder}: no MODEL/DATASET.jsonl or MODEL/DATASET/{PREDICTIONS} of {', '.join(files)}")
    if empty:
        notes.append(f"left out, as no model predicts them: {', '.join(empty)}")
    return {name: predicted for name, predicted in files.items() if predicted}, notes


def _of_model(model: Path) -> dict[str, Path]:
    """A model's predictions by data set."""
    found: dict[str, Path] = {}
    for entry in sorted(model.iterdir()):
        if entry.is_dir():
            name, file = entry.name, entry / PREDICTIONS
        else:
            name, file = entry.stem, entry
        if entry.name.startswith(".") or file.suffix not in _ENDINGS or not file.is_file() or is_note(file):
            continue
        if name in found:
            raise ArtQuantError(f"{found[name]} and {file}: both are predictions of {name!r}; keep one of them")
        found[name] = file
    return found


def truths_of(given: Mapping[str, Path]) -> dict[str, Path]:
    """Truth files by data set; a folder among them stands for the files in it, by their names.

    Raises:
        ArtQuantError: one is not there, or two have one name.
    """
    found: dict[str, Path] = {}
    for name, path in given.items():
        if not path.exists():
            raise ArtQuantError(f"{path}: no such file or folder; name the truth of a data set: NAME=FILE")
        inside = {name: path}
        if path.is_dir():
            inside = {one.stem: one for one in sorted(path.iterdir()) if one.suffix in _ENDINGS and one.is_file()}
        for dataset, file in inside.items():
            if dataset in found:
                raise ArtQuantError(f"{found[dataset]} and {file}: two truths called {dataset!r}; name them: NAME=FILE")
            found[dataset] = file
    return found


def _contests(
    files: dict[str, dict[str, Path]], truths: Mapping[str, Path], settings: Settings, workers: int
) -> dict[str, Contest]:
    """By data set, several at a time."""
    jobs = [(predicted, truths[name]) for name, predicted in files.items()]
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    one = partial(_contest, settings=settings)
    found = {}
    if workers == 1:
        for name, job in zip(files, jobs, strict=True):
            found[name] = one(job)
            logger.info("%s: %d models, %d pictures", name, len(found[name].figures), found[name].n)
        return found
    with one_thread_each(), process_pool(workers) as pool:
        for name, contested in zip(files, pool.map(one, jobs), strict=True):
            found[name] = contested
            logger.info("%s: %d models, %d pictures", name, len(contested.figures), contested.n)
    return found


def _contest(job: tuple[dict[str, Path], Path], settings: Settings) -> Contest:
    predicted, truth = job
    models = read_models(predicted, truth)
    if settings.metric == "MAE":
        require_one_unit(models, predicted)
    draws = settings.draws(len(predicted), len(models.ids))
    return contest(models.predicted, models.truth, settings.metric, draws.bootstrap, draws.permutations, settings.seed)


def ranked(contest: Contest) -> dict[str, int]:
    """Ranks by model. The best has 1, and so have all that are not told apart from it; the next best is the first of a
    new group, its rank one more than there are models before it, and so on."""
    sign = 1 if contest.metric == "MAE" else -1
    left = sorted(contest.figures, key=lambda name: sign * contest.figures[name].value)
    apart = {frozenset((one.first, one.second)) for one in contest.differences if one.better is not None}
    ranks: dict[str, int] = {}
    while left:
        best, rank = left[0], len(ranks) + 1
        ranks |= {name: rank for name in left if frozenset((best, name)) not in apart}
        left = [name for name in left if name not in ranks]
    return ranks

"""From annotation files to a prepared folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from artquant.data.picture_names import PictureNames
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RATING_WORDS
from artquant.prepare.annotation import Annotation, PrepareError, Split, check_unique, without_repeats
from artquant.prepare.chosen import chosen_prompt, chosen_readout
from artquant.prepare.columns import Columns
from artquant.prepare.data_card import make_card
from artquant.prepare.image_names import check_suffixes
from artquant.prepare.importers import IMPORTERS
from artquant.prepare.records import (
    Labelling,
    attribute_records,
    comment_records,
    image_records,
    picture_words,
    score_records,
)
from artquant.prepare.scale import Fit, choose_fit
from artquant.prepare.score_places import place_records, target_notes
from artquant.prepare.split import assign_splits
from artquant.prepare.split_lists import Lists, split_by_lists
from artquant.prepare.table_form import TableForm
from artquant.prepare.units import range_notes, unit_notes
from artquant.prepare.write import FILES, write_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What a user can choose; None: the importer's own."""

    columns: Columns | None = None
    range: tuple[float, float] | None = None  # of the scores in the files
    levels: tuple[float, ...] | None = None  # rating values of the words, best first
    words: tuple[str, ...] = RATING_WORDS
    fit: Literal["same", "rescale", "clamp"] = "same"
    method: str | None = None
    word: str = "likeliest"  # rule for the answers' rating words
    sigma: float | None = None
    vote_values: tuple[float, ...] | None = None  # of the vote columns, on the files' scale
    test_fraction: float | None = None
    seed: int = 0  # of the split and of the questions
    ignore_split: bool = False  # go on without the splits that the files themselves say
    ignore_std: bool = False  # and without their standard deviations
    subject: str | None = None  # None: the prompt's own
    prompt: str | None = None  # its name; None: the readout's usual one
    readout: str | None = None  # its kind; None: the default
    tokens: int | None = None  # of a readout that has a number of them; None: its default
    form: TableForm = field(default_factory=TableForm)
    split_lists: Lists = ()  # files of names
    images: Path | None = None  # look whether every picture is there
    skip_missing: bool = False  # leave out pictures that are not there, instead of refusing
    overwrite: bool = False
    progress: bool = False


def prepare(
    name: str, files: Sequence[tuple[Path, Split | None]], out: Path, settings: Settings, command: str
) -> dict[str, Any]:
    """Import annotation files into a prepared folder; the same input gives the same bytes.

    Args:
        name: A key of IMPORTERS.
        files: With their splits; None: what the file says, else training.
        out: The folder to write.
        settings: See there.
        command: The command line, for the card.

    Returns:
        The card.

    Raises:
        ArtQuantError: Anything wrong in files or settings; nothing is written then.
    """
    if name not in IMPORTERS:
        raise ArtQuantError(f"importer {name!r} is unknown; choose one of {', '.join(IMPORTERS)}")
    if not files:
        raise ArtQuantError("no annotation files; name a file, or --train, --validation, --test")
    importer, out = IMPORTERS[name], Path(out)
    _check_sources(files, out)
    columns = settings.columns or importer.columns
    columns = replace(
        columns,
        split=None if settings.ignore_split else columns.split,
        std=None if settings.ignore_std else columns.std,
    )
    fit = choose_fit(settings.range, importer.range, importer.levels, settings.levels, settings.words, settings.fit)
    labelling = _labelling(settings, importer.method, fit)
    imported = importer.read(files, columns, fit.native, settings.vote_values, settings.form, settings.ignore_split)
    logger.info("%d pictures in %d files", len(imported.annotations), len(imported.sources))
    annotations = [fit.apply(annotation) for annotation in imported.annotations]
    annotations, notes = without_repeats(annotations)
    check_unique(annotations)
    annotations, listed = split_by_lists(annotations, settings.split_lists, columns.image, columns.split_values)
    annotations, missing = _with_pictures(annotations, settings)
    notes += listed + missing
    annotations = assign_splits(annotations, settings.test_fraction, settings.seed)
    if imported.vote_values is not None:
        labelling = replace(labelling, vote_values=tuple(map(fit.value, imported.vote_values)))
    training = [annotation for annotation in annotations if annotation.split == "train"]
    probs = None if labelling.places is not None else labelling.score_probs(training)
    records = {
        **_training_records(training, labelling, probs),
        "validation.json": image_records([found for found in annotations if found.split == "validation"]),
        "test.json": image_records([found for found in annotations if found.split == "test"]),
    }
    notes += target_notes(training, labelling)
    words = picture_words(annotations, labelling, probs)
    notes += unit_notes(columns, imported.annotations, fit.native)
    notes += range_notes([found.score for found in imported.annotations], fit.native, words)
    card = make_card(name, annotations, imported, fit, labelling, command, columns.attributes, notes, words)
    return write_folder(out, records, card, settings.overwrite)


def _check_sources(files: Sequence[tuple[Path, Split | None]], out: Path) -> None:
    """Refuse to replace a file that is being read."""
    written = {os.path.realpath(out / name) for name in FILES}
    for path, _ in files:
        if os.path.realpath(path) in written:
            raise PrepareError(f"{path}: would be replaced by what is made of it; name another folder with --out")


def _labelling(settings: Settings, usual_method: str, fit: Fit) -> Labelling:
    """How records are made, but for the values of votes, which the files may say."""
    readout, readout_settings = chosen_readout(settings.readout, settings.tokens, fit.levels)
    if readout is not None and settings.word != Labelling.word:
        raise ArtQuantError(f"answers of the readout {readout.kind} say no rating word; leave out --word")
    prompt, subject = chosen_prompt(settings.prompt, settings.subject, readout is not None and readout.several)
    return Labelling(
        levels=fit.levels,
        method=settings.method or usual_method,
        sigma=settings.sigma,
        word=settings.word,
        subject=subject,
        seed=settings.seed,
        progress=settings.progress,
        prompt_name=prompt,
        readout=readout,
        readout_settings=readout_settings,
        # A method that is named, or scores that move apart from each other, make other shares.
        keep_targets=settings.method is None and settings.sigma is None and fit.rule != "clamp",
    )


def _training_records(
    annotations: Sequence[Annotation], labelling: Labelling, probs: np.ndarray | None
) -> Mapping[str, Iterable[dict[str, Any]]]:
    if labelling.places is not None:
        return place_records(annotations, labelling, labelling.places)
    return {
        "score.json": score_records(annotations, labelling, probs),
        "attributes.json": attribute_records(annotations, labelling),
        "comments.json": comment_records(annotations, labelling),
    }


def _with_pictures(annotations: list[Annotation], settings: Settings) -> tuple[list[Annotation], list[str]]:
    """The annotations whose pictures are there, and a note about those left out."""
    if settings.images is None:
        check_suffixes(annotations)
        return annotations, []
    folder = Path(settings.images)
    if not folder.is_dir():
        raise PrepareError(f"{folder}: is no folder; name the folder of the pictures with --images")
    look = PictureNames()
    there = [annotation for annotation in annotations if os.path.isfile(look.path(folder, annotation.image))]
    missing = len(annotations) - len(there)
    if missing == 0:
        return annotations, [f"{folder}: all {len(annotations)} pictures are there"]
    names = {annotation.image for annotation in there}
    first = next(annotation for annotation in annotations if annotation.image not in names)
    path = folder / first.image
    text = f"no picture {str(path)!r}{look.hint(path, folder)}; missing for {missing} of {len(annotations)} records"
    if not settings.skip_missing or not there:
        raise PrepareError(f"{first.source}: {text}; check the folder, or leave them out with --skip-missing")
    return there, [f"{first.source}: {text}, which are left out"]

"""The model that the command line names, and what it can be asked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from artquant.data.predictions import prediction_line
from artquant.errors import ArtQuantError
from artquant.infer.scorer import Scorer
from artquant.infer.trained import known_attributes
from artquant.listing.result_tables import columns_of, flat
from artquant.listing.where import Where
from artquant.models.model_folder import ModelFolder


def open_model(
    arguments: argparse.Namespace, path: Path | None = None, fallback: Path | None = None, alone: bool = False
) -> ModelFolder:
    """The folder of --model, or another path, with the base that is named.

    Raises:
        ArtQuantError: As `ModelFolder.open`; or a base is named that nothing would be read from.
    """
    model = arguments.model if path is None else path
    folder = ModelFolder.open(model, arguments.base, fallback, arguments.allow_other_base, alone)
    whole = not folder.is_partial and folder.family.holds_processor(folder.path)
    if arguments.base is not None and whole:
        raise ArtQuantError(f"--base {arguments.base}: nothing would be read from it; {model} needs none: leave it out")
    return folder


def chosen_attributes(scorer: Scorer, wanted: str | tuple[str, ...], model: Path) -> tuple[str, ...]:
    """The attributes to score: those named, or those that the model was trained on.

    Raises:
        ArtQuantError: the model was trained on none.
    """
    if wanted != "trained":
        return tuple(wanted)
    try:
        return known_attributes(scorer.loaded, (wanted,))
    except ArtQuantError as error:
        raise ArtQuantError(f"{model}: {error} (--attribute NAME)") from None


def require_learned(
    scorer: Scorer, tasks: Sequence[str], model: Path, attributes: Sequence[str] = (), anyway: bool = False
) -> None:
    """Refuse what the model was not trained on, as far as its card says, unless it is wanted anyway.

    Raises:
        ArtQuantError: it learned none of a task's records, or an attribute is none of those that it was trained on.
    """
    learned = scorer.loaded.learned
    if learned is None or anyway:
        return
    for task, what in (("score", "scores"), ("description", "descriptions")):
        if task in tasks and task not in learned:
            raise ArtQuantError(f"{model}: was never trained on {what}; name a model that was, or add --anyway")
    try:
        known_attributes(scorer.loaded, attributes)
    except ArtQuantError as error:
        raise ArtQuantError(f"{model}: {error}, or add --anyway") from None


def require_columns(scorer: Scorer, attributes: Sequence[str], where: Where) -> None:
    """Refuse, before anything is scored, a condition on a column that no picture will have; a grey one is scored.

    Raises:
        ArtQuantError: there is no such column.
    """
    grey = scorer.processor.picture(Image.new("RGB", (64, 64), "grey"))
    [score] = scorer.score_pictures([grey], attributes)
    row = flat(prediction_line("", "", 0.0, score))
    where.require_columns([name for name, kind in columns_of([row]).items() if kind is float])

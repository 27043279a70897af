"""A folder for the hub: our own form with its code and a README, written once it scores without this package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from artquant.config.schema import Loading
from artquant.errors import ArtQuantError
from artquant.files.json_files import write_text
from artquant.files.whole_folder import whole_folder
from artquant.hub_folders.clean_run import PACKAGE
from artquant.hub_folders.code import code_of
from artquant.hub_folders.readme import About, read_evaluations, readme, run_evaluations
from artquant.hub_folders.trial import draw_pictures, said_here, said_without_package
from artquant.models.export import WrittenFile, write_own, written_files
from artquant.models.model_folder import ModelFolder
from artquant.models.weights import LoadedModel, load_model

# Largest difference of two scores of one picture, as a share of the range.
_AGREE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


@dataclass(frozen=True)
class HubFolder:
    """What was written. difference: the largest between two scores of a picture, here and without this package."""

    files: list[WrittenFile]
    difference: float


def write_hub_folder(
    source: ModelFolder,
    out: Path,
    dtype: torch.dtype | None = None,
    untested: bool = False,
    licence: str | None = None,
    metrics: Path | None = None,
    name: str | None = None,
) -> HubFolder:
    """Write a model with the code that scores by it; it appears at once, when it has been tried.

    Args:
        dtype: of the weights; default float32. licence: of the weights, by its name on the hub. metrics: what
            `artquant eval` wrote about the model; default is its run's, if that was of these weights.
        name: of the repository that it will be; default is the folder's.

    Raises:
        ArtQuantError: `out` is there already, the model cannot be read or has no such code, or a process without this
            package scores otherwise.
    """
    dtype = dtype or torch.float32
    evaluations = read_evaluations(metrics) if metrics is not None else run_evaluations(source)
    about = About(name or out.name, licence, evaluations)
    with whole_folder(out) as partial, TemporaryDirectory() as scratch:
        pictures = draw_pictures(Path(scratch))
        loaded = load_model(source, Loading(untested=untested))
        loaded.network.plain.to(dtype)  # type: ignore[arg-type]  # transformers' wrapper hides what is bound
        low, high = loaded.readout.low, loaded.readout.high
        here = said_here(loaded, pictures)
        write_files(loaded, {} if source.card is None else source.card.history, partial, about)
        del loaded  # the other process needs as much memory
        there = said_without_package({partial: bool(here.texts)}, pictures, Path(scratch))[partial]
        difference = here.difference(there)
        words_differ = dtype == torch.float32 and here.texts != there.texts
        if not difference <= _AGREE[dtype] * (high - low) or words_differ:
            raise ArtQuantError(
                f"{source.path}: without {PACKAGE} its scores differ by up to {difference:.2g}, or its words do, so "
                "nothing was written; export it as merged, and report it"
            )
    return HubFolder(written_files(out), difference)


def write_files(loaded: LoadedModel, history: dict[str, Any], folder: Path, about: About) -> None:
    """Weights, code and README of a loaded model, in the number format that it is in; nothing is tried.

    Raises:
        ArtQuantError: the model has no code that stands alone.
    """
    code = code_of(loaded)
    loaded.network.config.auto_map = dict(code.auto_map)
    processor: Any = loaded.processor
    if "AutoProcessor" in code.auto_map:  # it is one of transformers' kind
        processor.auto_map = {"AutoProcessor": code.auto_map["AutoProcessor"]}
        processor.tokenizer._auto_map = {"AutoTokenizer": [code.auto_map["AutoTokenizer"], None]}  # slow and fast
    card = write_own(loaded, folder, _without_places(history))
    # The card does not list what follows: folders that are fetched for this package come without code.
    for name, text in code.files.items():
        write_text(folder / name, text)
    write_text(folder / "README.md", readme(loaded, card, about, code.packages))


def _without_places(values: Any) -> Any:
    """Plain values in which paths of this machine are their last names: they are nobody else's business."""
    if isinstance(values, dict):
        return {name: _without_places(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_without_places(value) for value in values]
    return Path(values).name if isinstance(values, str) and Path(values).is_absolute() else values

"""The model that the command line names."""

from __future__ import annotations

import argparse
from pathlib import Path

from artquant.errors import ArtQuantError
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

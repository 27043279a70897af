"""Checkpoints that are either whole or not there.

A checkpoint is written under another name, forced to the disk, listed in a manifest and only then given its name:
whatever a crash or a full disk leaves behind is not taken for a checkpoint. The manifest holds sizes and SHA-256; one
whose files are not as it says, or that lacks a file to go on with, is passed over as well.

    FOLDER/checkpoint-120/               a whole checkpoint, with checkpoint.json
    FOLDER/.partial/checkpoint-160/      being written, or left behind
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from artquant.errors import ArtQuantError, one_line
from artquant.files.file_list import file_faults, is_unbroken, list_files, sealed
from artquant.files.json_files import read_json, write_json
from artquant.files.whole_folder import force_to_disk
from artquant.models.adapters import TRAINABLE_WEIGHTS

logger = logging.getLogger(__name__)

MANIFEST = "checkpoint.json"
_PARTIAL = ".partial"
_PREFIX = "checkpoint-"
# What training goes on with beside the weights, by transformers' names; DeepSpeed's lies in a folder named by `latest`.
_STATE = ("trainer_state.json", "rng_state*.pth")
_OPTIMIZER = {True: ("latest", "*/*_states.pt"), False: ("optimizer.pt", "scheduler.pt")}


class CheckpointStore:
    """The checkpoints in one folder.

    Args:
        folder: where they lie.
        keep: how many are kept; older ones are deleted once a new one is whole.
        weights_only: they hold weights alone, not the state that training goes on with.
    """

    def __init__(self, folder: Path, keep: int, weights_only: bool = False):
        self.folder = folder
        self.keep = keep
        self.weights_only = weights_only

    @property
    def aside(self) -> Path:
        """Where a checkpoint is written until it is whole."""
        return self.folder / _PARTIAL

    def path(self, step: int) -> Path:
        """A whole checkpoint's folder."""
        return self.folder / f"{_PREFIX}{step}"

    def partial(self, step: int) -> Path:
        """The folder to write a step's checkpoint into."""
        return self.aside / f"{_PREFIX}{step}"

    def discard_partial(self) -> None:
        """Delete what an earlier writer left unfinished."""
        shutil.rmtree(self.aside, ignore_errors=True)

    def commit(self, step: int, **description: Any) -> Path:
        """Make the partial checkpoint of a step a whole one, then delete those beyond the number to keep.

        Args:
            description: plain values for the manifest, beside the step and the files.

        Raises:
            OSError, ArtQuantError: it cannot be written; the checkpoints from before are untouched.
            ArtQuantError: a file is missing that training goes on with.
        """
        source, target = self.partial(step), self.path(step)
        files = list_files(source, without=(MANIFEST,))
        lacking = self._lacking(files)
        if lacking is not None:
            raise ArtQuantError(f"{source}: the checkpoint was written without {lacking}; it is not kept")
        for name in files:
            force_to_disk(source / name)
        write_json(source / MANIFEST, sealed({"step": step, **description, "files": files}))
        shutil.rmtree(target, ignore_errors=True)  # a damaged one of the same step
        os.replace(source, target)
        force_to_disk(self.folder)
        for old in self._found()[self.keep :]:
            shutil.rmtree(old, ignore_errors=True)
        return target

    def last(self) -> Path | None:
        """The newest whole checkpoint; damaged ones are passed over with a warning."""
        for checkpoint in self._found():
            fault = self._fault(checkpoint)
            if fault is None:
                return checkpoint
            logger.warning("%s is passed over: %s", checkpoint, fault)
        return None

    def discard_after(self, step: int) -> None:
        """Delete checkpoints of later steps: a run that goes on from this one will write its own.

        Older ones beyond the number to keep go too: a kill may have come before that.
        """
        found = self._found()
        later = [one for one in found if int(one.name.removeprefix(_PREFIX)) > step]
        for checkpoint in (*later, *found[len(later) :][self.keep :]):
            shutil.rmtree(checkpoint, ignore_errors=True)

    def _lacking(self, files: Mapping[str, Any]) -> str | None:
        """A file that training goes on with and that is not among these, or None."""
        deepspeed = any(fnmatch(name, pattern) for name in files for pattern in _OPTIMIZER[True])
        state = () if self.weights_only else (*_STATE, *_OPTIMIZER[deepspeed])
        found = (TRAINABLE_WEIGHTS, *state)
        return next((pattern for pattern in found if not any(fnmatch(name, pattern) for name in files)), None)

    def _fault(self, checkpoint: Path) -> str | None:
        """Why a checkpoint is not whole, or None."""
        try:
            manifest = read_manifest(checkpoint)
            files = manifest["files"]
            if any(isinstance(said, dict) for said in files.values()) and not is_unbroken(manifest):
                return f"{MANIFEST} is not as it was written (another SHA-256)"
            lacking = self._lacking(files)
            return next(file_faults(checkpoint, files), None) if lacking is None else f"it holds no {lacking}"
        except (OSError, ArtQuantError, KeyError, TypeError, AttributeError) as error:
            return f"it cannot be used ({one_line(error)})"

    def _found(self) -> list[Path]:
        """Checkpoint folders, newest first."""
        numbered = [
            (int(path.name.removeprefix(_PREFIX)), path)
            for path in self.folder.glob(f"{_PREFIX}*")
            if path.is_dir() and path.name.removeprefix(_PREFIX).isdecimal()
        ]
        return [path for _, path in sorted(numbered, reverse=True)]


def read_manifest(checkpoint: Path) -> dict[str, Any]:
    """What a whole checkpoint says of itself: step, files, and what its writer described."""
    return read_json(checkpoint / MANIFEST)


def not_written(store: CheckpointStore, step: int, error: Exception) -> ArtQuantError:
    """The error for a checkpoint that could not be written."""
    last = store.last()
    kept = f"the last whole one is {last}" if last else "there is none from before"
    return ArtQuantError(
        f"{store.path(step)}: the checkpoint could not be written ({one_line(error)}); {kept}. Free space or mend the "
        "folder, then run the same command: it goes on from there"
    )

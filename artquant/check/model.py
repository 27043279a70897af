"""What is wrong with a model folder: every file against its card, every number of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from artquant.errors import ArtQuantError
from artquant.models.model_card import CARD, card_faults
from artquant.models.model_folder import ModelFolder
from artquant.models.tensors import is_finite, require_numbers, stored_dtypes, stored_tensors

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin", "non_lora_trainables.bin")
_BUFFERS = ("position_ids", "num_batches_tracked")  # integers that weights files of published networks may hold


@dataclass(frozen=True)
class ModelReport:
    """faults: one line each. files: that the card lists and that were compared. tensors: that were read."""

    folder: Path
    faults: tuple[str, ...]
    files: int | None  # None: no card lists them
    tensors: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be looked at."""
        if self.files is not None:
            return ()
        return (f"no {CARD} lists the folder's files (not ours, or of an earlier version): looked at what they hold",)


def check_model(folder: Path) -> ModelReport:
    """Read all of a model folder; what an adapter lies over is another folder, to be checked by itself."""
    faults, tensors, files = [], 0, None
    try:
        if (folder / CARD).is_file():
            faults += [f"{folder}: {fault}" for fault in card_faults(folder)]
        if not faults:
            card = ModelFolder.open(folder, alone=True).card
            files = None if card is None or card.files is None else len(card.files)
    except ArtQuantError as error:
        faults.append(str(error))
    except OSError as error:
        faults.append(f"{error.filename or folder}: cannot be read: {error.strerror}")
    for file in sorted({file for pattern in _WEIGHTS for file in folder.glob(pattern)}):
        if file.is_file():
            try:
                require_numbers(file, stored_dtypes(file), _BUFFERS)
                for name, tensor in stored_tensors(file):
                    tensors += 1
                    if not is_finite(tensor):
                        faults.append(f"{file}: tensor {name} is not finite (NaN or infinite)")
            except ArtQuantError as error:
                faults.append(str(error))
    return ModelReport(folder, tuple(dict.fromkeys(faults)), files, tensors)

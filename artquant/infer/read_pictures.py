"""Pictures of a list, read ahead or between two batches, whichever leaves the network more of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from artquant.data.images import ImageError, load_image
from artquant.data.picture_names import PictureNames
from artquant.data.records import ImageRecord
from artquant.files.child_processes import end_with_parent
from artquant.infer.picture_notes import PictureNote
from artquant.models.family import Processor

_WORKERS = 2  # beside a GPU


Read = tuple[ImageRecord, Any, str | None, PictureNote | None]  # prepared picture; why there is none; of the file


class Pictures(Dataset):
    """Records as prepared pictures, or the reason why one cannot be read; noted: with a note of the whole file."""

    def __init__(self, records: Sequence[ImageRecord], processor: Processor, noted: bool = False):
        self.records = records
        self.processor = processor
        self.noted = noted
        self._names = PictureNames()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Read:
        record = self.records[index]
        note = PictureNote.of(Path(record.image)) if self.noted else None
        try:
            image = load_image(record.image, record=f"{record.source} id {record.id!r}")
        except ImageError as error:
            hint = "" if os.path.exists(record.image) else self._names.hint(record.image)
            return record, None, f"{error}{hint}", note
        return record, self.processor.picture(image), None, note


def read_pictures(
    records: Sequence[ImageRecord],
    processor: Processor,
    batch_size: int,
    workers: int | None,
    device: torch.device,
) -> Iterable[list[Read]]:
    """Lists of what was read, in order.

    Args:
        workers: processes that read ahead; 0: this one, between two batches. None: two beside a GPU; where the network
            itself takes every core, as many threads as it has, between two batches.
    """
    pictures = Pictures(records, processor, noted=True)
    if workers is None and device.type == "cpu":
        return _by_threads(pictures, batch_size, torch.get_num_threads())
    return DataLoader(
        pictures,
        batch_size=batch_size,
        num_workers=_WORKERS if workers is None else workers,
        collate_fn=list,
        worker_init_fn=end_with_parent,
    )


def _by_threads(pictures: Pictures, batch_size: int, threads: int) -> Iterator[list[Read]]:
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(pictures), batch_size):
            places = range(start, min(start + batch_size, len(pictures)))
            yield list(pool.map(pictures.__getitem__, places))

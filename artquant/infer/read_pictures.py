"""Pictures of a list, read ahead or between two batches, whichever leaves the network more of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from artquant.data.images import ImageError
from artquant.data.picture_names import PictureNames
from artquant.files.child_processes import end_with_parent
from artquant.infer.picture_notes import PictureNote
from artquant.listing.entry import Entry
from artquant.listing.open_entry import EntryReader
from artquant.models.family import Processor

_WORKERS = 2  # beside a GPU


Read = tuple[Entry, Any, str | None, PictureNote | None]  # prepared picture; why there is none; of the file


class Pictures(Dataset):
    """Entries as prepared pictures, or the reason why one cannot be read; noted: with a note of the whole file."""

    def __init__(self, reader: EntryReader, processor: Processor, noted: bool = False):
        self.reader = reader
        self.processor = processor
        self.noted = noted
        self._names = PictureNames()

    def __getitem__(self, entry: Entry) -> Read:
        note = PictureNote.of(entry, self.reader) if self.noted else None
        try:
            image = self.reader.read(entry)
        except ImageError as error:
            hint = "" if os.path.exists(entry.file) else self._names.hint(Path(entry.file))
            return entry, None, f"{error}{hint}", note
        return entry, self.processor.picture(image), None, note


def read_pictures(
    entries: Iterable[Entry],
    reader: EntryReader,
    processor: Processor,
    batch_size: int,
    workers: int | None,
    device: torch.device,
    noted: bool = True,
) -> Iterable[list[Read]]:
    """Lists of what was read, in order; no more entries are taken than are read ahead.

    Args:
        workers: processes that read ahead; 0: this one, between two batches. None: two beside a GPU; where the network
            itself takes every core, as many threads as it has, between two batches.
        noted: with a note of each picture's file.
    """
    pictures, batches = Pictures(reader, processor, noted), _batches(entries, batch_size)
    if workers is None and device.type == "cpu":
        return _by_threads(pictures, batches, torch.get_num_threads())
    return DataLoader(
        pictures,
        batch_sampler=batches,
        num_workers=_WORKERS if workers is None else workers,
        collate_fn=list,
        worker_init_fn=end_with_parent,
    )


def _batches(entries: Iterable[Entry], size: int) -> Iterator[list[Entry]]:
    left = iter(entries)
    while batch := list(islice(left, size)):
        yield batch


def _by_threads(pictures: Pictures, batches: Iterable[list[Entry]], threads: int) -> Iterator[list[Read]]:
    with ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            yield list(pool.map(pictures.__getitem__, batch))

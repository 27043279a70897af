"""A shard scored with the model that the run was planned with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from artquant import __version__
from artquant.data.images import ImageError
from artquant.errors import ArtQuantError
from artquant.infer.journal import full_origin, origin_of
from artquant.infer.scorer import Scorer
from artquant.listing.entry import Entry
from artquant.listing.open_entry import EntryReader
from artquant.models.family import Processor
from artquant.models.model_folder import ModelFolder
from artquant.shards.manifest import Manifest, Run
from artquant.shards.work import score_shard


@dataclass(frozen=True)
class How:
    """How a run's model is loaded and asked: plain values, as its manifest holds them; `loading`: as of `Loading`."""

    model: str
    base: str | None = None
    allow_other_base: bool = False
    prompt: str | None = None
    weights: list[float] | None = None
    score_range: list[float] | None = None
    loading: dict[str, Any] = field(default_factory=dict)
    attributes: list[str] = field(default_factory=list)
    batch_size: int = 16

    def load(self, device: str) -> tuple[Scorer, ModelFolder]:
        """Raises ArtQuantError: as `Scorer.from_pretrained`."""
        folder = ModelFolder.open(self.model, self.base, allow_other_base=self.allow_other_base)
        score_range = None if self.score_range is None else (self.score_range[0], self.score_range[1])
        given = {"prompt": self.prompt, "weights": self.weights, "score_range": score_range}
        return Scorer.from_pretrained(folder, device=device, **given, **self.loading), folder

    def origin(self, scorer: Scorer, folder: ModelFolder) -> dict[str, object]:
        """What scores are made with. The size of a batch counts: it changes their last digits."""
        made = {"attributes": self.attributes, "batch_size": self.batch_size, "artquant": __version__}
        return full_origin(scorer, origin_of(folder) | made)


class ShardScorer:
    """Rows of shards, by the model of a run; of `model` and `base` instead, where it lies elsewhere on this machine.

    Raises:
        ArtQuantError: the model is another one than the run was planned with, or cannot be loaded.
    """

    def __init__(self, run: Run, device: str = "auto", model: Path | None = None, base: Path | None = None):
        moved = {name: str(path) for name, path in (("model", model), ("base", base)) if path is not None}
        self._how = How(**run.manifest.how | moved)
        self._scorer, folder = self._how.load(device)
        _require_planned(run, self._how.origin(self._scorer, folder))
        self._reader = Batches(self._scorer.processor, self._how.batch_size)

    def __call__(self, entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
        """As `score_shard`."""
        return score_shard(entries, self._reader, self._scorer, self._how.attributes)


class Batches:
    """Reads and prepares pictures, as a `Reader`."""

    def __init__(self, processor: Processor, size: int):
        self._processor = processor
        self._size = size

    def batches(self, entries: Sequence[Entry]) -> Iterator[list[tuple[Entry, Any, str | None]]]:
        """As of a `Reader`."""
        with EntryReader() as reader, ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for start in range(0, len(entries), self._size):
                yield list(pool.map(lambda entry: self._read(reader, entry), entries[start : start + self._size]))

    def _read(self, reader: EntryReader, entry: Entry) -> tuple[Entry, Any, str | None]:
        try:
            return entry, self._processor.picture(reader.read(entry)), None
        except ImageError as error:
            return entry, None, str(error)


def _require_planned(run: Run, origin: dict[str, object]) -> None:
    planned = run.manifest.origin
    found = Manifest(0, 1, (), origin, {}, "", {})
    if found.fingerprint != run.manifest.fingerprint:
        names = sorted({*planned, *origin} - {"model"})
        other = ", ".join(name for name in names if planned.get(name) != origin.get(name))
        raise ArtQuantError(
            f"{run.folder}: was planned with {planned['model']}; what is here has other {other}: take the model and the "
            "release that it was planned with, or plan it anew under another name"
        )

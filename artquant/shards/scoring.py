"""A shard scored with the model that the run was planned with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artquant import __version__
from artquant.config.requirements import USUAL_BATCH
from artquant.infer.each_scored import EachDescribed, EachScored
from artquant.infer.journal import full_origin, origin_of
from artquant.infer.read_pictures import Read, read_pictures
from artquant.infer.scorer import Scorer
from artquant.listing.columns import Columns
from artquant.listing.entry import Entry
from artquant.listing.open_entry import EntryReader, drafted
from artquant.models.model_folder import ModelFolder
from artquant.shards.manifest import Run
from artquant.shards.work import score_shard


@dataclass(frozen=True)
class How:
    """How a run's model is loaded and asked: plain values, as its manifest holds them.

    loading: as of `Loading`. columns: as of `Columns`. describe: level of a column of descriptions, of at most so many
    tokens; None: there is none. draft_to: as of `load_image`.
    """

    model: str
    base: str | None = None
    allow_other_base: bool = False
    prompt: str | None = None
    weights: list[float] | None = None
    score_range: list[float] | None = None
    loading: dict[str, Any] = field(default_factory=dict)
    attributes: list[str] = field(default_factory=list)
    batch_size: int = USUAL_BATCH
    columns: dict[str, str | None] = field(default_factory=dict)
    describe: int | None = None
    max_new_tokens: int = 512
    draft_to: int | None = None

    def load(self, device: str) -> tuple[Scorer, ModelFolder]:
        """Raises ArtQuantError: as `Scorer.from_pretrained`."""
        folder = ModelFolder.open(self.model, self.base, allow_other_base=self.allow_other_base)
        score_range = None if self.score_range is None else (self.score_range[0], self.score_range[1])
        given: dict[str, Any] = {"prompt": self.prompt, "weights": self.weights, "score_range": score_range}
        return Scorer.from_pretrained(folder, device=device, **given, **self.loading), folder

    def origin(self, scorer: Scorer, folder: ModelFolder) -> dict[str, object]:
        """What scores are made with. The size of a batch counts: it changes their last digits."""
        made = {"attributes": self.attributes, "batch_size": self.batch_size, "artquant": __version__}
        told = {} if self.describe is None else {"describe": self.describe, "max_new_tokens": self.max_new_tokens}
        return full_origin(scorer, origin_of(folder) | made | told | drafted(self.draft_to))


class ShardScorer:
    """Rows of shards, by the model of a run.

    Args:
        model, base: where it lies on this machine, if not where it was planned with. workers: as of `read_pictures`.

    Raises:
        ArtQuantError: the model is another one than the run was planned with, or cannot be loaded.
    """

    def __init__(
        self,
        run: Run,
        device: str = "auto",
        model: Path | None = None,
        base: Path | None = None,
        workers: int | None = None,
    ):
        moved = {name: str(path) for name, path in (("model", model), ("base", base)) if path is not None}
        self._how = How(**run.manifest.how | moved)
        self._scorer, folder = self._how.load(device)
        run.require_planned(self._how.origin(self._scorer, folder))
        level, most = self._how.describe, self._how.max_new_tokens
        self._each = EachScored(self._scorer) if level is None else EachDescribed(self._scorer, level, most)
        self._reader = EntryReader(Columns(**self._how.columns), self._how.draft_to)
        self._workers = workers

    def __call__(self, entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
        """As `score_shard`."""
        return score_shard(entries, self._read, self._each, self._how.attributes)

    def _read(self, entries: Sequence[Entry]) -> Iterable[list[Read]]:
        scorer, size = self._scorer, self._how.batch_size
        return read_pictures(entries, self._reader, scorer.processor, size, self._workers, scorer.device, noted=False)

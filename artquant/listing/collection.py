"""Inputs as they were named, to be gone through any number of times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from artquant.listing.columns import Columns
from artquant.listing.entries import entries
from artquant.listing.entry import Entry
from artquant.listing.given import Kind, expanded, kind_of
from artquant.listing.only import Only
from artquant.listing.open_entry import EntryReader


@dataclass(frozen=True)
class Collection:
    """Pictures of any inputs, or some of them (only); other arguments as of `entries` and of their reader."""

    given: tuple[str | Path, ...]
    images: Path | None = None
    recursive: bool = True
    columns: Columns = field(default_factory=Columns)
    only: Only | None = None
    draft_to: int | None = None

    def __iter__(self) -> Iterator[Entry]:
        return self._listed(unique=True)

    def entries(self) -> Iterator[Entry]:
        """As when gone through, but whoever asks sees to ids that come twice."""
        return self._listed(unique=False)

    def _listed(self, unique: bool) -> Iterator[Entry]:
        found = entries(self.given, self.images, self.recursive, self.columns, unique)
        return found if self.only is None else self.only.of(found)

    def count(self, most: int) -> int | None:
        """How many pictures there are; None: more than so many, and no further was looked.

        Where only some are wanted all are gone through: whether each is there shows at the end.

        Raises:
            ArtQuantError: as the entries, among so many.
        """
        found = sum(1 for _ in (self if self.only is not None else islice(self, most + 1)))
        return None if self.only is None and found > most else found

    def has_records(self) -> bool:
        """Whether an input is a list of records in JSON: made with care, so that a fault in it is to be seen to."""
        return any(kind_of(path) is Kind.JSON for one in self.given for path in expanded(one))

    def reader(self) -> EntryReader:
        """What reads its pictures."""
        return EntryReader(self.columns, self.draft_to)

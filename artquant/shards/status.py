"""How far a run is."""

from __future__ import annotations

import time
from dataclasses import dataclass

from artquant.shards.claims import Claims
from artquant.shards.manifest import Run, shard_name
from artquant.shards.results import ending_of

_WHILE = 600.0  # seconds over which the rate is told


@dataclass(frozen=True)
class Status:
    """Shards and pictures of a run.

    claimed: shards that a worker is at. expired: whose worker has given no sign for the lease: the next one takes them.
    errors: pictures without a score. rate: pictures a second over the last ten minutes of work; None: too few
    shards were finished to tell.
    """

    shards: int
    done: int
    claimed: int
    expired: int
    pictures: int
    pictures_done: int
    errors: int
    rate: float | None

    @property
    def open(self) -> int:
        """Shards that nobody is at."""
        return self.shards - self.done - self.claimed - self.expired


def status_of(run: Run, lease: float) -> Status:
    """Raises ArtQuantError: a result was changed or is of another model."""
    endings = {number: ending_of(run, number) for number in range(len(run))}
    done = {number: ending for number, ending in endings.items() if ending is not None}
    names = {shard_name(number) for number in done}
    over = [is_over for name, is_over in Claims(run.claims, lease).by_shard().items() if name not in names]
    finished = sorted((run.result_file(number).stat().st_mtime, ending.pictures) for number, ending in done.items())
    return Status(
        len(run),
        len(done),
        over.count(False),
        over.count(True),
        run.manifest.pictures,
        sum(ending.pictures for ending in done.values()),
        sum(ending.errors for ending in done.values()),
        _rate(finished),
    )


def _rate(finished: list[tuple[float, int]]) -> float | None:
    """Of shards by the time when they were finished: pictures a second after the first of the last while."""
    recent = [one for one in finished if finished[-1][0] - one[0] <= _WHILE]
    if len(recent) < 2 or time.time() - finished[-1][0] > _WHILE or recent[-1][0] == recent[0][0]:
        return None
    return sum(pictures for _, pictures in recent[1:]) / (recent[-1][0] - recent[0][0])

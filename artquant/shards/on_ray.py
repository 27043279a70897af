"""A run's workers as Ray actors, one for each free GPU, or processor where there are no GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from artquant.errors import ArtQuantError, one_line
from artquant.shards.manifest import Run
from artquant.shards.ray_cluster import connected, kept_places
from artquant.shards.work import work


class Worker:
    """An actor; one that dies is started anew, and goes on with what is left."""

    def __init__(self, folder: str):
        self._run = Run.open(Path(folder))

    def work(self, worker: tuple[int, int], lease: float) -> int:
        """As `artquant.shards.work.work`, on the GPU that is this actor's, else on its processor."""
        from artquant.shards.scoring import ShardScorer  # takes torch: in the actor alone

        return work(self._run, ShardScorer(self._run), worker, lease)


def run_on_ray(run: Run, address: str, most: int | None, lease: float) -> int:
    """Work with at most so many actors until all are done; how many pictures were scored.

    Args:
        address: of a cluster whose machines all see the run's folder; empty: this machine.

    Raises:
        ArtQuantError: no cluster is there, it has nothing free, or a worker cannot go on.
    """
    with connected(address):
        kind, places = kept_places(min(most or len(run), len(run)))
        one: dict[str, Any] = {"num_gpus": 1, "num_cpus": 0} if kind == "GPU" else {"num_cpus": 1}
        made: Any = ray.remote(max_restarts=-1, max_task_retries=-1, **one)(Worker)
        actors = [made.options(scheduling_strategy=PlacementGroupSchedulingStrategy(place)) for place in places]
        actors = [actor.remote(str(run.folder.resolve())) for actor in actors]
        jobs = [actor.work.remote((number, len(actors)), lease) for number, actor in enumerate(actors, 1)]
        try:
            return sum(ray.get(jobs))
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, ArtQuantError) else one_line(error.cause)
            raise ArtQuantError(str(cause)) from None

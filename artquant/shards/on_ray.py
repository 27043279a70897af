"""A run's workers as Ray actors, one for each free GPU, or processor where there are no GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from artquant.errors import ArtQuantError, one_line
from artquant.shards.manifest import Run
from artquant.shards.scoring import ShardScorer
from artquant.shards.work import work

_PATIENCE = 30.0  # seconds until an actor has a process: one that has none by then waits for others' resources


class Worker:
    """An actor; one that dies is started anew, and goes on with what is left."""

    def __init__(self, folder: str):
        self._run = Run.open(Path(folder))

    def is_there(self) -> bool:
        """Says so as soon as it runs."""
        return True

    def work(self, worker: tuple[int, int], lease: float) -> int:
        """As `artquant.shards.work.work`, on the GPU that is this actor's, else on its processor."""
        return work(self._run, ShardScorer(self._run), worker, lease)


def run_on_ray(run: Run, address: str, most: int | None, lease: float) -> int:
    """Work with at most so many actors until all are done; how many pictures were scored.

    Args:
        address: of a cluster whose machines all see the run's folder; empty: this machine.

    Raises:
        ArtQuantError: no cluster is there, it has nothing free, or a worker cannot go on.
    """
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise ArtQuantError(f"--ray {address}: no cluster to work on: {one_line(error)}") from None
    try:
        actors = _actors(run, min(most or len(run), len(run)))
        jobs = [actor.work.remote((number, len(actors)), lease) for number, actor in enumerate(actors, 1)]
        return sum(ray.get(jobs))
    except RayTaskError as error:
        cause = error.cause if isinstance(error.cause, ArtQuantError) else one_line(error.cause)
        raise ArtQuantError(str(cause)) from None
    finally:
        ray.shutdown()


def _actors(run: Run, most: int) -> list[Any]:
    """As many as have a place; raises ArtQuantError: none has."""
    kind = "GPU" if ray.cluster_resources().get("GPU", 0) >= 1 else "CPU"
    count = min(most, int(ray.available_resources().get(kind, 0)))
    one: dict[str, Any] = {"num_gpus": 1} if kind == "GPU" else {"num_cpus": 1}
    made: Any = ray.remote(max_restarts=-1, max_task_retries=-1, **one)(Worker)
    actors = [made.remote(str(run.folder.resolve())) for _ in range(count)]
    asked = {actor.is_there.remote(): actor for actor in actors}
    there, absent = ray.wait([*asked], num_returns=len(asked), timeout=_PATIENCE) if asked else ([], [])
    for one_absent in absent:
        ray.kill(asked[one_absent])
    if not there:
        taken = f"{ray.cluster_resources().get(kind, 0):g} {kind}s"
        raise ArtQuantError(f"--ray: of the cluster's {taken} none is free; wait for other jobs, or give it more")
    return [asked[one_there] for one_there in there]

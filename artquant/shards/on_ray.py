"""A run's workers as Ray actors, one for each free GPU, or processor where there are no GPUs."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from artquant.errors import ArtQuantError, one_line
from artquant.shards.manifest import Run
from artquant.shards.work import work

_PATIENCE = 5.0  # seconds until what was free a moment ago is kept for an actor


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
    _require_there(address)
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
    except RayError as error:
        again = "run the same command again: it goes on with what is done"
        raise ArtQuantError(f"--ray: the cluster has failed ({one_line(error, 120)}); {again}") from None
    finally:
        ray.shutdown()


def _require_there(address: str) -> None:
    """Ray itself waits for minutes. Raises ArtQuantError: nobody listens at an address with a port."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), _PATIENCE).close()
        except (OSError, OverflowError) as error:
            raise ArtQuantError(f"--ray {address}: no cluster is there: {one_line(error)}; check the address") from None


def _actors(run: Run, most: int) -> list[Any]:
    """As many as have a place, which is kept for them; raises ArtQuantError: none has."""
    kind = "GPU" if ray.cluster_resources().get("GPU", 0) >= 1 else "CPU"
    count = min(most, int(ray.available_resources().get(kind, 0)))
    places = [placement_group([{kind: 1}]) for _ in range(count)]
    kept = [place for place in places if place.wait(_PATIENCE)]
    if not kept:
        all_of_them = f"{ray.cluster_resources().get(kind, 0):g} {kind}s"
        raise ArtQuantError(f"--ray: of the cluster's {all_of_them} none is free; wait for other jobs, or give it more")
    one: dict[str, Any] = {"num_gpus": 1, "num_cpus": 0} if kind == "GPU" else {"num_cpus": 1}
    made: Any = ray.remote(max_restarts=-1, max_task_retries=-1, **one)(Worker)
    folder = str(run.folder.resolve())
    return [made.options(scheduling_strategy=PlacementGroupSchedulingStrategy(place)).remote(folder) for place in kept]

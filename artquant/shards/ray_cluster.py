"""What a Ray cluster has free, told at once where Ray would wait."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from artquant.errors import ArtQuantError, one_line

_PATIENCE = 5.0  # seconds until what was free a moment ago is kept for an actor


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A context: connected to a cluster; empty: to this machine alone.

    Raises:
        ArtQuantError: no cluster is there, or it fails meanwhile.
    """
    _require_there(address)
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise ArtQuantError(f"--ray {address}: no cluster to work on: {one_line(error)}") from None
    try:
        yield
    except RayError as error:
        again = "run the same command again: it goes on with what is done"
        raise ArtQuantError(f"--ray: the cluster has failed ({one_line(error, 120)}); {again}") from None
    finally:
        ray.shutdown()


def kept_places(most: int) -> tuple[str, list[PlacementGroup]]:
    """What actors compute on, "GPU" or where there is none "CPU", and the places that are now kept for them.

    Raises:
        ArtQuantError: none is free.
    """
    kind = "GPU" if ray.cluster_resources().get("GPU", 0) >= 1 else "CPU"
    count = min(most, int(ray.available_resources().get(kind, 0)))
    places = [placement_group([{kind: 1}]) for _ in range(count)]
    until = time.monotonic() + _PATIENCE
    kept = [place for place in places if place.wait(max(0.0, until - time.monotonic()))]
    for place in places:
        if place not in kept:
            remove_placement_group(place)  # else it would be kept for nobody when it comes free
    if not kept:
        all_of_them = f"{ray.cluster_resources().get(kind, 0):g} {kind}s"
        raise ArtQuantError(f"--ray: of the cluster's {all_of_them} none is free; wait for other jobs, or give it more")
    return kind, kept


def _require_there(address: str) -> None:
    """Ray itself waits for minutes. Raises ArtQuantError: nobody listens at an address with a port."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), _PATIENCE).close()
        except (OSError, OverflowError) as error:
            raise ArtQuantError(f"--ray {address}: no cluster is there: {one_line(error)}; check the address") from None

"""Choosing a run's stages by name, without loading what training needs."""

from __future__ import annotations

from collections.abc import Sequence

from artquant.config.schema import RunConfig, StageConfig
from artquant.errors import ArtQuantError


def chosen_stages(config: RunConfig, names: Sequence[str] = ()) -> list[StageConfig]:
    """The stages of these names, or all of them, in the run's order.

    Raises:
        ArtQuantError: the run has no stage of a name, or no stages at all.
    """
    known = [stage.name for stage in config.stages]
    for name in names:
        if name not in known:
            raise ArtQuantError(f"run {config.run}: no stage {name!r}; known are {', '.join(known) or 'none'}")
    if not known:
        raise ArtQuantError(f"run {config.run}: has no stages, so there is nothing to train; add one under stages")
    return [stage for stage in config.stages if not names or stage.name in names]

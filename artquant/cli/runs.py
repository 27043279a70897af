"""A run's configuration with its readout looked at, so that a slip in it is met before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from artquant.config.load import load_config
from artquant.config.schema import ConfigError, RunConfig
from artquant.errors import ArtQuantError


def load_run(path: Path, overrides: Sequence[str]) -> RunConfig:
    """Read a run's configuration.

    Raises:
        ArtQuantError: As `load_config`; or an unknown readout, a setting or loss term that it does not have, a range
            that scores leave.
    """
    from artquant.readouts import readout_of  # loads torch

    config = load_config(path, overrides)
    try:
        readout = readout_of(config.readout, config.levels.scale)
        for stage in config.stages:
            for term in stage.loss.score:
                known = ", ".join(readout.loss_weights)
                if term not in readout.loss_weights:
                    key = f"stages.{stage.name}.loss.score.{term}"
                    raise ConfigError(key, f"readout {readout.kind} has no such term; it has {known}")
    except ConfigError as error:
        raise ArtQuantError(f"{path}: {error}") from None
    return config

"""Gradient checkpointing where memory demands it: `model.gradient_checkpointing: null`."""

from __future__ import annotations

import logging
from dataclasses import replace

import psutil
import torch

from artquant.config.schema import RunConfig
from artquant.plan.sizes import shown
from artquant.plan.stage import Assumptions, plan_stage

logger = logging.getLogger(__name__)


def memory_here(ranks: int) -> tuple[int, str]:
    """Bytes that a rank on this machine has, and where: all of a GPU, or its share of the main memory that is free."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory, "cuda"
    return psutil.virtual_memory().available // ranks, "cpu"


def settle_checkpointing(config: RunConfig, assumptions: Assumptions) -> RunConfig:
    """The configuration with checkpointing on or off: as it says, else off where every stage fits without.

    Raises:
        ArtQuantError: as `plan_stage`.
    """
    if config.model.gradient_checkpointing is not None:
        return config
    without = with_checkpointing(config, False)
    for stage in config.stages:
        found = plan_stage(without, stage, assumptions)
        needed = f"stage {stage.name} needs {shown(found.total)} of {shown(found.memory)} without"
        if not found.fits:
            logger.info("gradient checkpointing on: %s", needed)
            return with_checkpointing(config, True)
        logger.info("gradient checkpointing off: %s", needed)
    return without


def with_checkpointing(config: RunConfig, wanted: bool) -> RunConfig:
    """The configuration with it on or off."""
    return replace(config, model=replace(config.model, gradient_checkpointing=wanted))

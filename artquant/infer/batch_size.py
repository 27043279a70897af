"""How many pictures a forward pass takes where nobody says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from PIL import Image

from artquant.config.requirements import USUAL_BATCH
from artquant.infer.scorer import Scorer

logger = logging.getLogger(__name__)

# On a GPU. Products of fewer rows take other kernels, whose last digits differ; of more, 64 times the positions of a
# picture keep no card busier, and all that are read ahead lie in main memory.
LEAST, MOST = 4, 64
_SHARE = 0.8  # of a card's memory; the rest is for libraries, scratch memory and unusable pieces
_SIDE = 1024  # pixels of the picture that is measured: some families take more positions for a larger one


class DeviceMemory(Protocol):
    """The memory of a device, in bytes."""

    @property
    def total(self) -> int:
        """All of it, whoever holds it now."""

    def peak(self, work: Callable[[], object]) -> int:
        """The most that this process holds while it works."""


class CudaMemory:
    """A GPU's."""

    def __init__(self, device: torch.device):
        self._device = device

    @property
    def total(self) -> int:
        return torch.cuda.get_device_properties(self._device).total_memory

    def peak(self, work: Callable[[], object]) -> int:
        torch.cuda.reset_peak_memory_stats(self._device)
        work()
        return torch.cuda.max_memory_allocated(self._device)


def choose_batch_size(scorer: Scorer, attributes: Sequence[str] = (), memory: DeviceMemory | None = None) -> int:
    """On a GPU a power of two from its memory, as much as it has when nobody else is there; else a fixed number.

    So the same command takes the same batches each time. What a picture takes is measured by two batches of a grey one.

    Args:
        attributes: that are scored beside the whole picture. memory: of the scorer's device; None: looked up.

    Raises:
        ArtQuantError: as `Scorer.score_pictures`.
    """
    if memory is None:
        if scorer.device.type != "cuda":
            return USUAL_BATCH  # larger ones gain a CPU little (scripts/bench/NOTES.md)
        memory = CudaMemory(scorer.device)
    picture = scorer.processor.picture(Image.new("RGB", (_SIDE, _SIDE), "grey"))

    def peak(count: int) -> int:
        return memory.peak(lambda: scorer.score_pictures([picture] * count, attributes))

    try:
        peak(LEAST)  # for what is kept from the first time on
        few, more = peak(LEAST), peak(2 * LEAST)
    except torch.OutOfMemoryError:
        return LEAST
    each = max(1, (more - few) // LEAST)
    fitting = max(LEAST, LEAST + (int(_SHARE * memory.total) - few) // each)
    size = min(MOST, 1 << (fitting.bit_length() - 1))
    logger.info("%s: batches of %d pictures, each of %.3g GiB", scorer.device, size, each / 2**30)
    return size

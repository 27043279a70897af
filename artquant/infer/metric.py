"""A model as a metric: pictures in, a tensor of scores out, as pyiqa's users call theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from artquant.config.requirements import USUAL_BATCH
from artquant.errors import ArtQuantError
from artquant.infer.given import Pictures
from artquant.infer.scorer import Scorer


class Metric:
    """Called with pictures it gives their scores; higher is better. Nothing is learned through it: no gradients."""

    lower_better = False

    def __init__(self, scorer: Scorer, batch_size: int = USUAL_BATCH):
        if batch_size < 1:
            raise ArtQuantError(f"batch_size must be 1 or more, got {batch_size}")
        self.scorer, self.batch_size = scorer, batch_size

    @property
    def score_range(self) -> tuple[float, float]:
        """Lowest and highest score."""
        return self.scorer.range

    def __call__(self, images: Pictures) -> torch.Tensor:
        """Scores [N] in float32 on the model's device, of a single picture [1].

        Args:
            images: a tensor [N, 3, H, W] of 0 to 1 or uint8, arrays, PIL pictures or paths, one or several, as
                `artquant.infer.given.as_pictures` takes them.

        Raises:
            ArtQuantError: something is no picture.
        """
        return self.scorer(images, self.batch_size, as_tensor=True)


def create_metric(model: Path | str, device: str = "auto", batch_size: int = USUAL_BATCH, **how: Any) -> Metric:
    """A metric of a model folder, or of one named as on the hub.

    Args:
        how: as of `Scorer.from_pretrained`: `base`, `prompt`, `score_range`, `dtype`, ...

    Raises:
        ArtQuantError: the folder is no usable model, the device is not there, or batch_size is below 1.
    """
    return Metric(Scorer.from_pretrained(model, device=device, **how), batch_size)

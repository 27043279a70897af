"""Training, validation and test pictures: as published where the files say so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from artquant.errors import ArtQuantError
from artquant.prepare.annotation import Annotation, PrepareError


def assign_splits(annotations: list[Annotation], test_fraction: float | None = None, seed: int = 0) -> list[Annotation]:
    """Every annotation with its split; those whose files say none are for training, but for the fraction drawn.

    Args:
        annotations: In the order of their files.
        test_fraction: Share of the pictures that is held out, above 0 and below 1; None: no draw.
        seed: Of the draw, 0 or more; which pictures are drawn depends on their names, not on their order.

    Raises:
        ArtQuantError: A fraction or seed out of range, or a fraction where files say the split.
    """
    if test_fraction is None:
        return [annotation if annotation.split else replace(annotation, split="train") for annotation in annotations]
    if not 0 < test_fraction < 1:
        raise ArtQuantError(f"the test fraction must be above 0 and below 1, got {test_fraction:g}")
    if seed < 0:
        raise ArtQuantError(f"the seed must be 0 or more, got {seed}")
    published = next((annotation for annotation in annotations if annotation.split), None)
    if published is not None:
        raise PrepareError(
            f"{published.source}: is said to be of the split {published.split!r}; leave out --test-fraction"
        )
    if len(annotations) < 2:
        raise ArtQuantError("one picture cannot be divided; leave out --test-fraction")
    names = sorted(annotation.image for annotation in annotations)
    count = min(len(names) - 1, max(1, round(len(names) * test_fraction)))
    drawn = {names[index] for index in np.random.default_rng(seed).permutation(len(names))[:count].tolist()}
    return [replace(annotation, split="test" if annotation.image in drawn else "train") for annotation in annotations]

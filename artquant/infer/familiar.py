"""Lets a model know its training pictures, to tell others apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from artquant.data.images import load_image
from artquant.errors import ArtQuantError
from artquant.files.progress_bar import progress_bar
from artquant.infer.scorer import Scorer
from artquant.models.familiar import LEAST, Familiar, watching


def learn_familiar(scorer: Scorer, pictures: Sequence[Path], progress: bool = True) -> Familiar:
    """What training pictures look like to a model's vision encoder.

    Args:
        pictures: files of 50 or more, in random order; a thousand are plenty.

    Raises:
        ArtQuantError: there are fewer, or one cannot be read.
    """
    if len(pictures) < LEAST:
        raise ArtQuantError(
            f"{len(pictures)} pictures are too few to know what training looks like: name {LEAST} or more"
        )
    seen = []
    for path in progress_bar("looking", "image", progress, of=pictures):
        picture = scorer.processor.picture(load_image(path))
        with watching(scorer.network) as watch:
            scorer.score_pictures([picture])
        features = watch.features(1)
        if features is None:
            raise ArtQuantError("the network's vision encoder is not called for a picture, so it cannot be watched")
        seen.append(features)
    return Familiar.of(torch.cat(seen))

"""Scores of a picture by several questions, as rewards (UniPercept: aesthetics, quality, structure, texture)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from artquant.data.images import ImageError, as_rgb, load_image
from artquant.infer.scorer import Scorer
from artquant.texts.prompt import UNIPERCEPT_TASKS


@dataclass(frozen=True)
class Reward:
    """One picture's scores by question; of one that cannot be read there are none, and why."""

    scores: dict[str, float] | None
    error: str | None = None


def rewards(
    scorer: Scorer, pictures: Sequence[Path | str | Image.Image], tasks: Sequence[str] = (), batch_size: int = 8
) -> list[Reward]:
    """Scores of pictures (files, or opened ones) by each question, in order.

    Args:
        tasks: of UniPercept's questions; default are all three.
        batch_size: pictures in a pass.
    """
    found: list[Reward] = []
    for start in range(0, len(pictures), batch_size):
        read = [_prepared(scorer, picture) for picture in pictures[start : start + batch_size]]
        good = [picture for picture, error in read if error is None]
        names = tuple(tasks or UNIPERCEPT_TASKS)
        by_picture = scorer.score_by([f"unipercept-{name}" for name in names], good) if good else []
        scored = iter([{name: one.score for name, one in zip(names, row, strict=True)} for row in by_picture])
        found += [Reward(next(scored)) if error is None else Reward(None, error) for _, error in read]
    return found


def _prepared(scorer: Scorer, picture: Path | str | Image.Image) -> tuple[Any, str | None]:
    """A prepared picture, or why it cannot be read."""
    try:
        image = as_rgb(picture) if isinstance(picture, Image.Image) else load_image(Path(picture))
    except ImageError as error:
        return None, str(error)
    return scorer.processor.picture(image), None

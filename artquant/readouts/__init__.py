"""How a score is read from the network.

A readout turns ground truth into targets, logits and targets into a loss, and logits into a score. Training, inference
and evaluation know only this protocol, so that score tokens with a regression loss or a token as score fit beside the
rating words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from artquant.readouts.rating_levels import LevelScores, RatingLevels

if TYPE_CHECKING:
    import torch

__all__ = ["READOUTS", "LevelScores", "RatingLevels", "Readout"]


class Readout(Protocol):
    """M is the number of scored samples, V the vocabulary, K the width of a target."""

    token_ids: tuple[int, ...]  # ids that may stand at the rating position

    def answer_word(self, score: float) -> str:
        """The word that stands for a score in the text answer."""

    def target_score(self, target: Sequence[float]) -> float:
        """The score that a target [K] stands for."""

    def target_moments(self, targets: np.ndarray) -> np.ndarray:
        """Mean and standard deviation of the scores that targets [M, K] stand for: [M, 2]."""

    def targets(self, scores: np.ndarray) -> np.ndarray:
        """Ground-truth scores [M] -> training targets [M, K]."""

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits [M, V] and targets [M, K] -> loss of each sample [M], float32."""

    def score(self, logits: torch.Tensor) -> LevelScores:
        """Logits [M, V] at the rating position -> scores."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values, to be stored with the checkpoint."""


READOUTS = {"rating_levels": RatingLevels}

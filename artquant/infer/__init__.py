"""Scoring and describing pictures with a trained model."""

from artquant.infer.score import Score
from artquant.infer.scorer import Scorer

__all__ = ["Score", "Scorer"]

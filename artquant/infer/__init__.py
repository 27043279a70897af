"""Scoring and describing pictures with a trained model."""

from artquant.infer.scorer import Score, Scorer

__all__ = ["Score", "Scorer"]

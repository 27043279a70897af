"""Scoring and describing pictures with a trained model."""

from artquant.infer.metric import Metric, create_metric
from artquant.infer.score import Score
from artquant.infer.scorer import Scorer

__all__ = ["Metric", "Score", "Scorer", "create_metric"]

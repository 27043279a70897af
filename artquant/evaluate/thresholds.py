"""Accuracy of two classes, above a score or not: as reported on AVA, where the larger class alone reaches 70 %."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artquant.evaluate.metrics import Estimate

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class ThresholdAccuracy:
    """Shares of N pictures; majority: what always naming the larger class gives."""

    threshold: float  # a score above it is of the upper class, one that equals it of the lower
    accuracy: Estimate  # with Wilson's interval of 95 %
    majority: float


def accuracy_at(predicted: np.ndarray, truth: np.ndarray, threshold: float) -> ThresholdAccuracy:
    """How often predictions [N] lie on the truth's [N] side of a threshold; all in one unit."""
    from scipy.stats import binomtest

    right, above = (predicted > threshold) == (truth > threshold), float(np.mean(truth > threshold))
    interval = binomtest(int(right.sum()), len(right)).proportion_ci(_CONFIDENCE, method="wilson")
    accuracy = Estimate(float(right.mean()), float(interval.low), float(interval.high))
    return ThresholdAccuracy(threshold, accuracy, max(above, 1 - above))

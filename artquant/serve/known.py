"""What is known of a model on its test pictures: predictions that were made with it, and true scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from artquant.data.predictions import read_origin
from artquant.errors import ArtQuantError
from artquant.evaluate.join import join_files
from artquant.evaluate.metrics import evaluate_scores
from artquant.serve.settings import Tested


def tested(predictions: Path, records: Path, weights: Sequence[str]) -> Tested:
    """Figures of a predictions file beside records with true scores, as `artquant infer` and `eval` take them.

    Args:
        weights: fingerprints of the served model's folders, as the predictions' origin has them.

    Raises:
        ArtQuantError: a file cannot be used, they do not belong together, or another model has predicted.
    """
    joined, origin = join_files(predictions, records), read_origin(predictions)
    if origin and origin.get("weights") != list(weights):
        raise ArtQuantError(f"{predictions}: was predicted by another model; score the test pictures with this one")
    means = {name: float(predicted.mean()) for name, (predicted, _) in joined.attributes.items()}
    errors = {name: float(np.abs(predicted - true).mean()) for name, (predicted, true) in joined.attributes.items()}
    return Tested(
        tuple(np.percentile(joined.predicted, np.arange(101)).tolist()),
        means or None,
        errors or None,
        evaluate_scores(joined.predicted, joined.truth, bootstrap=0).SRCC.value,
    )

"""A picture's score, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from transformers.cache_utils import Cache

from artquant.data.predictions import NotFinite, Prediction
from artquant.errors import ArtQuantError
from artquant.models.familiar import Familiar, Watch
from artquant.models.family import NetworkInputs
from artquant.models.scoring_network import ScoringNetwork
from artquant.readouts import Readout


@dataclass(frozen=True)
class Score(Prediction):
    """One picture's score, on the scale of the model (APDD: 1 to 10)."""

    std: float = 0.0  # standard deviation of the score: how undecided the model is, not how far off
    unlike: float | None = None  # how far the picture is from the training ones; above 1: unlike them; None: not known
    attributes: Mapping[str, Score] = field(default_factory=dict)  # by attribute, where they were asked for

    def to_dict(self) -> dict[str, Any]:
        """As plain values; what there is none of is left out."""
        return super().to_dict() | ({} if self.unlike is None else {"unlike": round(self.unlike, 4)})

    @property
    def probs(self) -> Mapping[str, float]:
        """Probability of each rating word (or score token)."""
        return self.columns["probs"]

    @property
    def logits(self) -> Mapping[str, float]:
        """Logit of each rating word (or score token)."""
        return self.columns["logits"]


def listed(
    network: ScoringNetwork,
    readout: Readout,
    inputs: NetworkInputs,
    positions: torch.Tensor,
    model: str,
    begun: Cache | None = None,
) -> list[Score]:
    """What a network sees at flat positions [N], as plain values.

    Args:
        model: as its user knows it. begun: keys and values of what stands before the inputs.

    Raises:
        NotFinite: a score is not finite.
        ArtQuantError: the network refuses its inputs.
    """
    try:
        scores = readout.read(network.see(inputs, positions, begun))
    except ArtQuantError as error:
        raise ArtQuantError(f"{model}: {error}") from error
    if not torch.isfinite(scores.score).all():
        raise NotFinite(
            f"{model}: gives a score that is not finite: its weights hold NaN or infinity, or overflow in this number "
            "format; look with artquant check MODEL, or score in float32"
        )
    columns = {
        name: [dict(zip(scores.labels, row, strict=True)) for row in values.tolist()]
        for name, values in scores.columns.items()
    }
    moments = zip(scores.score.tolist(), scores.std.tolist(), strict=True)
    return [
        Score(score, std, {name: rows[index] for name, rows in columns.items()})
        for index, (score, std) in enumerate(moments)
    ]


def compared(scores: Sequence[Score], familiar: Familiar | None, watch: Watch) -> list[Score] | None:
    """Scores with how unlike the training ones their pictures are, as was watched while they were read.

    None: of encoders that put pictures of different sizes behind each other.
    """
    if familiar is None:
        return list(scores)
    features = watch.features(len(scores))
    if features is None:
        return None
    return [replace(one, unlike=ratio) for one, ratio in zip(scores, familiar.ratio(features).tolist(), strict=True)]

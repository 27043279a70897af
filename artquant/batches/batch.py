"""What a forward pass takes and what the objective takes of it.

Shape legend: B samples (rows), T positions, L positions whose token is learned as text, M scores, K width of a target,
P pairs. Positions are flat indices b * T + t of the position that *predicts* (one before what is predicted).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from artquant.models.family import NetworkInputs

TEXT_TASKS = ("description", "score_text")  # what learned tokens belong to: descriptions, answers that hold a score


@dataclass(frozen=True)
class Learned:
    """Tokens to be predicted as text, those of descriptions first."""

    positions: torch.Tensor  # [L] int64
    token_ids: torch.Tensor  # [L] int64
    counts: tuple[int, int]  # of TEXT_TASKS; sums to L

    def to(self, device: torch.device | str | None, **options: Any) -> Learned:
        """The same on a device."""
        return replace(
            self, positions=self.positions.to(device, **options), token_ids=self.token_ids.to(device, **options)
        )


@dataclass(frozen=True)
class Scored:
    """Places where a score stands, in the order of the rows; a row may hold none, one or several."""

    positions: torch.Tensor  # [M] int64
    samples: torch.Tensor  # [M] int64, the row of each
    targets: torch.Tensor  # [M, K] float32, the readout's
    truth: torch.Tensor  # [M, 2] float32, mean and standard deviation of the true score
    of_attribute: torch.Tensor  # [M] bool, whether the score is an attribute's
    pairs: torch.Tensor  # [P, 2] int64, which of the M are compared with each other

    def __len__(self) -> int:
        return len(self.positions)

    def to(self, device: torch.device | str | None, **options: Any) -> Scored:
        """The same on a device."""
        return Scored(**{name: value.to(device, **options) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Batch:
    """Samples of one forward pass.

    inputs: what the network takes. text, scored: what the objective takes. sources: of each row, for messages.
    unreadable: messages about pictures that could not be read; their samples are left out. positions: that are filled.
    """

    inputs: NetworkInputs
    text: Learned
    scored: Scored
    sources: tuple[str, ...]
    unreadable: tuple[str, ...] = ()
    positions: int = 0

    def to(self, device: torch.device | str | None, **options: Any) -> Batch:
        """The same on a device."""
        return replace(
            self,
            inputs=self.inputs.to(device, **options),
            text=self.text.to(device, **options),
            scored=self.scored.to(device, **options),
        )

    def pin_memory(self) -> Batch:
        """The network's inputs in memory that is copied to a GPU faster."""
        return replace(self, inputs=self.inputs.pin_memory())


@dataclass(frozen=True)
class Fault:
    """What comes in the place of a batch that cannot be made: from a worker only a traceback would arrive."""

    message: str

"""What a model's training pictures look like to its vision encoder, to tell pictures of another kind apart.

A score of a picture that is unlike all that a model has learned from means little, however sure the model is. Distance
is Mahalanobis's under probabilistic principal components (Tipping and Bishop, 1999) of the training pictures' features.

Shape legend: N pictures, P positions of a picture, D channels, F = 2 D features (mean and deviation over positions), K
components.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from artquant.errors import one_line
from artquant.files.json_files import whole_file
from artquant.models.family import CheckpointError
from artquant.models.model_card import add_file
from artquant.models.scoring_network import ScoringNetwork

FAMILIAR = "familiar.stats"  # in safetensors' format; by its name no part of the weights, which it does not change
FALSE_ALARMS = 0.02  # share of pictures like the training ones that are to be called unlike them
LEAST = 50  # pictures from which it can be learned
_MOST_COMPONENTS = 64
_TENSORS = ("mean", "components", "variances", "rest", "limit")


@dataclass(frozen=True)
class Familiar:
    """The training pictures' features.

    mean: [F]. components, variances: [K, F], [K]. rest: [], variance of a feature beside them. limit: [], distance
    above which a picture is unlike them. pictures: that it was learned from.
    """

    mean: torch.Tensor
    components: torch.Tensor
    variances: torch.Tensor
    rest: torch.Tensor
    limit: torch.Tensor
    pictures: int

    @classmethod
    def of(cls, features: torch.Tensor) -> Familiar:
        """From features [N, F] of training pictures, in random order: every second tells how far is still alike."""
        learned, kept_aside = features[::2].double(), features[1::2].double()
        mean = learned.mean(0)
        _, scales, components = torch.linalg.svd(learned - mean, full_matrices=False)
        variances = scales.square() / (len(learned) - 1)
        count = min(_MOST_COMPONENTS, len(learned) // 4, len(variances) - 1)
        rest = (variances[count:].sum() / (features.shape[1] - count)).clamp(min=1e-12)
        made = cls(mean, components[:count], variances[:count].clamp(min=rest), rest, torch.ones(()), len(features))
        limit = made.ratio(kept_aside).quantile(1 - FALSE_ALARMS)
        return cls(mean, made.components, made.variances, rest, limit, len(features))

    def ratio(self, features: torch.Tensor) -> torch.Tensor:
        """Distance of features [N, F] over the limit [N]: above 1 a picture is unlike the training ones."""
        off = features.to(self.mean) - self.mean
        along = off @ self.components.T
        beside = (off.square().sum(1) - along.square().sum(1)).clamp(min=0)
        return ((along.square() / self.variances).sum(1) + beside / self.rest).sqrt() / self.limit

    def write(self, folder: Path) -> None:
        """Put it into a model folder."""
        tensors = {name: getattr(self, name).float().contiguous() for name in _TENSORS}
        with whole_file(folder / FAMILIAR) as partial:
            save_file(tensors, partial, {"pictures": str(self.pictures), "false_alarms": str(FALSE_ALARMS)})
        add_file(folder, FAMILIAR)

    @classmethod
    def read(cls, folder: Path) -> Familiar | None:
        """What lies in a model folder, or None where there is none.

        Raises:
            CheckpointError: the file is not as it was written.
        """
        file = folder / FAMILIAR
        if not file.is_file():
            return None
        try:
            with safe_open(file, "pt") as stored:
                tensors = {name: stored.get_tensor(name).double() for name in _TENSORS}
                return cls(**tensors, pictures=int(stored.metadata()["pictures"]))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{file}: cannot be read ({one_line(error)}); delete it, and make it anew with artquant familiar"
            ) from error


class Watch:
    """Sees what the vision encoder gives while pictures are scored."""

    def __init__(self) -> None:
        self._given: list[torch.Tensor] = []

    def note(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """The encoder's output, as its forward hook."""
        states = output if isinstance(output, torch.Tensor) else output[0]
        self._given.append(states.detach())

    def features(self, pictures: int) -> torch.Tensor | None:
        """[N, F] on the CPU, of the first pass; None: pictures differ in what they take, so they must come alone."""
        if not self._given or (pictures > 1 and self._given[0].shape[0] != pictures):
            return None
        states = self._given[0].float()
        states = states.flatten(0, -2)[None] if pictures == 1 else states.flatten(1, -2)  # [N, P, D]
        return torch.cat([states.mean(1), states.std(1, correction=0)], dim=1).cpu()


@contextmanager
def watching(network: ScoringNetwork) -> Iterator[Watch]:
    """Watch a network's vision encoder for a while."""
    watch = Watch()
    [name, *_] = network.parts.modules("vision")
    hook = network.plain.get_submodule(name).register_forward_hook(watch.note)
    try:
        yield watch
    finally:
        hook.remove()

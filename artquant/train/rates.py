"""Learning rates by part of the network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from artquant.config.schema import OptimizerConfig
from artquant.models.family import Part, Parts
from artquant.models.scoring_network import ScoringNetwork
from artquant.models.zero3 import whole_size

_RATES: Mapping[Part, str] = {  # whose rate a part has, by its name in the configuration
    **{"vision": "vision", "projector": "projector", "decoder": "decoder", "head": "head"},
    **{"adapters": "adapter", "new_rows": "new", "readout": "new"},
}


def _rate(part: Part, config: OptimizerConfig) -> float:
    return config.own_rates()[_RATES[part]] or config.learning_rate


def parameter_groups(
    network: nn.Module, parts: Parts, decayed: Collection[str], config: OptimizerConfig
) -> list[dict[str, Any]]:
    """Trainable parameters by part and weight decay, as optimizers take them. decayed: names of parameters."""
    groups: dict[tuple[Part, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((parts.of(name), name in decayed), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": _rate(part, config),
            "weight_decay": config.weight_decay if decay else 0.0,
            "name": part,
        }
        for (part, decay), parameters in groups.items()
    ]


def rates_by_part(network: ScoringNetwork, config: OptimizerConfig) -> dict[Part, tuple[int, float]]:
    """Of each part that trains: its number of parameters and its peak learning rate."""
    counts: dict[Part, int] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            part = network.parts.of(name)
            counts[part] = counts.get(part, 0) + whole_size(parameter)
    return {part: (count, _rate(part, config)) for part, count in counts.items()}

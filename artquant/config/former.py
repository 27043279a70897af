"""Keys that configurations were once written with, as today's: the loader looks here first, so old files still work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from artquant.config.schema import ConfigError, LossConfig, OptimizerConfig, TrainableConfig

Tree = dict[str, Any]


def _renamed(names: Mapping[str, str]) -> Callable[[Tree], Tree]:
    def upgrade(values: Tree) -> Tree:
        for old, new in names.items():
            if old in values and new in values:
                raise ConfigError(old, f"is {new} by its former name, and both are there; keep {new}")
        return {names.get(name, name): value for name, value in values.items()}

    return upgrade


def _loss(values: Tree) -> Tree:
    """The rating words' own terms stood beside the others, and `closed_set` chose between two of them."""
    closed = values.get("closed_set", False)
    if not isinstance(closed, bool):
        raise ConfigError("closed_set", f"expected true or false, got {closed!r}")
    kept = {
        name: value for name, value in values.items() if name not in ("score_distribution", "in_level", "closed_set")
    }
    moved: Tree = {name: values[name] for name in ("score_distribution", "in_level") if name in values}
    if closed:
        moved |= {"score_distribution": 0.0, "closed_distribution": moved.get("score_distribution", 0.05)}
    terms = kept.get("score")
    if not moved or not isinstance(terms, dict | None):
        return kept
    for name in moved:
        if name in (terms or {}):
            old = "closed_set" if name not in values else name
            raise ConfigError(old, f"says what score.{name} says, and both are there; keep score.{name}")
    return kept | {"score": moved | (terms or {})}


FORMER: Mapping[type, Callable[[Tree], Tree]] = {
    TrainableConfig: _renamed({"vision_encoder": "vision", "abstractor": "projector"}),
    OptimizerConfig: _renamed({"abstractor_learning_rate": "projector_learning_rate"}),
    LossConfig: _loss,
}

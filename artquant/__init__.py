"""ArtQuant: judging the aesthetics of artistic images with a multimodal language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artquant.infer import Metric, Score, Scorer, create_metric

__version__ = "0.1.0"
_INTERFACE = ("Metric", "Score", "Scorer", "create_metric")
__all__ = ["Metric", "Score", "Scorer", "__version__", "create_metric"]


def __getattr__(name: str) -> Any:
    """The Python interface, when it is asked for (PEP 562): it takes torch, which the command's help does not need."""
    if name not in _INTERFACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from artquant import infer

    return vars(infer)[name]

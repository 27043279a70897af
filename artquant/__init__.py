"""ArtQuant: judging the aesthetics of artistic images with a multimodal language model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artquant.infer import Score, Scorer

__version__ = "0.1.0"
__all__ = ["Score", "Scorer", "__version__"]


def __getattr__(name: str) -> type:
    """The Python interface, when it is asked for (PEP 562): it takes torch, which the command's help does not need."""
    if name not in ("Score", "Scorer"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from artquant import infer

    return {"Score": infer.Score, "Scorer": infer.Scorer}[name]

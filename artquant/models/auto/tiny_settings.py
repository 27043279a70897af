"""Every setting of the small networks of this family that `artquant init-model` makes, with its meaning and default."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from artquant.config.schema import require, require_at_least, require_positive

QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5")
TESTED = ("llava", "internvl", "gemma3", "idefics3", "ovis2", *QWEN)  # model types


@dataclass(frozen=True)
class Transformer:
    """One of the two halves of a small network."""

    hidden: int = 64  # channels
    layers: int = 2  # transformer layers
    heads: int = 4  # attention heads
    mlp: int = 128  # channels inside the MLP

    def __post_init__(self) -> None:
        require_at_least(1, hidden=self.hidden, layers=self.layers, heads=self.heads, mlp=self.mlp)
        whole = self.hidden % (8 * self.heads) == 0
        require(whole, "hidden", f"must be a multiple of 8 times heads (8 x {self.heads}), got {self.hidden}")


@dataclass(frozen=True)
class TinySettings:
    """A small network with drawn weights and its tokenizer, for ``artquant init-model --config``."""

    texts: tuple[Path, ...] = ()  # JSON lists of training records whose texts train the tokenizer
    model_type: str = "internvl"  # of transformers; one of those that the tests cover
    vocabulary_size: int = 1000  # tokens, special ones included
    words: tuple[str, ...] = ()  # further words that are to be one token behind a blank, such as a readout's
    image_size: int = 112  # pixels a side; where pictures keep their shape, the largest area is its square
    patch_size: int = 14  # pixels a side
    tiles: int = 1  # most tiles that a picture is cut into (internvl, ovis2)
    vision: Transformer = field(default_factory=lambda: Transformer(96, 4, 4, 384))  # vision encoder
    text: Transformer = field(default_factory=lambda: Transformer(128, 3, 4, 256))  # language decoder
    max_positions: int = 512  # longest sequence, those of the picture included
    seed: int = 0  # of the drawn weights
    initializer_range: float = 0.08  # standard deviation of the drawn weights; narrow networks learn faster with more
    dtype: Literal["float32", "bfloat16"] = "float32"  # number format of the written weights

    def __post_init__(self) -> None:
        require(self.model_type in TESTED, "model_type", f"must be one of {', '.join(TESTED)}, got {self.model_type!r}")
        require_at_least(1, image_size=self.image_size, patch_size=self.patch_size, tiles=self.tiles)
        whole = self.image_size % (2 * self.patch_size) == 0
        require(whole, "image_size", f"must be a multiple of 2 x patch_size ({self.patch_size}), got {self.image_size}")
        require_at_least(400, vocabulary_size=self.vocabulary_size)  # 256 bytes, special tokens and some words
        require_positive(initializer_range=self.initializer_range)
        require(0 <= self.seed < 2**32, "seed", f"must be from 0 to {2**32 - 1}, got {self.seed}")

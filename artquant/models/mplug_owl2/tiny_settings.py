"""Every setting of the small base models that `artquant init-model` makes, with its meaning and default."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from artquant.config.schema import require, require_at_least, require_positive


@dataclass(frozen=True)
class DemoVisionConfig:
    """Vision encoder of a small network."""

    hidden: int = 128  # channels
    layers: int = 4  # transformer layers
    heads: int = 4  # attention heads
    mlp: int = 512  # channels inside the MLP

    def __post_init__(self) -> None:
        require_at_least(1, hidden=self.hidden, layers=self.layers, heads=self.heads, mlp=self.mlp)
        require(self.hidden % self.heads == 0, "heads", f"must divide hidden ({self.hidden}), got {self.heads}")


@dataclass(frozen=True)
class DemoAbstractorConfig(DemoVisionConfig):
    """Visual abstractor of a small network; as wide as the vision encoder, whose output it attends to."""

    layers: int = 2  # cross-attention layers
    mlp: int = 256  # channels inside the MLP
    queries: int = 16  # image tokens, the end-of-image vector not counted

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.hidden % 4 == 0, "hidden", f"must be a multiple of 4 for the 2-D positions, got {self.hidden}")
        require_at_least(1, queries=self.queries)


@dataclass(frozen=True)
class DemoTextConfig(DemoVisionConfig):
    """Language decoder of a small network."""

    mlp: int = 344  # channels inside the MLP
    key_value_heads: int = 4  # heads of keys and values; fewer than heads: grouped queries

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, key_value_heads=self.key_value_heads)
        whole = self.heads % self.key_value_heads == 0
        require(whole, "key_value_heads", f"must divide heads ({self.heads}), got {self.key_value_heads}")
        even = self.hidden // self.heads % 2 == 0
        require(even, "heads", f"hidden / heads must be even for rotary positions, got {self.hidden} / {self.heads}")


@dataclass(frozen=True)
class DemoModelConfig:
    """A small network with drawn weights and its tokenizer, for ``artquant init-model --config``."""

    model_type: Literal["mplug_owl2"] = "mplug_owl2"  # which family of networks
    texts: tuple[Path, ...] = field(kw_only=True)  # files whose texts train the tokenizer
    vocabulary_size: int = 1000  # tokens
    image_size: int = 112  # pixels a side
    patch_size: int = 14  # pixels a side
    vision: DemoVisionConfig = field(default_factory=DemoVisionConfig)  # vision encoder
    abstractor: DemoAbstractorConfig = field(default_factory=DemoAbstractorConfig)  # visual abstractor
    text: DemoTextConfig = field(default_factory=DemoTextConfig)  # language decoder
    max_positions: int = 512  # longest sequence, image tokens included
    seed: int = 0  # of the drawn weights
    initializer_range: float = 0.02  # standard deviation of the drawn weights; narrow networks learn faster with more
    multi_scale: bool = False  # three abstractors over one vision encoder
    multi_image: bool = False  # three vision encoders and abstractors, one per image size
    dtype: Literal["float32", "bfloat16"] = "float32"  # number format of the written weights

    def __post_init__(self) -> None:
        require(len(self.texts) > 0, "texts", "name at least one file")
        require_at_least(1, patch_size=self.patch_size, image_size=self.image_size)
        whole = self.image_size % self.patch_size == 0
        require(whole, "image_size", f"must be a multiple of patch_size ({self.patch_size}), got {self.image_size}")
        # LLaMA's byte tokens, the three special ones and at least some words
        require_at_least(300, vocabulary_size=self.vocabulary_size)
        same = self.abstractor.hidden == self.vision.hidden
        require(same, "abstractor.hidden", f"must equal vision.hidden ({self.vision.hidden})")
        image_tokens = (self.abstractor.queries + 1) * (3 if self.multi_scale or self.multi_image else 1)
        room = f"must exceed the {image_tokens} image tokens, got {self.max_positions}"
        require(self.max_positions > image_tokens, "max_positions", room)
        require_positive(initializer_range=self.initializer_range)
        both = self.multi_scale and self.multi_image
        require(not both, "multi_image", "not together with multi_scale; choose one")
        require(0 <= self.seed < 2**32, "seed", f"must be from 0 to {2**32 - 1}, got {self.seed}")

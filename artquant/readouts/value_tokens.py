"""A word for every value: 101 two-letter words, each one token; their expectation is the score (ArtiMuse).

Shape legend: M scores, K = 101 words, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from artquant.config.schema import ConfigError
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.labels.soft_labels import soft_labels
from artquant.labels.truth import Truths
from artquant.readouts.losses import distribution_divergence
from artquant.readouts.readout import Encoder, Known, Scores, Seen, Unpublished, moments_over, scores_over, tokens_after
from artquant.texts.prompt import Prompt

# aa ... az are 0 to 25, ca ... cy 26 to 50, da ... dy 51 to 75, ea ... ey 76 to 100: the letter b is left out.
WORDS = tuple(
    first + chr(ord("a") + place)
    for first, count in zip("acde", (26, 25, 25, 25), strict=True)
    for place in range(count)
)

# Keys of `config.json` by which its class is known, and what one of them says where scores are read so.
_OF_ITS_CLASS = {"llm_config", "vision_config", "downsample_ratio", "ps_version"}
_PUBLISHED = {"ps_version": "v2"}


@dataclass(frozen=True)
class ValueTokensSettings:
    """Settings of `readout: {kind: value_tokens}`."""

    target: Literal["one-hot", "two-level", "gaussian"] = "one-hot"  # what is learned of a mean score
    sigma: float | None = None  # of gaussian targets, in score units; null: a ninth of the range

    def __post_init__(self) -> None:
        if self.sigma is not None and not (self.sigma > 0 and self.target == "gaussian"):
            raise ConfigError("sigma", f"must be above 0 and goes with target: gaussian, got {self.sigma}")


@dataclass(frozen=True)
class ValueTokens(Unpublished):
    """K words for values evenly from low to high (published: 0 to 100); ids are empty until it is bound."""

    kind: ClassVar[str] = "value_tokens"
    Settings: ClassVar[type] = ValueTokensSettings
    learns_word: ClassVar[bool] = False
    several: ClassVar[bool] = False

    low: float = 0.0
    high: float = 100.0
    target: Literal["one-hot", "two-level", "gaussian"] = "one-hot"
    sigma: float | None = None
    token_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "token_ids", tuple(self.token_ids))
        if self.token_ids and len(set(self.token_ids)) != len(WORDS):
            raise ArtQuantError(f"{len(WORDS)} values need as many different token ids, got {len(set(self.token_ids))}")

    @classmethod
    def from_settings(cls, settings: ValueTokensSettings, scale: RatingScale) -> ValueTokens:
        """Over the scale's range."""
        sigma = settings.sigma or ((scale.high - scale.low) / 9 if settings.target == "gaussian" else None)
        return cls(scale.low, scale.high, settings.target, sigma)

    @classmethod
    def from_published(
        cls, values: Mapping[str, Any], decode: Callable[[int], str], scores: Sequence[float] | None
    ) -> ValueTokens | None:
        """ArtiMuse's: no key says so, so every configuration of its class is taken to be about it.

        Raises:
            ArtQuantError: `scores` are given.
        """
        if not values.keys() >= _OF_ITS_CLASS:
            return None
        if scores is not None:
            raise ArtQuantError("has no rating words whose scores could be changed; leave out --weights")
        return cls()

    def published(self) -> Mapping[str, Any]:
        """No key says so: of its class's own keys the one that is always the same. Its code reads 0 to 100."""
        return _PUBLISHED

    @property
    def values(self) -> np.ndarray:
        """[K]: the score of each word."""
        return np.linspace(self.low, self.high, len(WORDS))

    @property
    def new_words(self) -> tuple[str, ...]:
        """None: they are ordinary tokens."""
        return ()

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """KL to the target over the whole vocabulary (of one word: its cross-entropy), or over the words alone."""
        return {"value": 1.0, "closed_value": 0.0}

    @property
    def width(self) -> int:
        """K."""
        return len(WORDS)

    @property
    def place_ids(self) -> tuple[int, ...]:
        """Those of the words."""
        return self.token_ids

    def bound(self, encoder: Encoder, prompt: Prompt) -> ValueTokens:
        """With the words' ids where the prompt puts them.

        Raises:
            ArtQuantError: a word is not exactly one token there.
        """
        found = {word: tokens_after(encoder, prompt, word) for word in WORDS}
        cut = [word for word, ids in found.items() if len(ids) != 1]
        if cut:
            raise ArtQuantError(
                f"this tokenizer cuts {len(cut)} of the {len(WORDS)} value words into pieces "
                f"({', '.join(cut[:3])}, ...); take another readout, or a model whose tokenizer has them"
            )
        return replace(self, token_ids=tuple(ids[0] for ids in found.values()))

    def head(self, width: int) -> None:
        """None: the vocabulary's logits are read."""
        return None

    def word(self, score: float, target: np.ndarray | None = None) -> str:
        """The word of the nearest value."""
        place = round((score - self.low) / (self.high - self.low) * (len(WORDS) - 1))
        if not 0 <= place < len(WORDS):
            raise ArtQuantError(f"score {score:g} lies outside {self.low:g} to {self.high:g}")
        return WORDS[place]

    def targets(self, truths: Truths) -> np.ndarray:
        """Distributions over the words [M, K]: of the mean, as the settings say."""
        sigma = self.sigma if self.target == "gaussian" else None
        return soft_labels(truths.means(), self.values, self.target, sigma=sigma)

    def moments(self, targets: np.ndarray) -> np.ndarray:
        """Mean and standard deviation of the scores that targets [M, K] stand for: [M, 2]."""
        return moments_over(self.values, targets)

    def losses(self, seen: Seen, known: Known, terms: Sequence[str]) -> dict[str, torch.Tensor]:
        """KL(target || predicted) by either softmax; each [M]."""
        ids = torch.tensor(self.token_ids, device=seen.logits.device)
        closed = {"value": False, "closed_value": True}
        return {term: distribution_divergence(seen.logits, known.targets, ids, closed[term]) for term in terms}

    def read(self, seen: Seen) -> Scores:
        """Expectation and standard deviation over the words' values, by the softmax over these alone."""
        logits = seen.logits.index_select(-1, torch.tensor(self.token_ids, device=seen.logits.device)).float()
        return scores_over(self.values, logits.softmax(-1), logits, WORDS)

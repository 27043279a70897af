"""Rating words as a scale: the score is the expectation over the words (Q-Align; ArtQuant, section 3.2).

Shape legend: M samples, V vocabulary, K rating words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.labels.soft_labels import soft_labels
from artquant.labels.truth import Truths
from artquant.readouts.losses import distribution_divergence, outside_mass
from artquant.readouts.readout import Encoder, Known, Scores, Seen, moments_over, scores_over, tokens_after
from artquant.texts.prompt import Prompt


@dataclass(frozen=True)
class RatingLevelsSettings:
    """Settings of `readout: {kind: rating_levels}`."""

    closed_set: bool = True  # probabilities over the rating words alone, instead of theirs in the whole vocabulary
    word: Literal["likeliest", "published"] = "likeliest"  # of the target, or the published rule: what answers say


@dataclass(frozen=True)
class RatingLevels:
    """Words with weights and token ids.

    Args:
        words: K rating words, best first as published ("excellent" ... "bad").
        weights: the score that each word stands for.
        token_ids: each word's one token; empty until it is bound.
        closed_set: probabilities are the softmax over the K words alone; otherwise the K entries of the softmax over
            the whole vocabulary, as published for DeQA-Score's "open set".
        word_rule: what `word` gives, of WORD_RULES.

    Raises:
        ArtQuantError: lengths differ, values are not finite, words, weights or ids repeat.
    """

    kind: ClassVar[str] = "rating_levels"
    Settings: ClassVar[type] = RatingLevelsSettings
    learns_word: ClassVar[bool] = False
    several: ClassVar[bool] = False

    words: tuple[str, ...]
    weights: tuple[float, ...]
    token_ids: tuple[int, ...] = ()
    closed_set: bool = True
    word_rule: str = "likeliest"

    def __post_init__(self) -> None:
        for name in ("words", "weights", "token_ids"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        named = {"words": self.words, "weights": self.weights} | (
            {"token_ids": self.token_ids} if self.token_ids else {}
        )
        if len({len(values) for values in named.values()}) > 1 or len(self.words) < 2:
            raise ArtQuantError(
                f"rating words need as many weights and token ids: {len(self.words)} words, {len(self.weights)} "
                f"weights, {len(self.token_ids)} ids"
            )
        for name, values in named.items():
            if len(set(values)) != len(self.words):
                raise ArtQuantError(f"rating {name} must differ from each other: {list(values)}")
        if not all(math.isfinite(weight) for weight in self.weights):
            raise ArtQuantError(f"rating weights must be finite: {list(self.weights)}")

    @classmethod
    def from_settings(cls, settings: RatingLevelsSettings, scale: RatingScale) -> RatingLevels:
        """The scale's words and values."""
        return cls(scale.words, scale.values, closed_set=settings.closed_set, word_rule=settings.word)

    @property
    def new_words(self) -> tuple[str, ...]:
        """None: the rating words are ordinary ones."""
        return ()

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """KL over the vocabulary (published: 0.05) or over the words alone; mass outside the words (DeQA-Score)."""
        return {"score_distribution": 0.05, "closed_distribution": 0.0, "in_level": 0.0}

    @property
    def low(self) -> float:
        """The worst word's score."""
        return min(self.weights)

    @property
    def high(self) -> float:
        """The best word's score."""
        return max(self.weights)

    @property
    def width(self) -> int:
        """As many as there are words."""
        return len(self.words)

    @property
    def place_ids(self) -> tuple[int, ...]:
        """Those of the words."""
        return self.token_ids

    def bound(self, encoder: Encoder, prompt: Prompt) -> RatingLevels:
        """With the words' token ids where the prompt puts them.

        Raises:
            ArtQuantError: a word is not exactly one token there.
        """
        token_ids = []
        for word in self.words:
            ids = tokens_after(encoder, prompt, word)
            if len(ids) != 1:
                raise ArtQuantError(
                    f"the rating word {word!r} takes {len(ids)} tokens of this tokenizer after "
                    f"{prompt.rating_prefix()!r}, it must be exactly one; choose another word"
                )
            token_ids += ids
        return replace(self, token_ids=tuple(token_ids))

    def head(self, width: int) -> None:
        """None: the vocabulary's logits are read."""
        return None

    def word(self, score: float, target: np.ndarray | None = None) -> str:
        """The word that stands for a score in the text answer: the likeliest of its target.

        With the word rule "published", the lowest whose weight the score does not exceed: bad up to 1, poor up to 3.5,
        fair up to 5, good up to 7.5, excellent above.
        """
        order = sorted(range(self.width), key=self.weights.__getitem__, reverse=True)
        scale = RatingScale(tuple(self.words[i] for i in order), tuple(self.weights[i] for i in order))
        if self.word_rule == "published":
            return scale.word(score)
        if target is None:
            [target] = soft_labels([score], self.weights, clamp=True)
        return scale.likeliest(np.asarray(target)[None, order])[0]

    def moments(self, targets: np.ndarray) -> np.ndarray:
        """Mean and standard deviation of the scores that targets [M, K] stand for: [M, 2]."""
        return moments_over(np.array(self.weights), targets)

    def targets(self, truths: Truths) -> np.ndarray:
        """Distributions over the words [M, K]: known shares, else soft labels of the mean (ArtQuant, section 3.2)."""
        known = truths.has_shares if truths.shares.shape[1] == self.width else np.zeros(len(truths), dtype=bool)
        targets = truths.shares.copy() if known.any() else np.zeros((len(truths), self.width))
        if not known.all():
            targets[~known] = soft_labels(truths.mean[~known], self.weights)
        return targets

    def losses(self, seen: Seen, known: Known, terms: Sequence[str]) -> dict[str, torch.Tensor]:
        """KL(target || predicted), by either softmax, and the mass outside the words; each [M]."""
        ids = self._ids(seen.logits)
        found = {}
        if "score_distribution" in terms:
            found["score_distribution"] = distribution_divergence(seen.logits, known.targets, ids)
        if "closed_distribution" in terms:
            found["closed_distribution"] = distribution_divergence(seen.logits, known.targets, ids, closed_set=True)
        if "in_level" in terms:
            found["in_level"] = outside_mass(seen.logits, ids)
        return found

    def level_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits [M, V] -> those of the rating words, float32 [M, K]."""
        return logits.index_select(-1, self._ids(logits)).float()

    def read(self, seen: Seen) -> Scores:
        """Expectation and standard deviation over the words, on the weights' scale."""
        level_logits = self.level_logits(seen.logits)
        if self.closed_set:
            probs = level_logits.softmax(-1)
        else:
            probs = (level_logits - seen.logits.float().logsumexp(-1, keepdim=True)).exp()
        return scores_over(self.weights, probs, level_logits, self.words)

    def with_values(self, values: Sequence[float]) -> RatingLevels:
        """With other scores for the words, best first."""
        return replace(self, weights=tuple(float(value) for value in values))

    def _ids(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.tensor(self.token_ids, device=logits.device)

    def published(self) -> Mapping[str, Any]:
        """As DeQA-Score and ArtQuant store it."""
        return {"level_ids": list(self.token_ids), "score_weight": list(self.weights)}

    @classmethod
    def from_published(
        cls, values: Mapping[str, Any], decode: Callable[[int], str], scores: Sequence[float] | None
    ) -> RatingLevels | None:
        """The reverse of `published`.

        Raises:
            ArtQuantError: neither the file nor `scores` says what the words stand for.
        """
        if not values.get("level_ids"):
            return None
        weights = values.get("score_weight") if scores is None else scores
        if not weights:
            raise ArtQuantError("has no score_weight; give the rating words' scores (--weights 5,4,3,2,1)")
        return cls(tuple(decode(token) for token in values["level_ids"]), tuple(map(float, weights)))

    @classmethod
    def published_words(cls, values: Mapping[str, Any]) -> tuple[str, ...]:
        """None: the rating words are ordinary ones."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {"kind": self.kind} | {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RatingLevels:
        """The reverse of `to_dict`; `closed_loss` is what earlier cards held beside."""
        return cls(**{name: value for name, value in values.items() if name not in ("kind", "closed_loss")})

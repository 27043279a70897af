"""Rating words as a scale: the score is the expectation over the words (Q-Align; ArtQuant, section 3.2).

Shape legend: M samples, V vocabulary, K rating words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.labels.soft_labels import soft_labels
from artquant.readouts.losses import distribution_divergence
from artquant.texts.prompt import Prompt, TextEncoder


@dataclass(frozen=True)
class LevelScores:
    """What is read for M samples; on the scale of the weights."""

    logits: torch.Tensor  # [M, K], of the rating words
    probs: torch.Tensor  # [M, K]; sums to 1 for a closed set
    score: torch.Tensor  # [M], expectation
    std: torch.Tensor  # [M], standard deviation


@dataclass(frozen=True)
class RatingLevels:
    """Words with weights and token ids.

    Args:
        words: K rating words, best first as published ("excellent" ... "bad").
        weights: the score that each word stands for.
        token_ids: each word's one token.
        closed_set: probabilities are the softmax over the K words alone; otherwise the K entries of the softmax over
            the whole vocabulary, as published for DeQA-Score's "open set".
        closed_loss: the training loss looks at the K words alone as well; published is the whole vocabulary.

    Raises:
        ArtQuantError: lengths differ, values are not finite, words, weights or ids repeat.
    """

    words: tuple[str, ...]
    weights: tuple[float, ...]
    token_ids: tuple[int, ...]
    closed_set: bool = True
    closed_loss: bool = False

    def __post_init__(self):
        for name in ("words", "weights", "token_ids"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not len(self.words) == len(self.weights) == len(self.token_ids) >= 2:
            raise ArtQuantError(
                f"rating words need as many weights and token ids: {len(self.words)} words, {len(self.weights)} "
                f"weights, {len(self.token_ids)} ids"
            )
        for name in ("words", "weights", "token_ids"):
            if len(set(getattr(self, name))) != len(self.words):
                raise ArtQuantError(f"rating {name} must differ from each other: {list(getattr(self, name))}")
        if not all(math.isfinite(weight) for weight in self.weights):
            raise ArtQuantError(f"rating weights must be finite: {list(self.weights)}")

    @classmethod
    def from_encoder(
        cls, encoder: TextEncoder, prompt: Prompt, words: Sequence[str], weights: Sequence[float], **options
    ) -> RatingLevels:
        """Find the words' token ids where the prompt puts them.

        Raises:
            ArtQuantError: a word is not exactly one token there.
        """
        context = encoder.tokenize(prompt.score_context())
        token_ids = []
        for word in words:
            ids = encoder.tokenize(f"{prompt.score_context()} {word}")
            if ids[: len(context)] != context or len(ids) != len(context) + 1:
                raise ArtQuantError(
                    f"the rating word {word!r} takes {len(ids) - len(context)} tokens of this tokenizer after "
                    f"{prompt.rating_prefix()!r}, it must be exactly one; choose another word"
                )
            token_ids.append(ids[-1])
        return cls(tuple(words), tuple(float(weight) for weight in weights), tuple(token_ids), **options)

    def answer_word(self, score: float) -> str:
        """The word that stands for a score in the text answer: the lowest whose weight the score does not exceed.

        That is the published rule: bad up to 1, poor up to 3.5, fair up to 5, good up to 7.5, excellent above.
        """
        weights, words = zip(*sorted(zip(self.weights, self.words, strict=True), reverse=True), strict=True)
        return RatingScale(words, weights).word(score)

    def target_score(self, target: Sequence[float]) -> float:
        """The score that a target [K] stands for: its expectation."""
        return sum(share * weight for share, weight in zip(target, self.weights, strict=True))

    def target_moments(self, targets: np.ndarray) -> np.ndarray:
        """Mean and standard deviation of the scores that targets [M, K] stand for: [M, 2]."""
        weights = np.array(self.weights)
        mean = targets @ weights
        variance = (targets * (weights - mean[:, None]) ** 2).sum(axis=1)
        return np.stack([mean, np.sqrt(variance)], axis=1)

    def targets(self, scores: np.ndarray) -> np.ndarray:
        """Ground-truth scores [M] -> distributions over the words [M, K] (ArtQuant, section 3.2)."""
        return soft_labels(scores, self.weights)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """KL(target || predicted) of each sample [M] from logits [M, V] and targets [M, K]."""
        return distribution_divergence(logits, targets, self._ids(logits), closed_set=self.closed_loss)

    def level_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits [M, V] -> those of the rating words, float32 [M, K]."""
        return logits.index_select(-1, self._ids(logits)).float()

    def score(self, logits: torch.Tensor) -> LevelScores:
        """Logits [M, V] at the rating position -> scores on the weights' scale."""
        level_logits = self.level_logits(logits)
        if self.closed_set:
            probs = level_logits.softmax(-1)
        else:
            probs = (level_logits - logits.float().logsumexp(-1, keepdim=True)).exp()
        weights = torch.tensor(self.weights, dtype=torch.float32, device=logits.device)
        score = (probs * weights).sum(-1)
        variance = (probs * (weights - score.unsqueeze(-1)) ** 2).sum(-1)
        return LevelScores(level_logits, probs, score, variance.sqrt())

    def _ids(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.tensor(self.token_ids, device=logits.device)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {"kind": "rating_levels"} | {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RatingLevels:
        """The reverse of `to_dict`."""
        return cls(**{name: value for name, value in values.items() if name != "kind"})

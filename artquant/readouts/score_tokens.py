"""Score tokens: a position token in the text, N tokens beside it whose values are regressed (ROC4MLLM, section 3).

One word of the answer, `[SCORE]`, says where a score stands. The logits that predict it are also read over N further
tokens, which never occur in a text: their softmax is a distribution over N equidistant values, its expectation the
score. So what is said and what is measured do not share words.

Shape legend: M scores, N score tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from artquant.config.schema import ConfigError
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.labels.soft_labels import soft_labels
from artquant.labels.truth import Truths
from artquant.readouts.readout import Encoder, Known, Scores, Seen, Unpublished, moments_over, scores_over, tokens_after
from artquant.texts.prompt import Prompt

_LARGEST = 1000  # score tokens
_PUBLISHED = (  # keys of `config.json`
    *("score_id", "output_first_id", "output_last_id", "num_tokens", "img_token_num", "min_score", "max_score"),
)
_WIDEST = 1e6  # distance of a published score from 0


@dataclass(frozen=True)
class ScoreTokensSettings:
    """Settings of `readout: {kind: score_tokens}`."""

    tokens: int = 10  # N
    low: float | None = None  # value of the first token; null: the lowest of `levels`
    high: float | None = None  # value of the last token; null: the highest of `levels`
    sigma: float | None = None  # of targets made from a mean, in score units; null: a ninth of the range

    def __post_init__(self) -> None:
        if not 2 <= self.tokens <= _LARGEST:
            raise ConfigError("tokens", f"must be from 2 to {_LARGEST}, got {self.tokens}")
        if self.sigma is not None and not self.sigma > 0:
            raise ConfigError("sigma", f"must be above 0, got {self.sigma}")


@dataclass(frozen=True)
class ScoreTokens(Unpublished):
    """N tokens for values from low to high, ends included; ids are empty until it is bound."""

    kind: ClassVar[str] = "score_tokens"
    Settings: ClassVar[type] = ScoreTokensSettings
    learns_word: ClassVar[bool] = True
    several: ClassVar[bool] = True

    tokens: int
    low: float
    high: float
    sigma: float
    position_word: str = "[SCORE]"
    word_pattern: str = "[IMG{}]"
    position_id: int | None = None
    token_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "token_ids", tuple(self.token_ids))
        if self.token_ids and len(set(self.token_ids)) != self.tokens:
            raise ArtQuantError(f"{self.tokens} score tokens need as many ids, got {list(self.token_ids)}")

    @classmethod
    def from_settings(cls, settings: ScoreTokensSettings, scale: RatingScale) -> ScoreTokens:
        """Over the scale, or over the range that the settings name.

        Raises:
            ConfigError: the range is empty, or scores of the scale leave it.
        """
        low = scale.low if settings.low is None else settings.low
        high = scale.high if settings.high is None else settings.high
        if not low < high:
            raise ConfigError("high", f"must be above low, got {low:g} to {high:g}")
        if low > scale.low or high < scale.high:
            raise ConfigError(
                "low" if low > scale.low else "high",
                f"scores of {scale.low:g} to {scale.high:g} (levels) leave the range of the tokens, {low:g} to "
                f"{high:g}; widen it",
            )
        return cls(settings.tokens, float(low), float(high), settings.sigma or (high - low) / 9)

    @property
    def values(self) -> np.ndarray:
        """[N]: the score of each token."""
        return np.linspace(self.low, self.high, self.tokens)

    @property
    def new_words(self) -> tuple[str, ...]:
        """The position token, then the score tokens."""
        return (self.position_word, *(self.word_pattern.format(index) for index in range(self.tokens)))

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Smooth L1 of the score (paper: 1), cross-entropy of the distribution and two earth mover's distances."""
        return {"score_l1": 1.0, "score_ce": 0.0, "score_emd": 0.0, "score_emd_batch": 0.0}

    @property
    def width(self) -> int:
        """N."""
        return self.tokens

    @property
    def place_ids(self) -> tuple[int, ...]:
        """The position token's."""
        return () if self.position_id is None else (self.position_id,)

    @classmethod
    def from_published(
        cls, values: Mapping[str, Any], decode: Callable[[int], str], scores: Sequence[float] | None
    ) -> ScoreTokens | None:
        """From ROC4MLLM's `config.json`.

        Raises:
            ArtQuantError: it was trained on text alone, its ids or its range are no such, or `scores` are given.
        """
        if values.get("score_id") is None:
            return None
        found: list[Any] = [values.get(name) for name in _PUBLISHED]
        place, first, last, count, sliced, low, high = found
        whole = all(type(value) is int for value in (place, first, last, count, sliced))
        ends = all(type(value) in (int, float) and abs(value) < _WIDEST for value in (low, high)) and low < high
        if not whole or not ends or not 2 <= count == sliced == last - first + 1 <= _LARGEST or first <= place <= last:
            said = ", ".join(f"{name} {values.get(name)!r}" for name in _PUBLISHED)
            raise ArtQuantError(f"{said} name no score tokens with a range; take a model that was trained to score")
        if scores is not None:
            raise ArtQuantError("has no rating words whose scores could be changed; leave out --weights")
        ids = tuple(range(first, last + 1))
        return cls(count, float(low), float(high), (high - low) / 9, position_id=place, token_ids=ids)

    @classmethod
    def published_words(cls, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Those of ROC4MLLM's `config.json`. Raises ArtQuantError: as `from_published`."""
        readout = cls.from_published(values, str, None)
        return () if readout is None else readout.new_words

    def published(self) -> dict[str, Any]:
        """ROC4MLLM's keys of `config.json`; its code stops without the weights of the losses (here the paper's)."""
        low, high = (int(value) if value.is_integer() else value for value in (self.low, self.high))
        ids = {"score_id": self.position_id, "output_first_id": self.token_ids[0], "output_last_id": self.token_ids[-1]}
        counts = {"img_token_num": self.tokens, "num_tokens": self.tokens, "min_score": low, "max_score": high}
        return ids | counts | {"l1_weight": 1, "ce_weight": 0, "emd_weight": 0}

    def bound(self, encoder: Encoder, prompt: Prompt) -> ScoreTokens:
        """With the ids of its words.

        Raises:
            ArtQuantError: a word is not in the vocabulary, or the position token does not stand alone in the answer.
        """
        ids = [encoder.word_id(word) for word in self.new_words]
        missing = [word for word, found in zip(self.new_words, ids, strict=True) if found is None]
        known = [found for found in ids if found is not None and found < encoder.vocabulary_size]
        if missing or len(known) < len(ids):
            raise ArtQuantError(
                f"{self.tokens} score tokens do not fit this vocabulary, which has no "
                f"{', '.join(missing) or 'rows for them'}; name as many tokens as the model was trained with"
            )
        if self.position_id is not None and (self.position_id, *self.token_ids) != tuple(known):
            raise ArtQuantError(
                f"{self.position_word} and its score tokens are to be {self.position_id} and {self.token_ids}, but the "
                f"tokenizer says {known}; copy the model's own tokenizer files"
            )
        if tokens_after(encoder, prompt, self.position_word) != known[:1]:
            raise ArtQuantError(f"{self.position_word} is not one token of its own after {prompt.rating_prefix()!r}")
        return replace(self, position_id=known[0], token_ids=tuple(known[1:]))

    def head(self, width: int) -> None:
        """None: the rows of the vocabulary's head are its own."""
        return None

    def word(self, score: float, target: np.ndarray | None = None) -> str:
        """The position token, whatever the score."""
        return self.position_word

    def targets(self, truths: Truths) -> np.ndarray:
        """Distributions over the tokens [M, N]: known shares, each split between the two tokens around its value, else
        a Gaussian around the mean."""
        targets = np.zeros((len(truths), self.tokens))
        shared = truths.has_shares
        if shared.any():
            split = soft_labels(truths.values, self.values, "two-level")
            shares = truths.shares[shared]
            targets[shared] = shares / shares.sum(axis=1, keepdims=True) @ split
        if not shared.all():
            targets[~shared] = soft_labels(truths.mean[~shared], self.values, sigma=self.sigma)
        return targets

    def moments(self, targets: np.ndarray) -> np.ndarray:
        """Mean and standard deviation of the scores that targets [M, N] stand for: [M, 2]."""
        return moments_over(self.values, targets)

    def losses(self, seen: Seen, known: Known, terms: Sequence[str]) -> dict[str, torch.Tensor]:
        """Each [M], over the score tokens alone (ROC4MLLM, equation 6).

        `score_emd` is each score's own distance. `score_emd_batch` is the published one, the same for every score: one
        root over the micro-batch, which depends on how a step is split. Where prediction and target agree exactly its
        gradient is 0 (published: NaN).
        """
        log_probs = self._logits(seen).log_softmax(-1)
        targets, found = known.targets.float(), {}
        if "score_l1" in terms:
            values = torch.tensor(self.values, dtype=torch.float32, device=log_probs.device)
            score = (log_probs.exp() * values).sum(-1)
            found["score_l1"] = F.smooth_l1_loss(score, known.truth[:, 0].float(), reduction="none")
        if "score_ce" in terms:
            found["score_ce"] = -(targets * log_probs).sum(-1)
        if "score_emd" in terms:
            apart = (log_probs.exp() - targets).cumsum(-1)
            found["score_emd"] = torch.linalg.vector_norm(apart, dim=-1) / self.tokens**0.5
        if "score_emd_batch" in terms:
            apart = (log_probs.exp() - targets).cumsum(-1)
            found["score_emd_batch"] = (torch.linalg.vector_norm(apart) / apart.numel() ** 0.5).expand(len(apart))
        return found

    def read(self, seen: Seen) -> Scores:
        """Expectation and standard deviation over the tokens' values."""
        logits = self._logits(seen)
        return scores_over(self.values, logits.softmax(-1), logits, tuple(f"{value:g}" for value in self.values))

    def _logits(self, seen: Seen) -> torch.Tensor:
        return seen.logits.index_select(-1, torch.tensor(self.token_ids, device=seen.logits.device)).float()

"""How a score is read from the network: the seam at which another way fits in.

A readout is one file beside this one and one entry in `READOUTS`. It says what stands for the score in the text, turns
what is known of a true score into a target, what the network gives at the score's place into losses, and into a score.
Training, the plan, inference and evaluation know only this protocol.

Shape legend: M scores, K the width of a target, V vocabulary, D hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from artquant.config.load import convert, resolve
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.labels.truth import Truths
from artquant.texts.prompt import Exchange, Prompt

_Own = TypeVar("_Own", bound="Unpublished")


@dataclass(frozen=True)
class Seen:
    """What the network gives at the places that predict a score."""

    logits: torch.Tensor  # [M, V]
    hidden: torch.Tensor  # [M, D], what the output head gets
    own: torch.Tensor | None = None  # [M, ...], of the readout's own head on the hidden states


@dataclass(frozen=True)
class Known:
    """What training knows of the scores, as tensors."""

    targets: torch.Tensor  # [M, K], the readout's own
    truth: torch.Tensor  # [M, 2], mean and standard deviation of the true score


@dataclass(frozen=True)
class Scores:
    """What is read, on the data set's scale."""

    score: torch.Tensor  # [M]
    std: torch.Tensor  # [M], of the score
    columns: Mapping[str, torch.Tensor]  # [M, L] each: what the score was made from, by name (probs, logits)
    labels: tuple[str, ...]  # [L], what the entries of a column are of


class Encoder(Protocol):
    """What a readout needs of a family's processor."""

    def conversation(self, exchange: Exchange) -> str:
        """A question and the answer's beginning in the chat form."""

    def tokenize(self, text: str) -> list[int]:
        """Token ids of such a text."""

    def word_id(self, word: str) -> int | None:
        """The id of a word that was added to the vocabulary."""

    @property
    def vocabulary_size(self) -> int:
        """Tokens, added words included."""


class Readout(Protocol):
    """Immutable; made from its settings for a scale, then bound to a tokenizer and a prompt."""

    kind: ClassVar[str]  # its name in configurations and cards
    Settings: ClassVar[type]  # frozen dataclass of its settings in `readout: {kind: ..., ...}`
    learns_word: ClassVar[bool]  # whether what stands at the score's place is learned as text too
    several: ClassVar[bool]  # whether one answer may hold several scores

    @classmethod
    def from_settings(cls, settings: Any, scale: RatingScale) -> Readout:
        """For scores on a scale; not yet bound. Raises ArtQuantError: the settings do not fit the scale."""

    @property
    def new_words(self) -> tuple[str, ...]:
        """Words to be added to the vocabulary, in this order."""

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Its terms with the weights that they have where a stage names no others."""

    @property
    def low(self) -> float:
        """The lowest score that can be read."""

    @property
    def high(self) -> float:
        """The highest score that can be read."""

    @property
    def width(self) -> int:
        """K."""

    @property
    def place_ids(self) -> tuple[int, ...]:
        """Token ids that may stand at a score's place; empty before binding."""

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Token ids whose logits are read; empty before binding, and where a head of its own is read."""

    def bound(self, encoder: Encoder, prompt: Prompt) -> Readout:
        """With the token ids of its words where the prompt puts them. Raises ArtQuantError: there are no such."""

    def head(self, width: int) -> nn.Module | None:
        """A new head of its own on hidden states of width D; None: it reads the vocabulary's logits."""

    def word(self, score: float, target: np.ndarray | None = None) -> str:
        """What the answer says at the place of a score; target: [K], the readout's own, where it is known."""

    def targets(self, truths: Truths) -> np.ndarray:
        """[M, K] from whatever is known. Raises ArtQuantError: a score that cannot be said, named by its index."""

    def moments(self, targets: np.ndarray) -> np.ndarray:
        """Mean and standard deviation of the scores that targets [M, K] stand for: [M, 2]."""

    def losses(self, seen: Seen, known: Known, terms: Sequence[str]) -> dict[str, torch.Tensor]:
        """Those of its terms that are asked for, each [M] in float32."""

    def read(self, seen: Seen) -> Scores:
        """Scores; differentiable."""

    def with_values(self, values: Sequence[float]) -> Readout:
        """With other scores for its words. Raises ArtQuantError: it has none, or not as many."""

    def published(self) -> Mapping[str, Any] | None:
        """What published code's `config.json` says of it, by key; None: no published code knows it."""

    @classmethod
    def from_published(
        cls, values: Mapping[str, Any], decode: Callable[[int], str], scores: Sequence[float] | None
    ) -> Readout | None:
        """From a published `config.json`, not yet bound; None: it is about another readout.

        Args:
            decode: the text of a token. scores: of its words, instead of those that the file names.
        """

    @classmethod
    def published_words(cls, values: Mapping[str, Any]) -> tuple[str, ...]:
        """`new_words` of what a published `config.json` is about; empty if that is another readout."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a model's card; `kind` among them."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Readout:
        """The reverse of `to_dict`."""


class Unpublished:
    """What a readout need not write that no published code knows and whose words have no scores of their own.

    For frozen dataclasses of plain values.
    """

    kind: ClassVar[str]
    token_ids: tuple[int, ...] = ()  # no field: a head of its own reads no token's logits

    def with_values(self, values: Sequence[float]) -> NoReturn:
        """Refused: there is nothing to change."""
        raise ArtQuantError(f"readout {self.kind} has no rating words whose scores could be changed; leave weights out")

    def published(self) -> Mapping[str, Any] | None:
        """None: no published form can hold it."""
        return None

    @classmethod
    def from_published(
        cls, values: Mapping[str, Any], decode: Callable[[int], str], scores: Sequence[float] | None
    ) -> Any:
        """None: no published folder is about it."""

    @classmethod
    def published_words(cls, values: Mapping[str, Any]) -> tuple[str, ...]:
        """None."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a model's card."""
        return {"kind": self.kind} | resolve(self)

    @classmethod
    def from_dict(cls: type[_Own], values: dict[str, Any]) -> _Own:
        """The reverse of `to_dict`."""
        return convert(cls, {name: value for name, value in values.items() if name != "kind"}, "readout")


def moments_over(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean and standard deviation [M, 2] of values [K] with shares [M, K]."""
    mean = targets @ values
    variance = (targets * (values - mean[:, None]) ** 2).sum(axis=1)
    return np.stack([mean, np.sqrt(variance)], axis=1)


def scores_over(
    values: Sequence[float] | np.ndarray, probs: torch.Tensor, logits: torch.Tensor, labels: tuple[str, ...]
) -> Scores:
    """Expectation and standard deviation over values [K], by their probabilities [M, K] of logits [M, K]."""
    of = torch.tensor(values, dtype=torch.float32, device=probs.device)
    score = (probs * of).sum(-1)
    variance = (probs * (of - score.unsqueeze(-1)) ** 2).sum(-1)
    return Scores(score, variance.sqrt(), {"probs": probs, "logits": logits}, labels)


def tokens_after(encoder: Encoder, prompt: Prompt, word: str) -> list[int]:
    """Token ids that a word adds to the beginning of the answer.

    Raises:
        ArtQuantError: it changes the tokens before it.
    """
    before = prompt.scoring()
    context = encoder.tokenize(encoder.conversation(before))
    exchange = prompt.exchange(before.question, prompt.saying(word))
    ids = encoder.tokenize(encoder.conversation(exchange))
    if ids[: len(context)] != context:
        raise ArtQuantError(
            f"{word!r} changes the tokens before it: it has none of its own after {prompt.rating_prefix()!r}; "
            "choose another word or prompt"
        )
    return ids[len(context) :]

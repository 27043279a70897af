"""A description while it is written: piece by piece, and stopped when nobody reads it any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from artquant.infer.answers import generate
from artquant.infer.scorer import Scorer

_UNFINISHED = "\ufffd"  # what a character decodes to of which some bytes are still to come


class _Pieces(BaseStreamer):
    """Tokens as they come, the prompt's left out, as pieces of text."""

    def __init__(self, decode: Callable[[list[int]], str], say: Callable[[str], None]):
        self._decode, self._say = decode, say
        self._ids: list[int] = []
        self._prompted, self._said = False, ""

    def put(self, value: torch.Tensor) -> None:
        """The prompt first, then a token at a time."""
        if not self._prompted:
            self._prompted = True
            return
        self._ids += value.flatten().tolist()
        text = self._decode(self._ids).lstrip()
        if text.startswith(self._said) and not text.endswith(_UNFINISHED):
            piece, self._said = text[len(self._said) :], text
            self._say(piece)

    def end(self) -> None:
        """Nothing is left: what was not said is no character."""


class _Ended(StoppingCriteria):
    """Ends all rows once nobody reads."""

    def __init__(self, ended: Callable[[], bool]):
        self._ended = ended

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: Any) -> torch.BoolTensor:
        ended = torch.full((len(input_ids),), self._ended(), device=input_ids.device)
        return ended  # type: ignore[return-value]


def describe_in_pieces(
    scorer: Scorer,
    image: Image.Image,
    level: int | None,
    say: Callable[[str], None],
    ended: Callable[[], bool],
    max_new_tokens: int = 512,
) -> str:
    """Describe a picture as `Scorer.describe` does; the whole text.

    Args:
        say: is given each piece. ended: is asked after each token; true: write no more.

    Raises:
        ArtQuantError: the prompt has no such level.
    """
    row = scorer.row(scorer.loaded.prompt.describing(level))

    def decode(ids: list[int]) -> str:
        return scorer.processor.decode(ids, skip_special_tokens=True)

    watched = {"streamer": _Pieces(decode, say), "stopping_criteria": StoppingCriteriaList([_Ended(ended)])}
    _, ids = generate(scorer.loaded, scorer.device, [row], [scorer.processor.picture(image)], max_new_tokens, **watched)
    return decode(ids[0].tolist()).strip()

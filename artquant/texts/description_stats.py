"""How long descriptions are, and which of them are empty or there twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from artquant.errors import ArtQuantError


@dataclass(frozen=True)
class Lengths:
    """Summary of the lengths of some texts."""

    min: int
    median: float
    mean: float
    p95: float  # 95th percentile, linear between neighbours
    max: int


@dataclass(frozen=True)
class TextStatistics:
    """What `text_statistics` counts."""

    count: int
    empty: int  # nothing but white space
    duplicates: int  # texts that an earlier one is equal to, empty ones aside
    words: Lengths  # separated by white space
    characters: Lengths
    tokens: Lengths | None  # None without a tokenizer
    over_max_length: float | None  # share of texts with more tokens than max_length, 0 to 1; None: not asked for


def text_statistics(
    texts: Sequence[str], count_tokens: Callable[[str], int] | None = None, max_length: int | None = None
) -> TextStatistics:
    """Count the words, characters and, given a tokenizer, tokens of texts (of the text alone, without prompt).

    Raises:
        ArtQuantError: There are no texts, or max_length is given without a tokenizer.
    """
    if not texts:
        raise ArtQuantError("no descriptions to count; name files of descriptions")
    if max_length is not None and count_tokens is None:
        raise ArtQuantError("a maximum length is in tokens; name the folder of the tokenizer with --model")
    filled = [text for text in texts if text.strip()]
    tokens = None if count_tokens is None else [count_tokens(text) for text in texts]
    over = None if tokens is None or max_length is None else sum(n > max_length for n in tokens) / len(tokens)
    return TextStatistics(
        count=len(texts),
        empty=len(texts) - len(filled),
        duplicates=sum(count - 1 for count in Counter(filled).values()),
        words=_lengths([len(text.split()) for text in texts]),
        characters=_lengths([len(text) for text in texts]),
        tokens=None if tokens is None else _lengths(tokens),
        over_max_length=over,
    )


def _lengths(lengths: Sequence[int]) -> Lengths:
    values = np.asarray(lengths)
    return Lengths(
        int(values.min()),
        float(np.median(values)),
        float(values.mean()),
        float(np.percentile(values, 95)),
        int(values.max()),
    )

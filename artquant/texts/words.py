"""Words of texts, and which runs of words they have."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_SIGNS = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # of scripts that are written without spaces
_WORD = re.compile(rf"[{_SIGNS}]|[^\W{_SIGNS}]+")
_MIXING = (30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)  # of SplitMix64 (Steele, Lea, Flood 2014)
_BLOCK = 1 << 20  # words at a time


def words_of(text: str) -> list[str]:
    """Words of a text without regard to capitals; of Chinese, Japanese and Thai, signs."""
    return _WORD.findall(text.casefold())


class Tokens(NamedTuple):
    """The words of N texts as numbers; words of text i are `ids[starts[i]:starts[i + 1]]`."""

    ids: np.ndarray  # int32, places in the vocabulary
    starts: np.ndarray  # int64 [N + 1]
    vocabulary: tuple[str, ...]  # in the order of their coming

    @property
    def lengths(self) -> np.ndarray:
        """Words of each text: [N]."""
        return np.diff(self.starts)

    def words(self, start: int, count: int) -> tuple[str, ...]:
        """Some words in a row."""
        return tuple(self.vocabulary[number] for number in self.ids[start : start + count])


def tokenized(texts: Iterable[str]) -> Tokens:
    """The words of texts; one number a word, so that many texts fit."""
    numbers: dict[str, int] = {}
    blocks, starts = [np.empty(0, np.int32)], [0]
    for text in texts:
        found = [numbers.setdefault(word, len(numbers)) for word in words_of(text)]
        blocks.append(np.array(found, np.int32))
        starts.append(starts[-1] + len(found))
    return Tokens(np.concatenate(blocks), np.array(starts), tuple(numbers))


class Shingles(NamedTuple):
    """The distinct runs of words of N texts, by hash; those of text i are `hashes[starts[i]:starts[i + 1]]`, sorted."""

    hashes: np.ndarray  # uint64
    starts: np.ndarray  # int64 [N + 1]
    places: np.ndarray  # int64: where in the tokens a run stands (once more than once, one of the places)


def shingles_of(tokens: Tokens, size: int) -> Shingles:
    """Runs of `size` words; of a text with fewer words, all of them as one."""
    count = len(tokens.starts) - 1
    runs, last = np.maximum(tokens.lengths - size + 1, np.minimum(tokens.lengths, 1)), 0
    of_word = np.array([_hash(word) for word in tokens.vocabulary], np.uint64)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    while last < count:
        first = last
        last = max(first + 1, int(np.searchsorted(tokens.starts, tokens.starts[first] + _BLOCK, side="right")) - 1)
        found.append(_distinct(tokens, size, np.repeat(np.arange(first, last), runs[first:last]), of_word))
    if not found:
        return Shingles(np.empty(0, np.uint64), np.zeros(1, np.int64), np.empty(0, np.int64))
    texts, hashes, places = (np.concatenate(column) for column in zip(*found, strict=True))
    starts = np.concatenate([[0], np.cumsum(np.bincount(texts, minlength=count))])
    return Shingles(hashes, starts, places)


def _distinct(
    tokens: Tokens, size: int, texts: np.ndarray, of_word: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Text, hash and place of the distinct runs of texts that are named once for each of their runs."""
    within = np.arange(len(texts)) - np.searchsorted(texts, texts)
    places = tokens.starts[texts] + within
    hashes = np.zeros(len(texts), np.uint64)
    for step in range(size):
        inside = places + step < tokens.starts[texts + 1]
        word = of_word[tokens.ids[np.where(inside, places + step, 0)]]
        hashes = _mixed(hashes + np.where(inside, word, np.uint64(0)) + np.uint64(step))
    order = np.lexsort((hashes, texts))
    texts, hashes, places = texts[order], hashes[order], places[order]
    new = np.ones(len(texts), bool)
    new[1:] = (texts[1:] != texts[:-1]) | (hashes[1:] != hashes[:-1])
    return texts[new], hashes[new], places[new]


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _mixed(values: np.ndarray) -> np.ndarray:
    for shift, factor in _MIXING:
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values ^ (values >> np.uint64(31))

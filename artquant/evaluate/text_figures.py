"""Figures of a set of descriptions: is it one text in many copies, does it give scores away, does it agree with people?

n-gram and embedding scores do not tell good descriptions from template text; these do (tests: planted sets). A figure's
meaning stands here alone: `MEANINGS`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from artquant.evaluate.metrics import Estimate, evaluate_scores
from artquant.texts.leaks import find_leaks
from artquant.texts.near_duplicates import LIKENESS, near_duplicates_of
from artquant.texts.reread import Learned, learn, read_scores, word_features
from artquant.texts.text_sets import WHOLE, TextSet
from artquant.texts.words import Tokens, shingles_of, tokenized, words_of

PHRASE, OPENING, SAMPLE = 4, 3, 1_000  # words
QUANTILES = (0, 5, 25, 50, 75, 95, 100)  # percent
_RESAMPLED, _MOST = 2_000_000, 200  # pairs drawn for an interval, about; resamples
_FEWEST_PAIRS = 3
_SENTENCE = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u2019)]*\s*|\n+")
_SHOWN = 10
_STEPS = 30  # of ten words


@dataclass(frozen=True)
class Meaning:
    """A figure of a set: what it is called and says, and whether more or less of it is wanted."""

    title: str
    sentence: str
    better: Literal["low", "high", ""]
    form: str  # as `format` takes it


MEANINGS = {
    "pictures": Meaning("Pictures", "Pictures with a description.", "", ",d"),
    "near_duplicates": Meaning(
        "Near-duplicates",
        f"Share of pictures whose text is nearly another's: at least {LIKENESS:.0%} of the two-word runs that either "
        "has are in both.",
        "low",
        ".1%",
    ),
    "template": Meaning(
        "Template share",
        f"Share of a text's {PHRASE}-word runs that the text of another picture, drawn at random, has too; one "
        "template with other nouns filled in has a high one.",
        "low",
        ".1%",
    ),
    "openings": Meaning(
        "Same openings",
        f"Share of sentences whose first {OPENING} words also open a sentence of another picture, drawn at random.",
        "low",
        ".1%",
    ),
    "vocabulary": Meaning("Vocabulary", "Different words in all texts; it grows with their number.", "", ",d"),
    "variety": Meaning(
        "Word variety",
        f"Different words to be expected among {SAMPLE:,} words drawn at random, so that the size of the set does not "
        "matter.",
        "high",
        ".0f",
    ),
    "leaks": Meaning(
        "Score leaks", "Share of pictures whose text gives the score away, by rule (English).", "low", ".1%"
    ),
    "read_srcc": Meaning(
        "Score read by a model (SRCC)",
        "SRCC of people's scores with those that the reader told from the text alone; near 1: texts and scores agree, "
        "near 0: they belong to other pictures, below 0: they contradict.",
        "high",
        ".3f",
    ),
    "words_srcc": Meaning(
        "Score read from the words (SRCC)",
        "SRCC of people's scores with those that ridge regression on the words reads, learned on other pictures of the "
        "same set; near 0: the texts do not go with the scores. Leaked scores raise it.",
        "high",
        ".3f",
    ),
    "first_srcc": Meaning(
        "Score read as in the first set (SRCC)",
        "The same, learned on other pictures of the first set; below 0: what is praise there stands at low scores "
        "here.",
        "high",
        ".3f",
    ),
}


@dataclass(frozen=True)
class TextFigures:
    """Of one set; shares are 0 to 1. `MEANINGS` says what each is; None: it cannot be known."""

    name: str
    pictures: int
    near_duplicates: float
    template: float
    openings: float
    vocabulary: int
    variety: float | None  # None: fewer than SAMPLE words
    leaks: float
    read_srcc: Estimate | None
    words_srcc: Estimate | None
    first_srcc: Estimate | None
    near_duplicates_by_part: dict[str, float]
    lengths: dict[str, tuple[float, ...]]  # words by part and of the whole, at QUANTILES
    length_counts: dict[str, tuple[int, ...]]  # texts by words in steps of 10, the last with all longer ones
    groups: tuple[tuple[int, tuple[int, ...]], ...]  # largest ones of near-duplicates: how many, and first places
    phrases: tuple[tuple[str, int], ...]  # most frequent runs of words, with the number of pictures
    leaked: tuple[tuple[int, str], ...]  # first leaks: place, words
    furthest: tuple[tuple[int, float], ...]  # texts that tell of another score, by the model or else by the words

    def value(self, name: str) -> float | None:
        """A figure of `MEANINGS` as a number."""
        found: float | Estimate | None = self.__dict__[name]
        return found.value if isinstance(found, Estimate) else found


def measure(
    texts: TextSet, read: np.ndarray | None = None, first: Learned | None = None
) -> tuple[TextFigures, Learned | None]:
    """All figures of a set, and what was learned to read scores from its words.

    Args:
        read: scores [N] that a model read off the texts, NaN where it did not.
        first: what the first set taught; None: this one is the first.
    """
    wholes = [texts.whole(place) for place in range(len(texts.images))]
    tokens = {part: tokenized(one[part] for one in texts.texts if part in one) for part in texts.parts}
    tokens[WHOLE] = tokenized(wholes)
    groups = {part: near_duplicates_of(of_part) for part, of_part in tokens.items()}
    shares = {part: sum(map(len, found)) / max(len(tokens[part].lengths), 1) for part, found in groups.items()}
    template, phrases = phrase_overlap(tokens[WHOLE])
    leaked = [(place, leaks[0].text) for place, text in enumerate(wholes) if (leaks := find_leaks(text))]
    scores, features = texts.human_scores(), word_features(tokens[WHOLE])
    learned = learn(features, scores, texts.images)
    own, by_first = (
        np.full(len(wholes), np.nan) if one is None else read_scores(one, features, texts.images)
        for one in (learned, first or learned)
    )
    read = np.full(len(wholes), np.nan) if read is None else read
    lengths = {part: of_part.lengths for part, of_part in tokens.items() if len(of_part.lengths)}
    figures = TextFigures(
        name=texts.name,
        pictures=len(wholes),
        near_duplicates=shares[WHOLE],
        template=template,
        openings=opening_overlap(wholes),
        vocabulary=len(tokens[WHOLE].vocabulary),
        variety=word_variety(tokens[WHOLE]),
        leaks=len(leaked) / max(len(wholes), 1),
        read_srcc=srcc(read, scores),
        words_srcc=srcc(own, scores),
        first_srcc=srcc(by_first, scores),
        near_duplicates_by_part=shares,
        lengths={part: tuple(np.percentile(found, QUANTILES).tolist()) for part, found in lengths.items()},
        length_counts={part: _by_length(found) for part, found in lengths.items()},
        groups=tuple((len(group), tuple(group[:_SHOWN])) for group in groups[WHOLE][:_SHOWN]),
        phrases=phrases,
        leaked=tuple(leaked[:_SHOWN]),
        furthest=_furthest(read if np.isfinite(read).any() else own, scores),
    )
    return figures, learned


def _furthest(read: np.ndarray, scores: np.ndarray) -> tuple[tuple[int, float], ...]:
    off = np.nan_to_num(np.abs(read - scores), nan=-1.0)
    found = np.argsort(-off, kind="stable")[:_SHOWN]
    return tuple((int(place), float(read[place])) for place in found if off[place] >= 0)


def _by_length(words: np.ndarray) -> tuple[int, ...]:
    return tuple(np.bincount(np.minimum(words // 10, _STEPS), minlength=_STEPS + 1).tolist())


def ranks(figures: Sequence[TextFigures], name: str) -> list[int | None]:
    """The place of each set by a figure, 1 the best; None: it has none, or none is better than another.

    What is written alike has the same place.
    """
    meaning = MEANINGS[name]
    values = [one.value(name) for one in figures]
    shown = [
        None if value is None else float(format(value, meaning.form).strip("%").replace(",", "")) for value in values
    ]
    if not meaning.better:
        return [None] * len(figures)
    keys = [None if value is None else value if meaning.better == "low" else -value for value in shown]
    return [None if key is None else 1 + sum(other < key for other in keys if other is not None) for key in keys]


def phrase_overlap(tokens: Tokens) -> tuple[float, tuple[tuple[str, int], ...]]:
    """The share of a text's runs of words that another text has too, and the most frequent ones with their texts."""
    shingles = shingles_of(tokens, PHRASE)
    _, firsts, counts = np.unique(shingles.hashes, return_index=True, return_counts=True)
    shown: list[tuple[str, int]] = []
    known: set[tuple[str, ...]] = set()  # runs of half the length: the same phrase shifted by a word is not shown again
    for place in np.argsort(-counts, kind="stable")[: 50 * _SHOWN]:
        words = tokens.words(int(shingles.places[firsts[place]]), PHRASE)
        halves = set(pairwise(words))
        if counts[place] > 1 and not halves & known and len(shown) < _SHOWN:
            shown.append((" ".join(words), int(counts[place])))
            known |= halves
    return _overlap(counts, len(tokens.lengths)), tuple(shown)


def opening_overlap(texts: Sequence[str]) -> float:
    """The share of sentences whose opening is among those of another text, drawn at random."""
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        openings = (tuple(words_of(sentence[:80])[:OPENING]) for sentence in _SENTENCE.split(text))
        counts.update({opening for opening in openings if len(opening) == OPENING})
    return _overlap(np.array(list(counts.values())), len(texts))


def _overlap(counts: np.ndarray, texts: int) -> float:
    """Of things that so many of the texts have: the chance that another text has a thing of a text too."""
    if texts < 2 or not len(counts):
        return 0.0
    return float((counts * ((counts - 1) / (texts - 1))).sum() / counts.sum())


def word_variety(tokens: Tokens) -> float | None:
    """Different words to be expected among SAMPLE words drawn without putting back; None: there are fewer."""
    from scipy.special import gammaln

    total = len(tokens.ids)
    if total < SAMPLE:
        return None
    rest = total - np.bincount(tokens.ids).astype(np.float64)
    enough = rest >= SAMPLE  # else the word is among any SAMPLE words
    rest = rest[enough]
    log_missed = gammaln(rest + 1) - gammaln(rest - SAMPLE + 1) - gammaln(total + 1) + gammaln(total - SAMPLE + 1)
    return float(len(enough) - np.exp(log_missed).sum())


def srcc(read: np.ndarray, scores: np.ndarray) -> Estimate | None:
    """Spearman's correlation of pairs [N] that are known (NaN: not); None: too few are, or all are the same."""
    known = np.isfinite(read) & np.isfinite(scores)
    read, scores = read[known], scores[known]
    if known.sum() < _FEWEST_PAIRS or np.ptp(read) == 0 or np.ptp(scores) == 0:
        return None
    resamples = int(np.clip(_RESAMPLED // known.sum(), 40, _MOST))
    return evaluate_scores(read, scores, bootstrap=resamples).SRCC

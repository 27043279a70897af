"""Descriptions of pictures, several files side by side: figures that tell good ones from bad, and overlap beside them.

What the figures of a set are: text_figures.py. A score is re-read from the text alone by ridge regression on its words:
learned on other pictures of the same file, and, where training texts with scores are given, on those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artquant.errors import ArtQuantError
from artquant.evaluate.join import read_truth, same_pictures
from artquant.evaluate.metrics import Estimate
from artquant.evaluate.overlap import WEAK, Overlap, require_overlap, text_overlap
from artquant.evaluate.report import aligned, interval_text
from artquant.evaluate.text_figures import MEANINGS, QUANTILES, TextFigures, measure
from artquant.texts.reread import FEWEST, Learned, learn, word_features
from artquant.texts.text_sets import WHOLE, TextSet, read_text_set
from artquant.texts.words import tokenized

_SHARES = ("near_duplicates", "template", "openings", "leaks")
_BY_TRAINING = "Score read as the training texts teach (SRCC)"
_SHOWN = 3


@dataclass(frozen=True)
class Descriptions:
    """One file's figures."""

    path: Path
    texts: TextSet
    figures: TextFigures
    scored: int  # texts whose picture has a human score
    by_training: Estimate | None  # SRCC of the re-read score, as the training texts teach; None: not asked or not known
    overlap: Overlap | None


def evaluate_descriptions(
    paths: Sequence[Path], references: Path | None = None, training: Path | None = None, truth: Path | None = None
) -> list[Descriptions]:
    """Figures of files of descriptions (:func:`artquant.texts.text_sets.read_text_set`).

    Args:
        references: people's texts of the same pictures, for overlap.
        training: texts with scores, from which another reading is learned; a picture that is described too is read by
            what others taught.
        truth: records with gt_score, for texts that hold none.

    Raises:
        ArtQuantError: a file cannot be used; no reference is of a described picture, or too few training texts have a
            score.
    """
    if references is not None:
        require_overlap()
    scores = {} if truth is None else {one.image or one.id: one.gt_score for one in read_truth(truth).values()}
    taught, learned = None, None
    if training is not None:
        taught = read_text_set(training)
        _add_scores(taught, scores)
        learned = _learned(training, taught)
    found = []
    for path in paths:
        texts = read_text_set(path)
        if not _add_scores(texts, scores) and truth is not None:
            raise ArtQuantError(f"{truth}: has none of the pictures of {path}, such as {texts.images[0]!r}")
        if taught is not None:
            met = same_pictures(texts.images, taught.images)
            texts.images = [met.get(image, image) for image in texts.images]  # a fold goes by the picture's name
        overlap = None if references is None else _overlap(path, texts, references)
        figures, _ = measure(texts, first=learned)
        scored = int(np.isfinite(texts.human_scores()).sum())
        found.append(Descriptions(path, texts, figures, scored, figures.first_srcc if learned else None, overlap))
    return found


def _add_scores(texts: TextSet, scores: Mapping[str, float]) -> bool:
    """Give pictures that have none people's scores; whether any of them is known."""
    met = same_pictures(texts.images, list(scores))
    texts.scores = [
        scores.get(met.get(image, ""), score) if np.isnan(score) else score
        for image, score in zip(texts.images, texts.scores, strict=True)
    ]
    return bool(met)


def _learned(path: Path, texts: TextSet) -> Learned:
    """What training texts teach."""
    features = word_features(tokenized(texts.whole(place) for place in range(len(texts.images))))
    found = learn(features, texts.human_scores(), texts.images)
    if found is None:
        raise ArtQuantError(f"{path}: fewer than {FEWEST} of its texts have a score (gt_score); nothing can be learned")
    return found


def _overlap(path: Path, texts: TextSet, file: Path) -> Overlap:
    references = read_text_set(file)
    met = same_pictures(texts.images, references.images)
    if not met:
        raise ArtQuantError(f"{file}: has none of the pictures of {path}, such as {texts.images[0]!r}")
    wholes = {image: references.whole(place) for place, image in enumerate(references.images)}
    pairs = [(texts.whole(place), wholes[met[image]]) for place, image in enumerate(texts.images) if image in met]
    return text_overlap([text for text, _ in pairs], [reference for _, reference in pairs])


def descriptions_record(found: Descriptions) -> dict[str, Any]:
    """As plain values, for JSON; what is not known is null."""
    figures, texts = found.figures, found.texts
    shares = {name: figures.value(name) for name in ("pictures", *_SHARES, "vocabulary", "variety")}
    return {
        "descriptions": str(found.path),
        **shares,
        "words": dict(zip(map(str, QUANTILES), figures.lengths[WHOLE], strict=True)),
        "scored": found.scored,
        "reread_srcc": figures.words_srcc and asdict(figures.words_srcc),
        "reread_srcc_by_training": found.by_training and asdict(found.by_training),
        "overlap_weak": found.overlap and asdict(found.overlap),
        "near_duplicate_groups": [
            {"texts": count, "first": [texts.images[place] for place in places]} for count, places in figures.groups
        ],
        "first_leaks": [{"image": texts.images[place], "text": words} for place, words in figures.leaked],
    }


def format_descriptions(evaluations: Sequence[Descriptions]) -> str:
    """Plain text: a row for each figure, a column for each file, then what is to be said of them."""
    rows = [["figure", *(str(one.path) for one in evaluations)]]
    for name in ("pictures", *_SHARES, "vocabulary", "variety"):
        values = [one.figures.value(name) for one in evaluations]
        cells = ["-" if value is None else format(value, MEANINGS[name].form) for value in values]
        rows.append([MEANINGS[name].title + _wanted(name), *cells])
    rows.append(["Words of a text: median (5 to 95 %)", *(_lengths(one.figures) for one in evaluations)])
    for title, read in (
        (MEANINGS["words_srcc"].title, [one.figures.words_srcc for one in evaluations]),
        (_BY_TRAINING, [one.by_training for one in evaluations]),
    ):
        if any(read):
            rows.append([f"{title}, high", *(f"{one.value:.3f}" if one else "-" for one in read)])
            rows.append(["", *(interval_text(one.low, one.high) if one else "" for one in read)])
    if any(one.overlap for one in evaluations):
        for name in ("BLEU", "chrF", "ROUGE_L"):
            cells = [f"{asdict(one.overlap)[name]:.1f}" if one.overlap else "-" for one in evaluations]
            rows.append([f"{name.replace('_', '-')} (weak)", *cells])
    lines = aligned(rows)
    for one in evaluations:
        lines += _remarks(one)
    return "\n".join([*lines, *([WEAK] if any(one.overlap for one in evaluations) else [])])


def _wanted(name: str) -> str:
    better = MEANINGS[name].better
    return f", {better}" if better else ""


def _lengths(figures: TextFigures) -> str:
    words = dict(zip(QUANTILES, figures.lengths[WHOLE], strict=True))
    return f"{words[50]:.0f} ({words[5]:.0f} to {words[95]:.0f})"


def _remarks(one: Descriptions) -> list[str]:
    """Examples of what is bad, and what could not be computed."""
    lines, images = [], one.texts.images
    for count, places in one.figures.groups[:_SHOWN]:
        named = ", ".join(images[place] for place in places[:_SHOWN])
        lines.append(f"{one.path}: {count} texts are nearly the same: {named}{', ...' if count > _SHOWN else ''}")
    for place, words in one.figures.leaked[:_SHOWN]:
        lines.append(f"{one.path}: {images[place]} gives its score away: {words!r}")
    if one.scored < FEWEST:
        lines.append(
            f"{one.path}: {one.scored} texts have a human score, {FEWEST} are needed to learn reading it (--truth)"
        )
    if one.overlap is not None and one.overlap.n < one.figures.pictures:
        lines.append(f"{one.path}: {one.figures.pictures - one.overlap.n} pictures have no reference")
    return lines

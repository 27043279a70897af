"""The card of a prepared data set, dataset.json: what was made from what, and what is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from artquant import __version__
from artquant.prepare.annotation import SPLITS, Annotation, Imported
from artquant.prepare.records import Labelling
from artquant.prepare.scale import Fit

_BINS = 10


def make_card(
    name: str,
    annotations: Sequence[Annotation],
    imported: Imported,
    fit: Fit,
    labelling: Labelling,
    command: str,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The card, without the list of files. Nothing in it depends on the time.

    Args:
        name: Of the importer.
        annotations: Every picture that was used, with its split, on the levels' scale.
        imported: What the importer read.
        fit, labelling: How scores were made.
        command: The command line.
        notes: What the user ought to know, beside the importer's own notes.
    """
    levels = fit.levels
    return {
        "name": name,
        "artquant": __version__,
        "command": command,
        "sources": [vars(source) for source in imported.sources],
        "notes": [*imported.notes, *notes],
        "scale": {
            "native": list(fit.native),
            "fit": fit.rule,
            "words": list(levels.words),
            "values": list(levels.values),
        },
        "distributions": {
            "method": labelling.method,
            "sigma": labelling.used_sigma,
            "attribute_method": labelling.attribute_method,
            "vote_values": None if labelling.vote_values is None else list(labelling.vote_values),
        },
        "subject": labelling.subject,
        "seed": labelling.seed,
        "splits": {
            split: _split_card([found for found in annotations if found.split == split], fit) for split in SPLITS
        },
    }


def _split_card(annotations: Sequence[Annotation], fit: Fit) -> dict[str, Any]:
    levels = fit.levels
    scores = np.array([annotation.score for annotation in annotations])
    words = Counter(levels.word(score) for score in scores.tolist())
    edges = np.linspace(levels.low, levels.high, _BINS + 1)
    present = Counter(name for annotation in annotations for name in annotation.attributes)
    return {
        "pictures": len(annotations),
        "scores": {
            "lowest": float(scores.min()) if scores.size else None,
            "highest": float(scores.max()) if scores.size else None,
            "mean": round(float(scores.mean()), 6) if scores.size else None,
            "histogram": {
                "edges": [round(edge, 6) for edge in edges.tolist()],
                "counts": np.histogram(scores, edges)[0].tolist(),
            },
        },
        "words": {word: words[word] for word in levels.words},
        "attributes": {
            attribute: {"present": present[attribute], "missing": len(annotations) - present[attribute]}
            for attribute in _attribute_names(annotations)
        },
        "comments": sum(annotation.comment is not None for annotation in annotations),
        "categories": _categories(annotations),
    }


def _attribute_names(annotations: Sequence[Annotation]) -> list[str]:
    return sorted({name for annotation in annotations for name in annotation.attributes})


def _categories(annotations: Sequence[Annotation]) -> Mapping[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for annotation in annotations:
        for kind, value in annotation.categories.items():
            counts.setdefault(kind, Counter())[value] += 1
    return {kind: dict(sorted(found.items())) for kind, found in counts.items()}

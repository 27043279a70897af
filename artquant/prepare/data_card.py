"""The card of a prepared data set, dataset.json: what was made from what, and what is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from artquant import __version__
from artquant.config.schema import RunConfig
from artquant.errors import visible
from artquant.labels.rating_scale import RatingScale
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
    attributes: Sequence[str] = (),
    notes: Sequence[str] = (),
    words: Sequence[str] = (),
) -> dict[str, Any]:
    """The card, without the list of files. Nothing in it depends on the time.

    Args:
        name: Of the importer.
        annotations: Every picture that was used, with its split, on the levels' scale.
        imported: What the importer read.
        fit, labelling: How scores were made.
        command: The command line.
        attributes: Those that the files have columns for, in order; any others follow.
        notes: What the user ought to know, beside the importer's own notes.
        words: The rating word of each picture.
    """
    levels = fit.levels
    names = list(dict.fromkeys([*attributes, *(name for found in annotations for name in found.attributes)]))
    scores = [annotation.score for annotation in imported.annotations]
    said = Counter((found.split, word) for found, word in zip(annotations, words, strict=True))
    return {
        "name": name,
        "artquant": __version__,
        "command": visible(command),
        "sources": [vars(source) for source in imported.sources],
        "notes": [*imported.notes, *notes],
        "scale": {
            "native": list(fit.native),
            "found": [min(scores), max(scores)],
            "fit": fit.rule,
            "words": list(levels.words),
            "values": list(levels.values),
        },
        "distributions": {
            "method": labelling.method,
            "sigma": labelling.used_sigma,
            "attribute_method": labelling.attribute_method,
            "word": labelling.word,
            "vote_values": None if labelling.vote_values is None else list(labelling.vote_values),
        },
        "subject": labelling.subject,
        **_asked(labelling),
        "seed": labelling.seed,
        "splits": {
            split: _split_card(
                [found for found in annotations if found.split == split],
                {word: said[split, word] for word in levels.words},
                levels,
                names,
            )
            for split in SPLITS
        },
    }


def _asked(labelling: Labelling) -> dict[str, Any]:
    """Prompt and readout, unless both are as by default."""
    if not labelling.readout_settings and labelling.prompt_name == RunConfig.prompt:
        return {}
    readout = {"readout": dict(labelling.readout_settings)} if labelling.readout_settings else {}
    return {"prompt": labelling.prompt_name, **readout}


def _split_card(
    annotations: Sequence[Annotation], words: Mapping[str, int], levels: RatingScale, attributes: Sequence[str]
) -> dict[str, Any]:
    scores = np.array([annotation.score for annotation in annotations])
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
        "words": dict(words),
        "attributes": {
            attribute: {"present": present[attribute], "missing": len(annotations) - present[attribute]}
            for attribute in attributes
        },
        "comments": sum(annotation.comment is not None for annotation in annotations),
        "categories": _categories(annotations),
    }


def _categories(annotations: Sequence[Annotation]) -> Mapping[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for annotation in annotations:
        for kind, value in annotation.categories.items():
            counts.setdefault(kind, Counter())[value] += 1
    return {kind: dict(sorted(found.items())) for kind, found in counts.items()}

"""Scores of which a low one is better, and attributes on ranges of their own, put on the data set's range."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from artquant.errors import ArtQuantError
from artquant.prepare.annotation import Annotation, Imported, PrepareError
from artquant.prepare.columns import Columns
from artquant.prepare.units import rounded


def on_one_scale(imported: Imported, columns: Columns, score_range: tuple[float, float]) -> Imported:
    """Annotations whose score rises with what is liked, and whose attributes have the score's range.

    Args:
        imported: As the files say it.
        columns: What is so: `lower_is_better`, `attribute_ranges`.
        score_range: Lowest and highest score of the data set.

    Raises:
        ArtQuantError: An attribute is outside its range, or a range is of no attribute.
    """
    annotations, values, notes = imported.annotations, imported.vote_values, list(imported.notes)
    if columns.attribute_ranges:
        maps = _maps(columns.attribute_ranges, annotations, score_range)
        annotations = [_mapped(annotation, columns.attribute_ranges, maps) for annotation in annotations]
        said = ", ".join(
            f"{name + ' ' if name else ''}{low:g} to {high:g}" for name, (low, high) in columns.attribute_ranges.items()
        )
        notes.append(f"attributes mapped linearly onto {score_range[0]:g} to {score_range[1]:g} from {said}")
    if columns.lower_is_better:
        ends, width = score_range[0] + score_range[1], score_range[1] - score_range[0]
        annotations = [_turned(annotation, ends, width) for annotation in annotations]
        values = values if values is None else tuple(rounded(ends - value, width) for value in reversed(values))
        notes.append(f"lower is better in the files: scores are {ends:g} minus theirs")
    return Imported(annotations, imported.sources, notes, values)


def _maps(
    ranges: Mapping[str, tuple[float, float]], annotations: list[Annotation], onto: tuple[float, float]
) -> dict[str, Callable[[float], float]]:
    """How each attribute that has a range is mapped."""
    known = {name for annotation in annotations for name in annotation.attributes}
    strange = next((name for name in ranges if name and name not in known), None)
    if strange is not None or not known:
        there = ", ".join(sorted(known)) or "none: name them with --attribute-columns"
        raise ArtQuantError(f"--attribute-range: no attribute {strange or ''!r}; there are {there}")

    def map_of(first: float, last: float) -> Callable[[float], float]:
        slope = (onto[1] - onto[0]) / (last - first)
        return lambda value: rounded(onto[0] + (value - first) * slope, onto[1] - onto[0])

    return {name: map_of(*ranges.get(name, ranges.get("", onto))) for name in known}


def _mapped(
    annotation: Annotation, ranges: Mapping[str, tuple[float, float]], maps: Mapping[str, Callable[[float], float]]
) -> Annotation:
    for name, value in annotation.attributes.items():
        low, high = sorted(ranges.get(name, ranges.get("", (value, value))))
        if not low <= value <= high:
            raise PrepareError(
                f"{annotation.source}: {name} {value:g} is outside {low:g} to {high:g}; correct it, or name the range "
                f"with --attribute-range {name}=LO,HI"
            )
    return replace(annotation, attributes={name: maps[name](value) for name, value in annotation.attributes.items()})


def _turned(annotation: Annotation, ends: float, width: float) -> Annotation:
    votes = None if annotation.votes is None else annotation.votes[::-1]
    return replace(annotation, score=rounded(ends - annotation.score, width), votes=votes)

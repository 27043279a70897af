"""What people said about one picture, in the form that every importer yields."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from artquant.errors import ArtQuantError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
CATEGORIES = ("form", "style", "subject")  # of APDDv2's "oil painting*romanticism*landscapes"


class PrepareError(ArtQuantError):
    """Annotations that cannot be used; the message names file and record."""


_NOTHING: Mapping[str, Any] = MappingProxyType({})  # one for all: there are many annotations


def _nothing() -> Mapping[str, Any]:
    return _NOTHING


@dataclass(frozen=True, slots=True)
class Annotation:
    """One picture with its human scores. What the source does not say is absent, never imputed."""

    image: str  # file name, relative to the folder of the pictures
    score: float  # mean score, on the data set's own scale
    source: str  # "train.csv record 17"
    split: Split | None = None  # None: the files do not say
    std: float | None = None  # standard deviation of the ratings, same unit
    votes: tuple[float, ...] | None = None  # raters that gave each vote value
    attributes: Mapping[str, float] = field(default_factory=_nothing)  # same unit as the score
    categories: Mapping[str, str] = field(default_factory=_nothing)
    comment: str | None = None
    kept: Mapping[str, Any] = field(default_factory=_nothing)  # further keys of a JSON record, which go along
    rater: str | None = None  # who gave the score, where every rater has a record


@dataclass(frozen=True)
class Source:
    """A file that was read."""

    path: str
    sha256: str
    encoding: str
    records: int


@dataclass(frozen=True)
class Imported:
    """What an importer made of its files."""

    annotations: list[Annotation]
    sources: list[Source]
    notes: list[str] = field(default_factory=list)  # what the user ought to know, one sentence each
    vote_values: tuple[float, ...] | None = None  # value of each entry of `Annotation.votes`


def without_repeats(annotations: Iterable[Annotation]) -> tuple[list[Annotation], list[str]]:
    """The annotations without those that say of a picture what another says already (ISTA-10K), and a note."""
    kept: list[Annotation] = []
    first: dict[str, Annotation] = {}
    repeats: list[Annotation] = []
    for annotation in annotations:
        known = first.setdefault(posixpath.normpath(annotation.image), annotation)
        same = known is not annotation and replace(annotation, source=known.source) == known
        (repeats if same else kept).append(annotation)
    told = f"{repeats[0].source}: image {repeats[0].image!r} again, with the same values" if repeats else ""
    return kept, [f"{told}; {len(repeats)} such records are left out"] if repeats else []


def check_unique(annotations: Iterable[Annotation]) -> None:
    """Refuse a picture that is annotated twice, in one split or in two, or an id that records bring twice.

    Raises:
        PrepareError: With both places.
    """
    images: dict[str, str] = {}
    ids: dict[str, str] = {}
    for annotation in annotations:
        _claim(images, posixpath.normpath(annotation.image), annotation.source, "image")
        if "id" in annotation.kept:
            _claim(ids, str(annotation.kept["id"]), annotation.source, "id")


def _claim(first: dict[str, str], name: str, source: str, what: str) -> None:
    if name in first:
        raise PrepareError(f"{source}: {what} {name!r} is also {first[name]}; keep only one of them")
    first[name] = source

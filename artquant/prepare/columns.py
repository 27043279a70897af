"""From the rows of a table to annotations: which column says what."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from artquant.config.requirements import LARGEST
from artquant.data.fields import number_of
from artquant.labels.soft_labels import VOTES_TOLERANCE
from artquant.prepare.annotation import CATEGORIES, SPLITS, Annotation, PrepareError, Split, check_image_name
from artquant.prepare.tables import Table
from artquant.prepare.units import require_votes_deviation, rounded, vote_moments

# What split columns hold, in small letters.
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Columns:
    """Names of the columns (of JSON: keys). None or empty: the files do not have it."""

    image: str = "image"
    score: str | None = "score"  # None: the mean of the votes
    std: str | None = None
    comment: str | None = None
    split: str | None = None
    attributes: tuple[str, ...] = ()
    categories: Mapping[str, str] = field(default_factory=dict)  # kind -> column
    joined_categories: str | None = None  # one column "form*style*subject"
    votes: tuple[str, ...] = ()
    optional: frozenset[str] = frozenset()  # columns that may be absent
    suffix: str = ""  # added to the image names
    records: bool = False  # JSON in the form of training records: attributes, categories, votes are nested

    @property
    def names(self) -> tuple[str, ...]:
        """Every column named."""
        single = (self.image, self.score, self.std, self.comment, self.split, self.joined_categories)
        return (*(name for name in single if name), *self.attributes, *self.categories.values(), *self.votes)


# Keys of training records that are read by name; whatever else such a record holds goes along.
_READ_OR_MADE = frozenset({"image", "gt_score", "std", "attributes", "categories", "votes", "level_probs", "split"})


def annotations_of(
    table: Table, columns: Columns, split: Split | None = None, vote_values: tuple[float, ...] | None = None
) -> list[Annotation]:
    """The table's rows as annotations.

    Args:
        table: What was read.
        columns: Which column says what.
        split: Of every row; None: what the split column says, if there is one.
        vote_values: The value of each vote column.

    Raises:
        PrepareError: A column is missing, or a value cannot be used; names file and record.
    """
    _check_columns(table, columns)
    return [
        _Row(table.where(number), row, columns, table.is_json and columns.records).annotation(split, vote_values)
        for number, row in enumerate(table.rows, start=1)
    ]


def _check_columns(table: Table, columns: Columns) -> None:
    for name in columns.names:
        if name in table.columns or name in columns.optional:
            continue
        same = [there for there in table.columns if there.strip().lower() == name.lower()]
        near = next(iter(difflib.get_close_matches(name, table.columns, n=1) or same), None)
        there = ", ".join(map(repr, table.columns))
        hint = f"did you mean {near!r}? " if near else ""
        if len(table.columns) == 1 and any(mark in table.columns[0] for mark in ";\t"):
            hint = "columns must be separated by commas; "
        raise PrepareError(
            f"{table.path}: no column {name!r}; there are {there[:500]}; {hint}correct the file, or name the column "
            "with --image-column, --score-column, ..."
        )


@dataclass(frozen=True)
class _Row:
    """One row with checked access; every error names the record."""

    where: str
    values: Mapping[str, Any]
    columns: Columns
    nested: bool

    def annotation(self, split: Split | None, vote_values: tuple[float, ...] | None) -> Annotation:
        columns = self.columns
        if self.nested and isinstance(self.values.get(columns.score or ""), list):
            raise PrepareError(
                f"{self.where}: {columns.score!r} is a list: training records of several scores already, which need "
                "no preparing; name their file in a configuration"
            )
        if self.nested and self.values.get("task_type", "score") != "score":
            raise PrepareError(f'{self.where}: "task_type" is not "score"; give a file of score records')
        if self.nested and "attribute" in self.values:
            raise PrepareError(f'{self.where}: is about an attribute; give the records of the whole pictures ("score")')
        votes = self._votes()
        score, std = self._score_and_std(votes, vote_values)
        return Annotation(
            image=self._image(),
            score=score,
            source=self.where,
            split=split or self._split(),
            std=std,
            votes=votes,
            attributes=self._attributes(),
            categories=self._categories(),
            comment=self._text(columns.comment) if columns.comment else None,
            kept=self._kept() if self.nested else {},
        )

    def _kept(self) -> dict[str, Any]:
        read = _READ_OR_MADE.union(self.columns.names)
        kept = {key: value for key, value in self.values.items() if key not in read and value is not None}
        identity = kept.get("id", "-")
        if isinstance(identity, bool) or not isinstance(identity, (str, int)) or not str(identity).strip():
            raise PrepareError(f'{self.where}: "id" must be text; correct it or take it out')
        if "level" in kept:
            raise PrepareError(f'{self.where}: a score record has no "level"; take it out')
        return kept

    def _image(self) -> str:
        name = self.values.get(self.columns.image)
        if isinstance(name, int) and not isinstance(name, bool) and self.columns.suffix:
            name = str(name)  # AVA's ids
        if not isinstance(name, str):
            raise PrepareError(f"{self.where}: {self.columns.image!r} is no image name; correct it")
        check_image_name(name, self.where)
        return name + self.columns.suffix

    def _text(self, column: str) -> str | None:
        value = self.values.get(column)
        if value is not None and not isinstance(value, str):
            raise PrepareError(f"{self.where}: {column!r} must be text; correct it")
        return value.strip() or None if value is not None else None

    def _split(self) -> Split | None:
        column = self.columns.split
        if not column or column not in self.values:
            return None
        name = self._text(column) or ""
        if name.lower() not in SPLIT_NAMES:
            raise PrepareError(f"{self.where}: {column!r} is {name[:100]!r}; use one of {', '.join(SPLITS)}")
        return SPLIT_NAMES[name.lower()]

    def _score_and_std(
        self, votes: tuple[float, ...] | None, vote_values: tuple[float, ...] | None
    ) -> tuple[float, float | None]:
        columns = self.columns
        score = None if columns.score is None else self._number(columns.score, self.values.get(columns.score))
        std = self._optional_number(columns.std) if columns.std else None
        if std is not None and std < 0:
            raise PrepareError(f"{self.where}: {columns.std!r} {std:g} is negative; correct it")
        if votes is None or vote_values is None:
            if score is None:
                raise PrepareError(f"{self.where}: there is neither a score nor votes; name a column for one of them")
            return score, std
        if len(votes) != len(vote_values):
            raise PrepareError(f"{self.where}: {len(votes)} votes for {len(vote_values)} values; make them equal")
        values = np.array(vote_values)
        width = float(np.ptp(values))
        mean, spread = vote_moments(votes, values)
        if score is not None and abs(score - mean) > VOTES_TOLERANCE * width:
            raise PrepareError(
                f"{self.where}: score {score:g}, but the mean of the votes is {mean:.6g}; "
                "correct one, or name the values of the votes (--vote-values)"
            )
        if std is None:
            std = rounded(spread, width)
        else:
            require_votes_deviation(std, votes, values, self.where)
        return (rounded(mean, width) if score is None else score), std

    def _votes(self) -> tuple[float, ...] | None:
        columns = self.columns
        if columns.votes:
            votes = tuple(self._number(name, self.values.get(name)) for name in columns.votes)
        elif self.nested and self.values.get("votes") is not None:
            listed = self.values["votes"]
            if not isinstance(listed, list):
                raise PrepareError(f'{self.where}: "votes" must be a list of counts; correct it')
            votes = tuple(self._number("votes", count) for count in listed)
        else:
            return None
        if any(count < 0 for count in votes):
            raise PrepareError(f"{self.where}: a count of votes is negative ({min(votes):g}); correct it")
        if sum(votes) > LARGEST:
            raise PrepareError(f"{self.where}: {sum(votes):g} votes are more than people there are; correct them")
        if not any(votes):
            raise PrepareError(f"{self.where}: nobody voted (every count is 0); take the record out")
        return tuple(int(count) if count.is_integer() else count for count in votes)

    def _attributes(self) -> dict[str, float]:
        if self.columns.attributes:
            read = {name: self._optional_number(name) for name in self.columns.attributes}
        elif self.nested and self.values.get("attributes") is not None:
            listed = self.values["attributes"]
            if not isinstance(listed, Mapping):
                raise PrepareError(f'{self.where}: "attributes" must be an object of names and scores; correct it')
            read = {name: self._number(name, value) for name, value in listed.items() if value is not None}
        else:
            return {}
        return {name: value for name, value in read.items() if value is not None}

    def _categories(self) -> dict[str, str]:
        columns = self.columns
        if columns.joined_categories:
            joined = self._text(columns.joined_categories) or ""
            parts = [part.strip() for part in joined.split("*")]
            if len(parts) != len(CATEGORIES) or not all(parts):
                raise PrepareError(
                    f"{self.where}: {columns.joined_categories!r} is {joined[:100]!r} instead of "
                    f"{'*'.join(CATEGORIES)}; correct it"
                )
            return dict(zip(CATEGORIES, parts, strict=True))
        if columns.categories:
            read = {kind: self._text(name) for kind, name in columns.categories.items()}
            return {kind: text for kind, text in read.items() if text is not None}
        listed = self.values.get("categories") if self.nested else None
        if listed is None:
            return {}
        if not isinstance(listed, Mapping) or not all(isinstance(text, str) for text in listed.values()):
            raise PrepareError(f'{self.where}: "categories" must be an object of names and texts; correct it')
        return dict(listed)

    def _optional_number(self, column: str) -> float | None:
        value = self.values.get(column)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        return self._number(column, value)

    def _number(self, column: str, value: Any) -> float:
        """A finite number."""
        number = number_of(value)
        if number is None:
            shown = "empty" if value is None or value == "" else f"{str(value)[:100]!r}, not a number"
            raise PrepareError(f"{self.where}: {column!r} is {shown}; correct it")
        if not abs(number) <= LARGEST:
            what = f"a number of at most {LARGEST:g}" if math.isfinite(number) else "a finite number"
            raise PrepareError(f"{self.where}: {column!r} is {number}, not {what}; correct it")
        return number

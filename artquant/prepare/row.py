"""One record of a table: checked access to what its columns say."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from artquant.config.requirements import LARGEST
from artquant.data.fields import number_of
from artquant.labels.soft_labels import VOTES_TOLERANCE
from artquant.prepare.annotation import CATEGORIES, SPLITS, Annotation, PrepareError, Split
from artquant.prepare.columns import SPLIT_NAMES, Columns
from artquant.prepare.image_names import image_name
from artquant.prepare.units import require_votes_deviation, rounded, vote_moments

# Keys of training records that are read by name; whatever else such a record holds goes along.
_READ_OR_MADE = frozenset({"image", "gt_score", "std", "attributes", "categories", "votes", "level_probs", "split"})
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_SUMMARIES = frozenset(("total", "sum", "mean", "average", "avg", "median", "std", "count", "min", "max"))
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Row:
    """One row with checked access; every error names the record."""

    where: str
    values: Mapping[str, Any]
    columns: Columns
    nested: bool

    def annotation(self, split: Split | None, vote_values: tuple[float, ...] | None) -> Annotation:
        columns = self.columns
        if "conversations" in self.values and isinstance(self.values.get(columns.score or ""), list):
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
            rater=self._name(columns.rater) if columns.rater else None,
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
        columns = self.columns
        parts = {name: self._name(name) for name in columns.image_columns}
        name = parts.get(columns.image, "")
        if columns.image_pattern is not None:
            name = columns.image_pattern
            for column, part in parts.items():
                name = name.replace(f"{{{column}}}", part)
        name = image_name(name, self.where, columns.clean_names)
        if name.lower().endswith(columns.suffix.lower()):
            return name
        if name.strip().lower() in _SUMMARIES:
            raise PrepareError(f"{self.where}: {name!r} sums up the rows above and is no picture; take the row out")
        return name + columns.suffix

    def _name(self, column: str) -> str:
        name = self.values.get(column)
        if isinstance(name, int) and not isinstance(name, bool):
            return str(name)  # AVA's ids
        if not isinstance(name, str):
            raise PrepareError(f"{self.where}: {column!r} is no image name; correct it")
        return name

    def _text(self, column: str) -> str | None:
        value = self.values.get(column)
        if value is not None and not isinstance(value, str):
            raise PrepareError(f"{self.where}: {column!r} must be text; correct it")
        return value.strip() or None if value is not None else None

    def _split(self) -> Split | None:
        column = self.columns.split
        if not column or column not in self.values:
            return None
        value = self.values[column]
        whole = isinstance(value, float) and value.is_integer()
        name = "" if value is None else str(int(value) if whole else value).strip()
        given = self.columns.split_values
        split = given.get(name) or given.get(name.lower()) or SPLIT_NAMES.get(name.lower())
        if split is None:
            raise PrepareError(
                f"{self.where}: {column!r} is {name[:100]!r}; use one of {', '.join(SPLITS)}, or say what it means: "
                f"--split-values {name[:20] or '0'}=SPLIT,..."
            )
        return split

    def _score_and_std(
        self, votes: tuple[float, ...] | None, vote_values: tuple[float, ...] | None
    ) -> tuple[float, float | None]:
        columns = self.columns
        score = None if columns.score is None else self._number(columns.score, self.values.get(columns.score))
        if columns.score_from_id:
            score = self._number("id", str(self.values.get("id")).rpartition("->")[2])
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
        listed = None
        if len(columns.votes) == 1:
            listed = listed_values(self.values.get(columns.votes[0]))
            if listed is None:
                held = str(self.values.get(columns.votes[0]))[:100]
                raise PrepareError(
                    f"{self.where}: {columns.votes[0]!r} is {held!r}, no list of counts such as [0, 3, 5]; correct it, "
                    "or name every column of votes, lowest first"
                )
        elif not columns.votes and self.nested:
            listed = self.values.get("votes")
            if listed is None:
                return None
            if not isinstance(listed, list):
                raise PrepareError(f'{self.where}: "votes" must be a list of counts; correct it')
        if listed is not None:
            votes = tuple(self._number("votes", count) for count in listed)
        elif columns.votes:
            votes = tuple(self._number(name, self.values.get(name)) for name in columns.votes)
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
            read = {
                name: self._optional_number(self.columns.attribute_column(name)) for name in self.columns.attributes
            }
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
        if self.columns.decimal_comma and isinstance(value, str):
            value = value.replace(",", ".")
        number = number_of(value)
        if number is None:
            raise PrepareError(f"{self.where}: {column!r} is {_not_a_number(value)}")
        if not abs(number) <= LARGEST:
            what = f"a number of at most {LARGEST:g}" if math.isfinite(number) else "a finite number"
            raise PrepareError(f"{self.where}: {column!r} is {number}, not {what}; correct it")
        return number


def _not_a_number(value: Any) -> str:
    """What a value is instead of a number, and what to do."""
    if value is None or value == "":
        return "empty; correct it"
    shown = f"{str(value)[:100]!r}, not a number"
    if isinstance(value, str) and _THOUSANDS.fullmatch(value.strip()):
        return f"{shown} but for its commas: take them out if they mark thousands, add --decimal-comma if decimals"
    if isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value.strip()):
        return f"{shown} but for its comma: add --decimal-comma"
    if listed_values(value):
        return f"{shown} but a list: if it counts votes, name it with --vote-columns; otherwise name another column"
    return f"{shown}; correct it"


def listed_values(value: Any) -> list[Any] | None:
    """A list, or text that writes one ("[0, 3, 5]"); None: it is neither."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return value if isinstance(value, list) else None

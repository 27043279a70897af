"""Which column says what, and what its values mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from artquant.prepare.annotation import Split

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

_PLACE = re.compile(r"\{([^{}]+)\}")  # of a column in an image pattern


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
    optional: frozenset[str] = frozenset()  # columns that may be absent; the score only where there are votes
    suffix: str = ""  # added to the image names
    records: bool = False  # JSON in the form of training records: attributes, categories, votes are nested
    image_pattern: str | None = None  # of names made of several columns: "{session}/{file}"
    clean_names: bool = False  # as in `image_name`
    attribute_columns: Mapping[str, str] = field(default_factory=dict)  # of attributes called otherwise than these
    attribute_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # by attribute; "": all others
    lower_is_better: bool = False  # of scores, deviations stay: the score is low + high - value
    split_values: Mapping[str, Split] = field(default_factory=dict)  # of the split column, beside SPLIT_NAMES
    score_from_id: bool = False  # the score stands at the end of "id", after "->"
    per_rater: bool = False  # a row is one person's rating; those of a picture are put together
    rater: str | None = None  # column that says whose
    decimal_comma: bool = False  # numbers in text are written 3,14

    @property
    def image_columns(self) -> tuple[str, ...]:
        """The columns that the image name is made of."""
        return (self.image,) if self.image_pattern is None else tuple(_PLACE.findall(self.image_pattern))

    def attribute_column(self, attribute: str) -> str:
        """The column of an attribute."""
        return self.attribute_columns.get(attribute, attribute)

    @property
    def names(self) -> tuple[str, ...]:
        """Every column named."""
        single = (self.score, self.std, self.comment, self.split, self.joined_categories, self.rater)
        named = (*self.image_columns, *(name for name in single if name), *map(self.attribute_column, self.attributes))
        return (*named, *self.categories.values(), *self.votes)

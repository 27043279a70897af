"""Which columns of a table say what about its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from artquant.data.fields import RecordError

PATHS = (
    *("image", "path", "image_path", "img_path", "file_path", "filepath", "file_name", "filename", "file"),
    *("image_name", "imagename", "img", "picture"),
)
SCORE = "gt_score"  # "score" is what an output of ours calls the prediction


@dataclass(frozen=True)
class Columns:
    """Names that the user gives; None: those that are usual."""

    path: str | None = None
    id: str | None = None
    gt_score: str | None = None
    picture: str | None = None  # that holds the pictures themselves

    def path_among(self, names: Sequence[str], file: Path) -> str | None:
        """The column of the paths; None: there is none.

        Raises:
            RecordError: the one that is named is not there, or several may be meant.
        """
        if self.path is not None:
            return _there(self.path, names, file, "path")
        known = [name for name in names if name.strip().lower() in PATHS]
        if len(known) > 1:
            # "image" is this package's own; beside it another is the user's.
            known = [name for name in known if name == PATHS[0]] or known
        if len(known) > 1:
            listed = ", ".join(map(repr, known))
            raise RecordError(f"{file}: the columns {listed} may all name the pictures; say which: --columns path=NAME")
        return known[0] if known else None

    def id_among(self, names: Sequence[str], file: Path) -> str | None:
        """The column of the ids; None: there is none."""
        return _there(self.id, names, file, "id") if self.id is not None else "id" if "id" in names else None

    def score_among(self, names: Sequence[str], file: Path) -> str | None:
        """The column of the true scores; None: there is none."""
        if self.gt_score is not None:
            return _there(self.gt_score, names, file, "gt_score")
        return SCORE if SCORE in names else None


def require_once(names: Sequence[str], wanted: Sequence[str], file: Path) -> None:
    """Raise a RecordError where one of the wanted columns is there twice: which is meant cannot be told."""
    for name in wanted:
        if names.count(name) > 1:
            raise RecordError(f"{file}: two columns are called {name!r}; rename one of them")


def _there(name: str, names: Sequence[str], file: Path, what: str) -> str:
    if name not in names:
        listed = ", ".join(map(repr, names))[:300]
        raise RecordError(f"{file}: no column {name!r} (--columns {what}=...); there are {listed}")
    return name

"""One picture of a collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_KEYS = ("id", "path", "file", "offset", "size", "gt_score")


@dataclass(frozen=True)
class Entry:
    """One picture of a collection, and where it lies."""

    id: str  # unique in its collection; from the list, else `path`
    path: str  # as it was given; a member's name in an archive; "FILE#row" in a table without names
    file: str  # that holds it: the picture itself, an archive, a table; as it is opened from the working directory
    offset: int | None = None  # first byte of an archive's member; row of a table; None: the file is the picture
    size: int | None = None  # bytes of an archive's member; None beside an offset: the file is a table
    gt_score: float | None = None
    source: str | None = field(default=None, compare=False)  # "FILE record N" of a list, for messages alone

    def to_dict(self) -> dict[str, Any]:
        """As plain values for a line of JSON; what there is none of, or says the same again, is left out."""
        values = {key: getattr(self, key) for key in _KEYS}
        if self.file == self.path:
            del values["file"]
        if self.path == self.id:
            del values["path"]
        return {key: value for key, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Entry:
        """What :meth:`to_dict` gave."""
        path = values.get("path", values["id"])
        return cls(**{"path": path, "file": path, **values})

    @property
    def name(self) -> str:
        """What messages call the picture."""
        if self.source is not None:
            return f"{self.file} (record {self.source} id {self.id!r})"
        within = self.path if self.offset is None else f"{self.file}: {self.path}"
        told = within.endswith(self.id) or self.id.endswith(self.path)
        return within if told else f"{within} (id {self.id!r})"

"""Which picture is used where, and what of it is a leak or a copy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from artquant.check.findings import Finding
from artquant.check.sources import HELD_OUT, Place


@dataclass
class Use:
    """Where a picture is named."""

    first: Place
    records: int = 0
    by_split: dict[str, Place] = field(default_factory=dict)  # first place in each split


class Uses:
    """The pictures that records name, each once, in the order in which they were first named."""

    def __init__(self) -> None:
        self.of: dict[str, Use] = {}

    def add(self, picture: str, split: str, place: Place) -> None:
        """Count a record that names a picture."""
        use = self.of.get(picture)
        if use is None:
            use = self.of[picture] = Use(place)
        use.records += 1
        use.by_split.setdefault(split, place)

    def about(self, picture: str, kind: str, message: str) -> Finding:
        """A finding about a picture, at the first record that names it."""
        use = self.of[picture]
        more = f" (named by {use.records} records)" if use.records > 1 else ""
        return Finding(kind, f"{message}{more}", *use.first, picture=picture)

    def in_folders(self) -> tuple[list[str], list[Finding]]:
        """The pictures to be opened, and one finding for each folder that is missing or has none of its pictures."""
        groups: dict[Path, list[str]] = {}
        for picture in self.of:
            groups.setdefault(_folder(Path(picture).parent), []).append(picture)
        there, findings = [], []
        for folder, pictures in groups.items():
            missing = not folder.is_dir()
            if missing or (len(pictures) >= _MANY and not any(map(os.path.lexists, pictures))):
                findings.append(self._without(folder, pictures, missing))
            else:
                there += pictures
        order = {picture: place for place, picture in enumerate(self.of)}
        return sorted(there, key=order.__getitem__), findings

    def _without(self, folder: Path, pictures: Sequence[str], missing: bool) -> Finding:
        place, name = self.of[pictures[0]].first, Path(pictures[0])
        what = "no such folder" if missing else f"none of its {len(pictures):,} pictures is in this folder"
        count = (
            f" ({len(pictures):,} pictures, {pictures[0]!r} the first)" if missing else f" ({name.name!r} the first)"
        )
        near = Path(place.file).parent
        candidates = (near, near / "images", near.parent / "images", near.parent)
        found = next((one for one in candidates if one != folder and (one / name.name).is_file()), None)
        where = "name the right one with --images, or as `images` in the configuration"
        hint = "" if found is None else f"; {name.name!r} is in {str(found)!r}: --images {found}"
        return Finding("picture-folder", f"{what}{count}; {where}{hint}", place.file, picture=str(folder))

    def in_both(self) -> Iterator[Finding]:
        """Pictures that are trained on and held out."""
        for picture, use in self.of.items():
            training = use.by_split.get("training")
            for split in HELD_OUT:
                if training is not None and split in use.by_split:
                    message = f"this {split} picture is also trained on ({training}); take it out of one of the two"
                    yield Finding("leak-same-picture", message, *use.by_split[split], picture=picture)

    def copies(self, pictures: Sequence[str], digests: Sequence[bytes], groups: list[list[int]]) -> Iterator[Finding]:
        """Findings for groups of pictures that are copies of each other.

        A held-out picture is compared with training pictures first; it is a copy within its split only if that finds
        nothing.

        Args:
            pictures: Paths.
            digests: Of each file.
            groups: Of indices into both.
        """
        for group in groups:
            members = {split: [index for index in group if self._has(pictures[index], split)] for split in _SPLITS}
            training = members["training"]
            yield from self._within("training", training, pictures, digests)
            for split in HELD_OUT:
                alone = []
                for index in members[split]:
                    if not training:
                        alone.append(index)
                    elif index not in training:  # one that is in both is reported by in_both
                        yield self._leak(split, index, training, pictures, digests)
                yield from self._within(split, alone, pictures, digests)

    def _has(self, picture: str, split: str) -> bool:
        return split in self.of[picture].by_split

    def _leak(
        self, split: str, index: int, training: Sequence[int], pictures: Sequence[str], digests: Sequence[bytes]
    ) -> Finding:
        same = [other for other in training if digests[other] == digests[index]]
        other = (same or training)[0]
        place = self.of[pictures[other]].by_split["training"]
        like = "is the same file as" if same else "shows the same as"
        message = (
            f"this {split} picture {like} {pictures[other]!r}, which is trained on ({place}); take one of them out"
        )
        where = self.of[pictures[index]].by_split[split]
        return Finding("leak-copy" if same else "leak-near-copy", message, *where, picture=pictures[index])

    def _within(
        self, split: str, indices: Sequence[int], pictures: Sequence[str], digests: Sequence[bytes]
    ) -> Iterator[Finding]:
        for number, index in enumerate(indices[1:], start=1):
            same = [other for other in indices[:number] if digests[other] == digests[index]]
            other = (same or indices)[0]
            like = "the same file as" if same else "shows the same as"
            message = f"{like} {pictures[other]!r} ({self.of[pictures[other]].by_split[split]}); keep one of them"
            where = self.of[pictures[index]].by_split[split]
            yield Finding("copy" if same else "near-copy", message, *where, picture=pictures[index])


def _folder(folder: Path) -> Path:
    """The folder; where it is missing, the highest one above it that is."""
    while not folder.is_dir() and not folder.parent.is_dir() and folder.parent != folder:
        folder = folder.parent
    return folder


_MANY = 10  # pictures from which on a folder that has none of them is the wrong one
_SPLITS = ("training", *HELD_OUT)

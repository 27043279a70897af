"""APDDv2 (Jin et al., NeurIPS 2024): train.csv, valid.csv and test.csv, and the master file with the comments.

The master file's scores are on 0-100, the split files' on 0-10, and both say the same attributes; the splits' scores
count, and every disagreement between the two is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from artquant.prepare.annotation import Annotation, Imported, PrepareError, Split, check_unique
from artquant.prepare.columns import Columns
from artquant.prepare.rows import annotations_of
from artquant.prepare.table_form import TableForm
from artquant.prepare.tables import Table, read_table
from artquant.texts.attributes import APDD_ATTRIBUTES

SPLIT_FILES: dict[str, Split] = {"train.csv": "train", "valid.csv": "validation", "test.csv": "test"}
MASTER_FILE = "APDDv2-10023.csv"
MASTER_SCORE = "Total aesthetic score"

COLUMNS = Columns(
    image="filename",
    score="Score",
    attributes=tuple(attribute.name for attribute in APDD_ATTRIBUTES),
    joined_categories="Artistic Categories",
)
MASTER_COLUMNS = replace(COLUMNS, score=MASTER_SCORE, comment="Language Comment")
_ROUNDING = 0.001 + 1e-9  # the splits have three decimals, the master file two on a scale ten times as wide


def read_apdd(files: Sequence[tuple[Path, Split | None]], columns: Columns, form: TableForm | None = None) -> Imported:
    """Read APDDv2's files.

    Args:
        files: With their splits. A folder holds split files and the master file under their published names; a file
            without a split is the master file. With the master file alone no split is said.
        columns: Of the split files.
        form: As in `read_table`.

    Raises:
        ArtQuantError: A file is missing or faulty, is of no known form, or the master file says otherwise than the
            splits.
    """
    masters: list[Table] = []
    splits: list[tuple[Table, Split]] = []
    for path, split in _found(files):
        table = read_table(path, form)
        if MASTER_SCORE in table.columns:
            masters.append(table)
        elif split is None:
            raise PrepareError(
                f"{path}: no column {MASTER_SCORE!r}, so it is not the master file; give a file of one split with "
                "--train, --validation or --test, or the folder that holds them all"
            )
        else:
            splits.append((table, split))
    if len(masters) > 1:
        raise PrepareError(f"{masters[1].path}: a second master file after {masters[0].path}; give one")
    tables = [table for table, _ in splits] + masters
    sources, notes = [table.source for table in tables], [note for table in tables for note in table.notes]
    annotations = [found for table, split in splits for found in annotations_of(table, columns, split)]
    if masters:
        master_split = None if splits else next((split for _, split in files if split), None)
        master = [
            replace(found, score=round(found.score / 10, 6))
            for found in annotations_of(masters[0], MASTER_COLUMNS, master_split)
        ]
        if not splits:
            return Imported(master, sources, notes)
        annotations = _joined(annotations, master, masters[0].path, notes)
    return Imported(annotations, sources, notes)


def _found(files: Sequence[tuple[Path, Split | None]]) -> list[tuple[Path, Split | None]]:
    """The files, those of a folder by their published names."""
    found: list[tuple[Path, Split | None]] = []
    for path, split in files:
        if not path.is_dir():
            found.append((path, split))
            continue
        if split is not None:
            raise PrepareError(f"{path}: is a folder; name the file of the {split} split")
        named = {**SPLIT_FILES, MASTER_FILE: None}
        there = [(path / name, of) for name, of in named.items() if (path / name).exists()]
        if not there:
            raise PrepareError(f"{path}: holds none of {', '.join(named)}; name the folder of APDDv2's CSV files")
        found.extend(there)
    return found


def _joined(annotations: list[Annotation], master: list[Annotation], path: Path, notes: list[str]) -> list[Annotation]:
    """The splits' annotations with the master file's comments; adds to the notes what is in one of the two alone."""
    check_unique(master)
    of_image = {annotation.image: annotation for annotation in master}
    joined, compared = [], 0
    for annotation in annotations:
        other = of_image.get(annotation.image)
        if other is not None:
            _check_agreement(annotation, other)
            compared += 1
        joined.append(annotation if other is None else replace(annotation, comment=other.comment))
    notes.append(f"{path}: scores, attributes and categories of {compared} pictures agree with the split files'")
    if compared < len(annotations):
        notes.append(f"{path}: lacks {len(annotations) - compared} pictures of the split files")
    if compared < len(master):
        notes.append(f"{path}: {len(master) - compared} of its pictures are in no split file and left out")
    return joined


def _check_agreement(annotation: Annotation, other: Annotation) -> None:
    scores = {"Score": annotation.score, **annotation.attributes}
    others = {"Score": other.score, **other.attributes}
    for name in {**scores, **others}:
        one, two = scores.get(name), others.get(name)
        if one is None or two is None or abs(one - two) > _ROUNDING:
            raise PrepareError(
                f"{annotation.source} ({annotation.image}): {name!r} is {_shown(one)}, but {_shown(two)} in "
                f"{other.source}; give files of one edition, or leave one out"
            )
    if annotation.categories != other.categories:
        raise PrepareError(
            f"{annotation.source} ({annotation.image}): {'*'.join(annotation.categories.values())!r}, but "
            f"{'*'.join(other.categories.values())!r} in {other.source}; give files of one edition, or leave one out"
        )


def _shown(value: float | None) -> str:
    return "empty" if value is None else f"{value:g}"

"""APDDv2 (Jin et al., NeurIPS 2024): train.csv, valid.csv and test.csv, and the master file with the comments.

Its first version, APDD, is one file of the splits' form.

The master file's scores are on 0-100, the split files' on 0-10, and both say the same attributes; the splits' scores
count, and every disagreement between the two is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from artquant.prepare.annotation import Annotation, Imported, PrepareError, Split, check_unique
from artquant.prepare.columns import Columns
from artquant.prepare.published_splits import found_in, require_none_beside, require_split_columns
from artquant.prepare.rows import annotations_of, require_decimal_commas
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


def read_apdd(
    files: Sequence[tuple[Path, Split | None]],
    columns: Columns,
    form: TableForm | None = None,
    ignore_split: bool = False,
) -> Imported:
    """Read APDDv2's files.

    Args:
        files: With their splits. A folder holds split files and the master file under their published names, itself or
            in a folder (as the repository does), or one CSV. Master file and first version alone say no split.
        columns: Of the split files.
        form: As in `read_table`.
        ignore_split: Of a folder, the master file alone is read, else the split files as if they said no split.

    Raises:
        ArtQuantError: A file is missing or faulty, is of no known form, or the master file says otherwise than the
            splits.
    """
    masters: list[Table] = []
    splits: list[tuple[Table, Split | None]] = []
    for path, split in _found(files, ignore_split):
        table = read_table(path, form)
        if not ignore_split:
            require_split_columns(table, columns, split)
        if MASTER_SCORE in table.columns:
            masters.append(table)
        else:
            splits.append((table, split))
    if masters and any(split is None for _, split in splits):
        raise PrepareError(
            f"{next(table.path for table, split in splits if split is None)}: no column {MASTER_SCORE!r}, so it is not "
            "the master file; give a file of one split with --train, --validation or --test, or the folder"
        )
    if len(masters) > 1:
        raise PrepareError(f"{masters[1].path}: a second master file after {masters[0].path}; give one")
    tables = [table for table, _ in splits] + masters
    require_decimal_commas(tables, columns)
    sources, notes = [table.source for table in tables], [note for table in tables for note in table.notes]
    annotations = [found for table, split in splits for found in annotations_of(table, columns, split)]
    if masters and not splits and not ignore_split:
        require_none_beside(masters[0].path, SPLIT_FILES)
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


def _found(files: Sequence[tuple[Path, Split | None]], ignore_split: bool) -> list[tuple[Path, Split | None]]:
    """The files, those of a folder by their published names; where it has none of them, its one CSV."""
    found: list[tuple[Path, Split | None]] = []
    for path, split in files:
        if not path.is_dir():
            found.append((path, split))
            continue
        if split is not None:
            raise PrepareError(f"{path}: is a folder; name the file of the {split} split")
        found.extend(_in_folder(path, ignore_split))
    return found


def _in_folder(folder: Path, ignore_split: bool) -> list[tuple[Path, Split | None]]:
    named: dict[str, Split | None] = {**SPLIT_FILES, MASTER_FILE: None}
    there = {name: found_in(folder, name) for name in named}
    twice = next((paths for paths in there.values() if len(paths) > 1), None)
    if twice is not None:
        raise PrepareError(f"{twice[0]}: is also {twice[1]}; name the folder of one of them, or the files")
    found = [(path, named[name]) for name, paths in there.items() for path in paths]
    if not found:
        tables = [*sorted(folder.glob("*.csv")), *sorted(folder.glob("*/*.csv"))]
        if len(tables) != 1:
            raise PrepareError(f"{folder}: holds none of {', '.join(named)}; name the folder of APDDv2's CSV files")
        found = [(tables[0], None)]
    if ignore_split:
        found = [(path, None) for path, _ in found if path.name == MASTER_FILE or not there[MASTER_FILE]]
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

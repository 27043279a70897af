"""Files of mean scores: one row per image, as CSV (APDDv2, BAID) or as a JSON list of records."""

import codecs
import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from artquant.errors import ArtQuantError
from artquant.jsonio import read_json


@dataclass(frozen=True)
class ScoreRow:
    """One image's mean score."""

    number: int  # of the record in its file, counted from 1
    image: str
    score: float
    fields: dict = field(default_factory=dict)  # all fields of a JSON record


def read_score_rows(source: Path, low: float, high: float) -> list[ScoreRow]:
    """Read mean scores between low and high.

    Args:
        source: CSV with one column image or filename and one column score or Score (UTF-8, or Latin-1 as APDDv2's own
            files), or a JSON list of records with image and gt_score. Text that begins with a bracket is JSON.
        low, high: ends of the rating scale, both allowed.

    Raises:
        ArtQuantError: unreadable file, no rows, a missing column or field, or a score that is no number on the scale;
            names file and record number.
    """
    source = Path(source)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ArtQuantError(f"{source}: cannot be read ({error.strerror}): check the path") from error
    is_json = content.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"[", b"{")
    rows = _json_rows(source) if is_json else _csv_rows(source, content)
    if not rows:
        raise ArtQuantError(f"{source}: no records in it: give a file with at least one score")
    for row in rows:
        if not low <= row.score <= high:
            raise ArtQuantError(
                f"{source}, record {row.number}: score {row.score} is not between {low:g} and {high:g}: correct it"
            )
    return rows


def _csv_rows(source: Path, content: bytes) -> list[ScoreRow]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = reader.fieldnames or ()
        lines = list(reader)
    except csv.Error as error:
        raise ArtQuantError(f"{source}: not valid CSV ({error}): correct the file") from error
    image_columns = [name for name in columns if name in ("image", "filename")]
    score_columns = [name for name in columns if name in ("score", "Score")]
    if len(image_columns) != 1 or len(score_columns) != 1:
        raise ArtQuantError(f"{source}: needs one column image or filename and one column score or Score")
    rows = []
    for number, line in enumerate(lines, start=1):
        image, raw = line[image_columns[0]], line[score_columns[0]]
        try:
            score = float(raw)
        except (TypeError, ValueError):
            raise ArtQuantError(f"{source}, record {number}: score {raw!r} is not a number: correct it") from None
        rows.append(ScoreRow(number, _image_name(source, number, image), score))
    return rows


def _json_rows(source: Path) -> list[ScoreRow]:
    records = read_json(source)
    if not isinstance(records, list):
        raise ArtQuantError(f"{source}: must be a JSON list of records with image and gt_score")
    rows = []
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict) or record.get("task_type", "score") != "score":
            raise ArtQuantError(f"{source}, record {number}: not a score record: remove it or give another file")
        score = record.get("gt_score")
        if isinstance(score, bool) or not isinstance(score, int | float):
            raise ArtQuantError(f"{source}, record {number}: gt_score {score!r} is not a number: correct it")
        rows.append(ScoreRow(number, _image_name(source, number, record.get("image")), score, record))
    return rows


def _image_name(source: Path, number: int, image: object) -> str:
    if not isinstance(image, str) or not image.strip():
        raise ArtQuantError(f"{source}, record {number}: image {image!r} is not a file name: correct it")
    return image

"""Annotation files as tables: CSV, JSON lists, JSON lines, and AVA's columns between blanks."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant.errors import visible
from artquant.files.json_stream import json_values
from artquant.files.opened import looks_like, read_whole
from artquant.prepare.annotation import PrepareError, Source

_MOST = 1 << 31  # bytes of an annotation file, which is read whole
_NO_CHARSETS = ("punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined")  # of other uses than files
AVA_COUNTS = tuple(str(value) for value in range(1, 11))  # names given to AVA's ten columns of counts


@dataclass(frozen=True)
class Table:
    """The records of a file in their order. Of CSV every value is text; of JSON, what the file says."""

    path: Path
    columns: tuple[str, ...]  # of JSON: every key that some record has
    rows: list[dict[str, Any]]
    is_json: bool
    source: Source
    notes: tuple[str, ...] = ()

    def where(self, number: int) -> str:
        """The name of a record, counted from 1."""
        return f"{self.path} record {number}"


def read_table(path: Path | str, encoding: str | None = None, between_blanks: bool = False) -> Table:
    """Read a table: text that begins with [ is a JSON list, with { JSON lines, anything else CSV with a header.

    Args:
        path: The file.
        encoding: Of the text. None: UTF-8 (with or without byte-order mark); CSV that is not UTF-8 is read as Latin-1,
            which a note says. JSON is UTF-8.
        between_blanks: Text without a comma in its first line is AVA's form: no header, index, image id, ten counts
            and any number of tags, separated by blanks.

    Raises:
        ArtQuantError: The file cannot be read, is no text, is damaged, or holds no records; names file and record.
    """
    path = Path(path)
    data = _read(path)
    text, used, notes = _decode(path, data, encoding)
    is_json = text.lstrip("\ufeff \t\r\n")[:1] in ("[", "{")
    if is_json and notes:
        raise PrepareError(f"{path}: is JSON, but not UTF-8; save it as UTF-8 or name its encoding with --encoding")
    if is_json:
        columns, rows = _json_rows(path, text)
    elif between_blanks and "," not in text.lstrip().split("\n", 1)[0]:
        columns, rows = _ava_rows(path, text)
    else:
        columns, rows = _csv_rows(path, text)
    if not rows:
        raise PrepareError(f"{path}: holds no records; check that this is the right file")
    source = Source(visible(path), hashlib.sha256(data).hexdigest(), used, len(rows))
    return Table(path, columns, rows, is_json, source, notes)


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise PrepareError(f"{path}: is a folder; name the file")
    data = read_whole(path, _MOST)
    if not data.strip():
        raise PrepareError(f"{path}: the file is empty; check that it is complete")
    return data


def _decode(path: Path, data: bytes, encoding: str | None) -> tuple[str, str, tuple[str, ...]]:
    """Text, the encoding used, and what the user ought to know about it."""
    used = encoding or "utf-8"
    notes: tuple[str, ...] = ()
    try:
        if encoding is not None and codecs.lookup(encoding).name in _NO_CHARSETS:
            raise LookupError
        text = data.decode(encoding or "utf-8-sig")
    except LookupError:
        raise PrepareError(f"encoding {encoding!r} is unknown; name one that Python knows, such as latin-1") from None
    except UnicodeError as error:  # some encodings say no more than that
        line = data.count(b"\n", 0, error.start) + 1 if isinstance(error, UnicodeDecodeError) else 1
        if encoding is not None:
            raise PrepareError(f"{path} line {line}: not {encoding} text; name another encoding") from None
        text, used = data.decode("latin-1"), "latin-1"
        notes = (f"{path}: not UTF-8 (first on line {line}), read as Latin-1; --encoding names another",)
    what = looks_like(data[:64])
    if "\0" in text or what:
        why = f"it is {what}" if what else "it holds zero bytes"
        raise PrepareError(f"{path}: is no text table ({why}); save it as CSV or JSON, encoded in UTF-8")
    return text, used, notes


def _csv_rows(path: Path, text: str) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0  # the header
    rows: list[dict[str, Any]] = []
    try:
        header = next(line for line in reader if line)
        _check_header(path, header)
        for line in reader:
            if not line:
                continue
            number += 1
            if len(line) != len(header):
                raise PrepareError(
                    f"{path} record {number}: {len(line)} columns where the header has {len(header)}; correct the row"
                )
            rows.append(dict(zip(header, line, strict=True)))
    except csv.Error as error:
        raise PrepareError(f"{path} record {number + 1}: not valid CSV ({error}); correct the file") from None
    return tuple(header), rows


def _check_header(path: Path, header: list[str]) -> None:
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise PrepareError(f"{path}: two columns are called {twice!r}; rename one")


def _ava_rows(path: Path, text: str) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    lines = [line for line in text.splitlines() if line.strip()]
    tags = len(lines[0].split()) - 2 - len(AVA_COUNTS)
    columns = ("index", "image_id", *AVA_COUNTS, *(f"tag_{number}" for number in range(1, tags + 1)))
    rows = []
    for number, line in enumerate(lines, start=1):
        values = line.split()
        if len(values) != len(columns):
            raise PrepareError(
                f"{path} record {number}: {len(values)} columns between blanks instead of {len(columns)} (index, image "
                "id, ten counts, tags); correct the row"
            )
        rows.append(dict(zip(columns, values, strict=True)))
    return columns, rows


def _json_rows(path: Path, text: str) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    columns: dict[str, None] = {}
    rows: list[dict[str, Any]] = []
    for number, (_, _, item) in enumerate(json_values(io.BytesIO(text.encode("utf-8")), path), start=1):
        if not isinstance(item, dict):
            raise PrepareError(f"{path} record {number}: is no object; give records with an image and a score each")
        columns.update(dict.fromkeys(item))
        rows.append(item)
    return tuple(columns), rows

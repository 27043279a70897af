"""Annotation files as tables: text with columns, JSON lists, JSON lines, parquet, workbooks; also compressed."""

from __future__ import annotations

import codecs
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from artquant.errors import visible
from artquant.files.file_kinds import BARE_UTF_16, BINARY, PARQUET, START, UTF_16, ZIP, binary_kind
from artquant.files.json_forms import form_of_columns, form_of_object
from artquant.files.json_stream import json_values
from artquant.files.opened import read_whole
from artquant.prepare.annotation import PrepareError, Source
from artquant.prepare.binary_tables import parquet, refuse_archive, unpacked, workbook
from artquant.prepare.delimited import Rows, ava, delimited, is_ava, text_hint
from artquant.prepare.table_form import TableForm

_MOST = 1 << 31  # bytes of an annotation file, which is held while it is read; its records are not
_NO_CHARSETS = ("punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined")  # of other uses than files
_ONE_LINE = 300  # characters of a text that is shown where it is no table


@dataclass(frozen=True)
class Table:
    """A file whose records are read in their order, each time anew, so that only the file is held.

    Of text with columns and of workbooks every value is text; of JSON and parquet, what the file says.
    """

    path: Path
    columns: tuple[str, ...]  # of JSON: every key that some record has
    read: Rows
    is_typed: bool  # of JSON or parquet
    source: Source
    notes: tuple[str, ...] = ()
    hint: str = ""  # what the file seems to be, if columns are not found in it

    @property
    def rows(self) -> Iterator[dict[str, Any]]:
        """The records."""
        return self.read()

    def where(self, number: int) -> str:
        """The name of a record, counted from 1."""
        return f"{self.path} record {number}"


def read_table(path: Path | str, form: TableForm | None = None, between_blanks: bool = False) -> Table:
    """Look a file through: text that begins with [ is a JSON list, with { JSON lines, any other text has columns.

    Args:
        path: The file; one compressed by gzip, bzip2 or xz is unpacked. Parquet takes pyarrow, a workbook openpyxl.
        form: What the user says of it. Text is UTF-8 (with or without byte-order mark) or, with its mark, UTF-16;
            text with columns that is neither is read as Latin-1, which a note says.
        between_blanks: Text without a comma in its first line is AVA's form: no header, index, image id, ten counts
            and any number of tags, separated by blanks.

    Raises:
        ArtQuantError: The file cannot be read, is something else (with what it is and what to do), is damaged, or
            holds no records; names file and record.
    """
    path, form = Path(path), form or TableForm()
    packed = _read(path)
    data = unpacked(path, packed, _MOST)
    notes: tuple[str, ...] = ()
    hint, is_typed, used, count = "", False, "binary", None
    if data.startswith(PARQUET):
        is_typed = True
        columns, read = parquet(path, data, _MOST)
    elif data.startswith(ZIP):
        refuse_archive(path, data, _MOST)
        columns, read = workbook(path, data, form)
    else:
        used, first, notes = _encoding(path, data, form.encoding)
        is_typed = first in ("[", "{")
        if is_typed and notes:
            raise PrepareError(f"{path}: is JSON, but not UTF-8; save it as UTF-8 or name its encoding with --encoding")
        if is_typed:
            columns, read, hint, count = _json(path, data, used)
        else:
            columns, read, hint = _text(path, data, used, form, between_blanks)
    _refuse_idle(path, form, is_typed, used == "binary" and not is_typed)
    count = sum(1 for _ in read()) if count is None else count
    if not count:
        said = f" but the line {', '.join(columns)[:_ONE_LINE]!r}" if columns else ""
        raise PrepareError(f"{path}: holds no records{said}; {hint or 'check that this is the right file'}")
    source = Source(visible(path), hashlib.sha256(packed).hexdigest(), used, count)
    return Table(path, columns, read, is_typed, source, notes, hint.replace("FILE", str(path)))


def _refuse_idle(path: Path, form: TableForm, is_typed: bool, is_workbook: bool) -> None:
    for is_idle, option, what in (
        (form.delimiter is not None and (is_typed or is_workbook), "--delimiter", "text with columns"),
        (not form.header and is_typed, "--no-header", "text with columns"),
        (form.sheet is not None and not is_workbook, "--sheet", "workbook"),
    ):
        if is_idle:
            raise PrepareError(f"{path}: is no {what}; leave out {option}")


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise PrepareError(f"{path}: is a folder; name the file")
    data = read_whole(path, _MOST)
    if not data.strip():
        raise PrepareError(f"{path}: the file is empty; check that it is complete")
    return data


def _encoding(path: Path, data: bytes, named: str | None) -> tuple[str, str, tuple[str, ...]]:
    """The encoding, the first character, and what the user ought to know about it."""
    has_mark = data.startswith(UTF_16)
    used = named or ("utf-16" if has_mark else "utf-8")
    kind = None if has_mark else binary_kind(data[:START])
    if kind is not None and (named is None or kind not in (BINARY, BARE_UTF_16)):
        raise PrepareError(f"{path}: is no text table: it is {kind.name}; {kind.advice.replace('FILE', str(path))}")
    notes: tuple[str, ...] = ()
    try:
        if named is not None and codecs.lookup(named).name in _NO_CHARSETS:
            raise LookupError
        text = data.decode(used)
    except LookupError:
        raise PrepareError(f"encoding {named!r} is unknown; name one that Python knows, such as latin-1") from None
    except UnicodeError as error:  # some encodings say no more than that
        line = data.count(b"\n", 0, error.start) + 1 if isinstance(error, UnicodeDecodeError) else 1
        if named is not None or has_mark:
            raise PrepareError(f"{path} line {line}: not {used} text; name another encoding with --encoding") from None
        text, used = data.decode("latin-1"), "latin-1"
        notes = (f"{path}: not UTF-8 (first on line {line}), read as Latin-1; --encoding names another",)
    if "\0" in text:
        raise PrepareError(f"{path}: is no text table (it holds zero bytes); save it as CSV or JSON, encoded in UTF-8")
    return used, text.lstrip("\ufeff \t\r\n")[:1], notes


def _text(
    path: Path, data: bytes, encoding: str, form: TableForm, between_blanks: bool
) -> tuple[tuple[str, ...], Rows, str]:
    start = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0

    def text() -> TextIO:
        stream = io.BytesIO(data)
        stream.seek(start)
        return io.TextIOWrapper(stream, encoding, newline="")

    if between_blanks and form.delimiter is None and form.header and is_ava(text()):
        return *ava(path, text), ""
    columns, read = delimited(path, text, form)
    return columns, read, text_hint(text, form)


def _json(path: Path, data: bytes, encoding: str) -> tuple[tuple[str, ...], Rows, str, int]:
    """Every key that some record has, in order of appearance; the records; what is said of a single one; how many."""
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
        data = data.decode(encoding).encode("utf-8")

    def rows() -> Iterator[dict[str, Any]]:
        for number, (_, _, item) in enumerate(json_values(io.BytesIO(data), path), start=1):
            if not isinstance(item, dict):
                raise PrepareError(f"{path} record {number}: is no object; give records with an image and a score each")
            yield item

    columns: dict[str, None] = {}
    count, hint, of_columns = 0, "", ""
    for item in rows():
        hint = "" if count else form_of_object(item, path)
        of_columns = "" if count else form_of_columns(item, path)
        count += 1
        columns.update(dict.fromkeys(item))
    if of_columns:
        raise PrepareError(f"{path}: holds {of_columns}")
    return tuple(columns), rows, hint and f"it is {hint}", count

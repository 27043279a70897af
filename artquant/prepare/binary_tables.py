"""Tables that are no text: compressed, parquet, workbooks. The libraries that read the latter two are optional."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from artquant.errors import one_line
from artquant.files.file_kinds import BZIP2, GZIP, XZ
from artquant.listing.parquet_files import EXTRA
from artquant.prepare.annotation import PrepareError
from artquant.prepare.delimited import Rows, distinct
from artquant.prepare.table_form import TableForm

_BLOCK = 1 << 20  # bytes that are unpacked at a time
_BATCH = 1024  # rows of a parquet table that are made into objects together
_OPENERS: dict[bytes, Callable[[io.BytesIO], Any]] = {GZIP: gzip.open, BZIP2: bz2.open, XZ: lzma.open}


def unpacked(path: Path, data: bytes, most: int) -> bytes:
    """What a file holds that is compressed by gzip, bzip2 or xz; any other as it is.

    Raises:
        PrepareError: It is damaged, or holds more than so many bytes.
    """
    opener = next((opener for signature, opener in _OPENERS.items() if data.startswith(signature)), None)
    if opener is None:
        return data
    try:
        held, stream = io.BytesIO(), opener(io.BytesIO(data))
        while held.tell() <= most and (block := stream.read(_BLOCK)):
            held.write(block)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise PrepareError(
            f"{path}: compressed, and damaged or cut off ({one_line(error)}); download it again"
        ) from None
    _require_bounded(path, held.tell(), most)
    return held.getvalue()


def _require_bounded(path: Path, size: int, most: int) -> None:
    if size > most:
        raise PrepareError(f"{path}: unpacks to more than {most >> 20} MiB; check that it is the right file")


def refuse_archive(path: Path, data: bytes, most: int) -> None:
    """Say what is in a ZIP archive that is no workbook; a workbook is passed over.

    Raises:
        PrepareError: It is such an archive, a damaged one, or a workbook that unpacks to more than so many bytes.
    """
    try:
        parts = {part.filename: part.file_size for part in zipfile.ZipFile(io.BytesIO(data)).infolist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        what = f"a ZIP archive (or .xlsx), damaged or cut off ({one_line(error)}); download it again"
        raise PrepareError(f"{path}: is {what}") from None
    names = list(parts)
    if "xl/workbook.xml" in names:
        _require_bounded(path, sum(parts.values()), most)
        return
    document = next((name for name in names if name in ("xl/workbook.bin", "content.xml", "word/document.xml")), None)
    if document:
        what = "a document of an office program; save its table as .xlsx or CSV"
    elif any(name.endswith("data.pkl") for name in names):
        what = "a checkpoint of PyTorch, not scores; name the file that holds the scores"
    elif names and all(name.endswith(".npy") for name in names):
        what = "arrays of NumPy; save names and scores together as CSV"
    else:
        listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        what = f"a ZIP archive of {listed or 'nothing'}; unpack it (unzip {path}) and name the file in it"
    raise PrepareError(f"{path}: is {what}")


def parquet(path: Path, data: bytes, most: int) -> tuple[tuple[str, ...], Rows]:
    """Columns and records of a parquet table; a number that is none is missing.

    Raises:
        PrepareError: pyarrow is not installed, the file is damaged, or it unpacks to more than so many bytes.
    """
    try:
        import pyarrow
        from pyarrow import parquet as reader
    except ImportError:
        raise PrepareError(f"{path}: is a parquet table, which takes pyarrow to read: {EXTRA}") from None
    try:
        table = reader.ParquetFile(pyarrow.BufferReader(data))
        columns = tuple(table.schema_arrow.names)
        groups = [table.metadata.row_group(number) for number in range(table.metadata.num_row_groups)]
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise PrepareError(f"{path}: is a damaged parquet table ({one_line(error)}); download it again") from None
    _require_bounded(path, sum(group.total_byte_size for group in groups), most)

    def rows() -> Iterator[dict[str, Any]]:
        try:
            for batch in reader.ParquetFile(pyarrow.BufferReader(data)).iter_batches(_BATCH):
                for row in batch.to_pylist():
                    yield {name: None if _is_none(value) else value for name, value in row.items()}
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise PrepareError(f"{path}: is a damaged parquet table ({one_line(error)}); download it again") from None

    return columns, rows


def _is_none(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def workbook(path: Path, data: bytes, form: TableForm) -> tuple[tuple[str, ...], Rows]:
    """Columns and records of a sheet of an Excel workbook, every value as text; columns without a name are left out.

    Raises:
        PrepareError: openpyxl is not installed, the file is damaged, or it does not say which sheet is meant.
    """
    try:
        import openpyxl
    except ImportError:
        raise PrepareError(
            f"{path}: is an Excel workbook (.xlsx), which takes openpyxl to read: {EXTRA}; or save its sheet as CSV"
        ) from None
    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except Exception as error:  # whatever its parts are broken in
        raise PrepareError(f"{path}: is a damaged workbook ({one_line(error)}); download it again") from None
    sheet = _sheet(path, book.worksheets, form.sheet)

    def lines() -> Iterator[list[str]]:
        try:
            for row in sheet.iter_rows(values_only=True):
                texts = [_cell(value) for value in row]
                if any(texts):
                    yield texts
        except Exception as error:
            raise PrepareError(f"{path}: is a damaged workbook ({one_line(error)}); download it again") from None

    first = next(lines(), [])
    names = distinct(first) if form.header else tuple(str(place) for place in range(1, len(first) + 1))
    places = [place for place, name in enumerate(first) if name or not form.header]

    def rows() -> Iterator[dict[str, Any]]:
        for number, line in enumerate(lines()):
            if number or not form.header:
                yield {names[place]: line[place] if place < len(line) else "" for place in places}

    return tuple(names[place] for place in places), rows


def _sheet(path: Path, sheets: list[Any], name: str | None) -> Any:
    """The sheet that is named, or the only one that is not hidden."""
    visible = [sheet for sheet in sheets if sheet.sheet_state == "visible"]
    found = visible if name is None else [sheet for sheet in sheets if sheet.title == name]
    if len(found) != 1:
        titles = ", ".join(repr(sheet.title) for sheet in visible)
        raise PrepareError(f"{path}: is a workbook of the sheets {titles}; name one of them with --sheet")
    return found[0]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()

"""Results as tables, CSV or parquet: a row for each picture, written whole."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from artquant.errors import ArtQuantError, visible
from artquant.files.json_files import whole_file
from artquant.listing.parquet_files import EXTRA
from artquant.listing.where import Where

FIRST = ("id", "path", "score", "std")  # columns of every table; the error is the last
ERROR = "error"
LINES = ".jsonl"  # the ending of the form that is a line for each picture, not a table
_ROWS = 10_000  # of parquet, that are held
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take a text for that begins so, after blanks too


def flat(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of predictions as a row: attributes as "attribute:NAME" (their scores), other objects as "KEY:NAME"."""
    row: dict[str, Any] = {}
    for key, value in line.items():
        if key == "attributes":
            row.update({f"attribute:{name}": one["score"] for name, one in value.items()})
        elif isinstance(value, dict):
            row.update({f"{key}:{name}": one for name, one in value.items()})
        else:
            row["path" if key == "image" else key] = value
    return row


def columns_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, type]:
    """Names and types (float or str) of all columns that some row has, the usual first, the error last."""
    kinds: dict[str, type] = {"id": str, "path": str, "score": float, "std": float}
    for row in rows:
        for name, value in row.items():
            if value is not None and name not in kinds:
                kinds[name] = float if isinstance(value, (int, float)) and not isinstance(value, bool) else str
    kinds.pop(ERROR, None)
    return kinds | {ERROR: str}


def write_table(
    out: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, type], origin: Mapping[str, Any]
) -> int:
    """Write rows whole, as the name's ending says: .csv, .parquet, or .txt (the ids, a line each).

    In CSV a text that spreadsheets would take for a formula gets a ' before it.

    Args:
        rows: each with some of the columns. columns: names and types, as `columns_of` gives them.
        origin: what the results were made with; it stands in a parquet file's metadata, under "artquant".

    Returns:
        How many rows there are.

    Raises:
        ArtQuantError: it cannot be written, or pyarrow is not installed.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet, ".txt": _write_ids}
    with whole_file(out) as part:
        return writers[out.suffix.lower()](part, rows, columns, origin)


def chosen(rows: Iterable[Mapping[str, Any]], where: Where) -> Iterator[dict[str, Any]]:
    """The ids alone of the rows that meet a condition."""
    return ({"id": row["id"]} for row in rows if where.holds(row))


def _write_ids(part: Path, rows: Iterable[Mapping[str, Any]], _: Mapping[str, type], __: Mapping[str, Any]) -> int:
    count = 0
    with part.open("w", encoding="utf-8", newline="\n") as stream:
        for row in rows:
            count += 1
            stream.write(f"{visible(row['id'])}\n")
    return count


def _write_csv(part: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, type], _: Mapping[str, Any]) -> int:
    count = 0
    with part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([harmless(name) for name in columns])
        for row in rows:
            count += 1
            writer.writerow([harmless(_cell(row.get(name), kind)) for name, kind in columns.items()])
    return count


def harmless(value: Any) -> Any:
    """A cell of CSV; a text that spreadsheets would take for a formula gets a ' before it."""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) else value


def unmarked(text: str) -> str:
    """A text without the ' that `harmless` has put before it."""
    return text[1:] if text.startswith("'") and harmless(text[1:]) == text else text


def _cell(value: Any, kind: type) -> Any:
    """A value as its column holds it; what is neither number nor text, as JSON."""
    if value is None or (kind is float and isinstance(value, (int, float))):
        return value if value is None else float(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def require_parquet() -> None:
    """Raise an ArtQuantError where parquet cannot be written."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ArtQuantError(f"parquet takes pyarrow to write: {EXTRA}; or name the output .csv") from None


def _write_parquet(
    part: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, type], origin: Mapping[str, Any]
) -> int:
    require_parquet()
    import pyarrow
    from pyarrow import parquet

    kinds = {float: pyarrow.float64(), str: pyarrow.string()}
    said = {"artquant": json.dumps(origin, ensure_ascii=False)}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()], metadata=said)
    count, left = 0, iter(rows)
    with parquet.ParquetWriter(part, schema) as writer:
        while batch := list(islice(left, _ROWS)):
            count += len(batch)
            held = {name: [_cell(row.get(name), kind) for row in batch] for name, kind in columns.items()}
            writer.write_table(pyarrow.table(held, schema=schema))
    return count


def names_of(columns: Mapping[str, type], where: Where | None) -> Mapping[str, type]:
    """The columns that are written: with a condition the ids alone."""
    return columns if where is None else {"id": str}


def require_form(out: Path, where: Where | None = None) -> None:
    """Raise an ArtQuantError where an output's ending is unknown, or its library is not there."""
    known = endings(where)
    if out.suffix.lower() not in known:
        ids = " for --where" if where is not None else "; ids alone (.txt) are written with --where"
        raise ArtQuantError(f"--out {out}: the name's ending says the form; end it in one of {' '.join(known)}{ids}")
    if out.suffix.lower() == ".parquet":
        require_parquet()


def endings(where: Where | None) -> Sequence[str]:
    """Of the names of outputs."""
    return (".csv", ".parquet", ".jsonl") if where is None else (".txt", ".csv", ".parquet")

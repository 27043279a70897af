"""All results of a run as one table, in the order of its list, and the proof that none is missing or twice."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from artquant.data.predictions import origin_file
from artquant.errors import ArtQuantError, visible
from artquant.files.json_files import read_json, whole_file, write_json
from artquant.files.only_writer import only_writer
from artquant.files.progress_bar import progress_bar
from artquant.listing.result_tables import LINES, chosen, columns_of, flat, names_of, require_form, write_table
from artquant.listing.where import Where
from artquant.shards.manifest import Run
from artquant.shards.results import ending_of, read_result


def write_merged(run: Run, out: Path, where: Where | None = None, progress: bool = False) -> int:
    """Write all results of a run into one table, as its name's ending says; how many rows.

    Args:
        where: write the ids alone of pictures of which it holds.

    Raises:
        ArtQuantError: as `merged_rows`; the file is there already, another process is writing it, it cannot be written,
            or a column of the condition is none. Nothing is left then.
    """
    require_form(out, where)
    _require_finished(run)
    with only_writer(out):
        if os.path.lexists(out):
            raise ArtQuantError(f"{out}: is there already; name another file or delete it")
        require_own(origin_file(out))
        columns = _columns(run)
        if where is not None:
            where.require_columns([name for name, kind in columns.items() if kind is float])
        origin = merged_origin(run.manifest.origin, run.manifest.fingerprint, run.manifest.whole, where)
        write_json(origin_file(out), origin)  # first: a table that is there is known as ours whenever this is killed
        with ExitStack() as undo:
            undo.callback(origin_file(out).unlink, missing_ok=True)
            bar = progress_bar("merging", "image", progress, run.manifest.pictures, of=merged_rows(run))
            rows = undo.enter_context(bar)
            if out.suffix.lower() == LINES:
                count = _write_lines(out, (line for line, _ in rows))
            else:
                found: Iterable[dict[str, Any]] = (flat(row) for _, row in rows)
                found = found if where is None else chosen(found, where)
                count = write_table(out, found, names_of(columns, where), origin)
            undo.pop_all()
    return count


def merged_origin(origin: dict[str, Any], fingerprint: str, whole: str, where: Where | None) -> dict[str, Any]:
    """What is noted beside a merged table; the arguments as in `Manifest`."""
    chosen = {} if where is None else {"where": where.text}
    return origin | {"fingerprint": fingerprint, "list": whole} | chosen


def require_own(file: Path) -> None:
    """Raise an ArtQuantError where a file is there that no merge has written."""
    found = read_json(file) if os.path.lexists(file) else {"fingerprint": None}
    if not (isinstance(found, dict) and "fingerprint" in found):
        raise ArtQuantError(f"{file}: is there, and not of a merge; name another output or move it away")


def _columns(run: Run) -> dict[str, type]:
    """Of all shards, the usual first, the error last."""
    found = columns_of(())
    last = found.popitem()
    for number in range(len(run)):
        ending = ending_of(run, number)
        if ending is not None:
            found |= {name: {"float": float, "str": str}[kind] for name, kind in ending.columns.items()}
    found.pop(last[0], None)
    return found | dict([last])


def _write_lines(out: Path, lines: Iterable[str]) -> int:
    count = 0
    with whole_file(out) as part, part.open("w", encoding="utf-8", newline="\n") as stream:
        for line in lines:
            count += 1
            stream.write(line + "\n")
    return count


def merged_rows(run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    """The row of every picture, as it was written and as values, in the order of the list.

    Ends without an error only if each picture of the list is there exactly once.

    Raises:
        ArtQuantError: a shard has no result yet, or one that was changed or is of another model or list.
    """
    for number in range(len(run)):
        result = read_result(run, number)
        if result is None:
            raise _unfinished(run, 1)
        rows = [json.loads(line) for line in result]
        if [row["id"] for row in rows] != [visible(id) for id in run.ids(number)]:
            raise ArtQuantError(
                f"{run.result_file(number)}: its pictures are not those of the shard's list; delete it, then artquant "
                "shard run makes it anew"
            )
        yield from zip(result, rows, strict=True)


def _require_finished(run: Run) -> None:
    """Said before hours of merging."""
    missing = sum(not run.result_file(number).exists() for number in range(len(run)))
    if missing:
        raise _unfinished(run, missing)


def _unfinished(run: Run, missing: int) -> ArtQuantError:
    finish = f"finish first: artquant shard run {run.folder}"
    return ArtQuantError(f"{run.folder}: {missing} of {len(run)} shards have no result yet; {finish}")

"""An output in the form that its name's ending says, made of the lines that a run has written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from artquant.data.predictions import origin_file, part_file
from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json, read_json_lines
from artquant.files.only_writer import only_writer
from artquant.listing.entry import Entry
from artquant.listing.result_tables import LINES, chosen, columns_of, flat, names_of, require_form, write_table
from artquant.listing.where import Where


def lines_file(out: Path, where: Where | None = None) -> Path:
    """The JSON lines that a run writes and goes on with: the output itself, or beside it `OUT.part.jsonl`.

    Raises:
        ArtQuantError: the output's ending is unknown, its library is not there, or another's file has its name.
    """
    require_form(out, where)
    if out.suffix.lower() == LINES:
        return out
    lines = part_file(out)
    if os.path.lexists(out) and not origin_file(lines).is_file():
        raise ArtQuantError(f"{out}: is there already and was not written by this command; name another output file")
    return lines


def write_output(
    out: Path, lines: Path, unread: Sequence[tuple[Entry, str]] = (), where: Where | None = None
) -> int | None:
    """Make a table of the lines; of pictures that could not be read, the last rows say why.

    Returns:
        How many rows were written; None: the lines are the output.

    Raises:
        ArtQuantError: it cannot be written, or a column of the condition is none.
    """
    if lines == out:
        return None

    def rows() -> Iterator[dict[str, Any]]:
        if lines.exists():  # else no picture could be read
            yield from (flat(line) for _, line in read_json_lines(lines))
        yield from ({"id": entry.id, "path": entry.path, "error": message} for entry, message in unread)

    with only_writer(out):
        columns = columns_of(rows())
        found = rows()
        if where is not None:
            where.require_columns([name for name, kind in columns.items() if kind is float])
            found = chosen(found, where)
        return write_table(out, found, names_of(columns, where), read_json(origin_file(lines)))

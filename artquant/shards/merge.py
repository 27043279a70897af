"""All results of a run as one table, in the order of its list, and the proof that none is missing or twice."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from artquant.data.predictions import origin_file
from artquant.errors import ArtQuantError, visible
from artquant.files.json_files import json_text, whole_file, write_json
from artquant.files.only_writer import only_writer
from artquant.files.progress_bar import progress_bar
from artquant.shards.manifest import Run
from artquant.shards.results import read_result


def write_merged(run: Run, out: Path, progress: bool = False) -> int:
    """Write all results of a run into one table; how many pictures.

    Raises:
        ArtQuantError: as `merged_rows`; the file is there already, another process is writing it, or it cannot be
            written. Nothing is left then.
    """
    rows = merged_rows(run)
    with only_writer(out):
        if os.path.lexists(out):
            raise ArtQuantError(f"{out}: is there already; name another file or delete it")
        with progress_bar("merging", "image", progress, run.manifest.pictures, of=rows) as counted, whole_file(out) as part:
            with part.open("w", encoding="utf-8") as stream:
                for row in counted:
                    stream.write(json_text(out, row) + "\n")
        write_json(origin_file(out), run.manifest.origin | {"fingerprint": run.manifest.fingerprint})
    return run.manifest.pictures


def merged_rows(run: Run) -> Iterator[dict[str, Any]]:
    """The row of every picture, in the order of the list; ends without an error only if each is there exactly once.

    Raises:
        ArtQuantError: a shard has no result yet, or one that was changed or is of another model or list.
    """
    missing = sum(not run.result_file(number).exists() for number in range(len(run)))
    if missing:  # said before hours of merging
        raise _unfinished(run, missing)
    for number in range(len(run)):
        result = read_result(run, number)
        if result is None:
            raise _unfinished(run, 1)
        rows = [json.loads(line) for line in result[0]]
        if [row["id"] for row in rows] != [visible(entry.id) for entry in run.entries(number)]:
            raise ArtQuantError(
                f"{run.result_file(number)}: its pictures are not those of the shard's list; delete it, then artquant "
                "shard run makes it anew"
            )
        yield from rows


def _unfinished(run: Run, missing: int) -> ArtQuantError:
    finish = f"finish first: artquant shard run {run.folder}"
    return ArtQuantError(f"{run.folder}: {missing} of {len(run)} shards have no result yet; {finish}")

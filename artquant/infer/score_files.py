"""A list of pictures to a file of predictions, in batches, resumable at any moment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant.config.requirements import USUAL_BATCH
from artquant.data.predictions import prediction_line
from artquant.errors import ArtQuantError
from artquant.files.line_file import LineFile
from artquant.files.only_writer import only_writer
from artquant.files.progress_bar import progress_bar
from artquant.infer.each_scored import EachScored
from artquant.infer.journal import Journal, full_origin
from artquant.infer.read_pictures import read_pictures
from artquant.infer.scorer import Scorer
from artquant.listing.collection import Collection
from artquant.listing.entry import Entry
from artquant.listing.open_entry import drafted

LOOKED_THROUGH = 10_000  # entries before the first is scored: a fault among them is met before anything is written


@dataclass(frozen=True)
class InferenceSummary:
    """What a call of `run_inference` did."""

    scored: int
    done_before: int
    skipped: tuple[str, ...]  # messages of the pictures that could not be read
    unread: tuple[Entry, ...] = ()  # these pictures


def run_inference(
    scorer: Scorer,
    collection: Collection,
    out: Path,
    origin: dict[str, object],
    attributes: Sequence[str] = (),
    batch_size: int = USUAL_BATCH,
    workers: int | None = None,
    skip_unreadable: bool = False,
    progress: bool = True,
    analyse: int = 0,
    total: int | None = None,
) -> InferenceSummary:
    """Score pictures into a JSON-lines file; pictures that are in it already are left out.

    Every batch is on disk before the next begins, whole lines only, so that a run may be killed and started again.
    Entries are taken as they are needed; what is held of a collection is a digest of each id, and of a run that goes on
    the ids and notes of the pictures that were done.

    Args:
        out: predictions file; `OUT.origin.json` beside it says which model they are from, `OUT.pictures.jsonl` what the
            pictures were. Nothing is changed that has no such origin.
        origin: what the model is ("model", how it is called; "weights", what it holds; plain values), to refuse mixing
            two models' predictions. How it is called may change.
        attributes: to be scored beside the whole picture.
        skip_unreadable: go on after a picture that cannot be read, and report it; otherwise stop there.
        analyse: also write a text on each aspect that the prompt names ("texts"), of so many tokens at most; 0: none.
        total: pictures of the collection, as far as known, to show how far it has come.

    Raises:
        ArtQuantError: a picture cannot be read (those of its batch that can are written first); the file holds another
            model's predictions, of other pictures, or something else; another process writes it or changes it.
    """
    asked = {"attributes": list(attributes)} | ({"analyse": analyse} if analyse else {})
    origin = origin | asked | drafted(collection.draft_to)
    with only_writer(out), Journal(out, "id") as journal, collection.reader() as reader:
        done = _ids_done(journal.lines)
        before = journal.begin(full_origin(scorer, origin), _found(done, collection, out), reader)
        todo = (entry for entry in collection if entry.id not in done)
        loader = read_pictures(todo, reader, scorer.processor, batch_size, workers, scorer.device)
        each, scored, skipped = EachScored(scorer), 0, list[tuple[str, Entry]]()
        with progress_bar("scoring", "image", progress, total, before) as bar:
            for batch in loader:
                good = [(entry, picture, note) for entry, picture, error, note in batch if error is None]
                errors = [(error, entry) for entry, _, error, _ in batch if error is not None]
                if good:
                    lines, others = _lines(scorer, each, [one[:2] for one in good], attributes, analyse)
                    errors += others
                    left = {entry.id for _, entry in others}
                    journal.append(lines, {entry.id: note for entry, _, note in good if entry.id not in left})
                    scored += len(lines)
                _require_files(entry for _, entry in errors)
                if errors and not skip_unreadable:
                    raise ArtQuantError(f"{errors[0][0]}; or go on without such pictures (--skip-unreadable)")
                skipped += errors
                bar.update(len(batch))
        journal.lines.finish()
        return InferenceSummary(
            scored, before, tuple(error for error, _ in skipped), tuple(entry for _, entry in skipped)
        )


def _lines(
    scorer: Scorer, each: EachScored, good: Sequence[tuple[Entry, Any]], attributes: Sequence[str], analyse: int
) -> tuple[list[dict[str, Any]], list[tuple[str, Entry]]]:
    """What is written about pictures that were read; those without a score, and why."""
    found = each.score_pictures([picture for _, picture in good], attributes)
    scored = [(*one, score) for one, score in zip(good, found, strict=True) if not isinstance(score, str)]
    others = [
        (f"{entry.name}: {why}", entry) for (entry, _), why in zip(good, found, strict=True) if isinstance(why, str)
    ]
    texts = scorer.analyse_pictures([one[1] for one in scored], analyse) if analyse and scored else [None] * len(scored)
    lines = [
        prediction_line(entry.id, entry.path, entry.gt_score, score) | ({} if said is None else {"texts": said})
        for (entry, _, score), said in zip(scored, texts, strict=True)
    ]
    return lines, others


def _require_files(entries: Iterable[Entry]) -> None:
    """Raise an ArtQuantError where it is no picture that cannot be read, but the archive or table of many."""
    for entry in entries:
        if entry.offset is not None and not os.path.isfile(entry.file):
            raise ArtQuantError(
                f"{entry.file}: is no longer there; put it back and run the same command: it goes on with what is done"
            )


def _found(done: set[str], collection: Collection, out: Path) -> Iterator[Entry]:
    """The entries that are done; no further is looked than to the last of them.

    Raises:
        ArtQuantError: at the end: some are not there.
    """
    left = set(done)
    for entry in collection if left else ():
        if entry.id in left:
            left.discard(entry.id)
            yield entry
            if not left:
                return
    if left:
        raise ArtQuantError(
            f"{out}: holds predictions for {len(left)} other pictures (first: {min(left)!r}); name another output "
            "file or delete it"
        )


def _ids_done(lines: LineFile) -> set[str]:
    done: set[str] = set()
    for number, line in lines.read():
        where = f"{lines.path} line {number}"
        if not isinstance(line, dict) or not isinstance(line.get("id"), str) or "score" not in line:
            raise ArtQuantError(f"{where}: no prediction with an id; name another output file or delete it")
        if line["id"] in done:
            raise ArtQuantError(
                f"{where}: the id {line['id']!r} a second time, which one run never writes; name another output file "
                "or delete it"
            )
        done.add(line["id"])
    return done

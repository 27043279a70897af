"""A list of pictures to a file of predictions, in batches, resumable at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from artquant.data.predictions import prediction_line
from artquant.data.records import ImageRecord
from artquant.errors import ArtQuantError
from artquant.files.line_file import LineFile
from artquant.files.only_writer import only_writer
from artquant.files.progress_bar import progress_bar
from artquant.infer.journal import Journal, full_origin
from artquant.infer.read_pictures import read_pictures
from artquant.infer.scorer import Scorer


@dataclass(frozen=True)
class InferenceSummary:
    """What a call of `run_inference` did."""

    scored: int
    done_before: int
    skipped: tuple[str, ...]  # messages of the pictures that could not be read


def run_inference(
    scorer: Scorer,
    records: Sequence[ImageRecord],
    out: Path,
    origin: dict[str, object],
    attributes: Sequence[str] = (),
    batch_size: int = 16,
    workers: int | None = None,
    skip_unreadable: bool = False,
    progress: bool = True,
    analyse: int = 0,
) -> InferenceSummary:
    """Score pictures into a JSON-lines file; pictures that are in it already are left out.

    Every batch is on disk before the next begins, whole lines only, so that a run may be killed and started again.

    Args:
        out: predictions file; `OUT.origin.json` beside it says which model they are from, `OUT.pictures.jsonl` what the
            pictures were. Nothing is changed that has no such origin.
        origin: what the model is ("model", how it is called; "weights", what it holds; plain values), to refuse mixing
            two models' predictions. How it is called may change.
        attributes: to be scored beside the whole picture.
        skip_unreadable: go on after a picture that cannot be read, and report it; otherwise stop there.
        analyse: also write a text on each aspect that the prompt names ("texts"), of so many tokens at most; 0: none.

    Raises:
        ArtQuantError: a picture cannot be read (those of its batch that can are written first); the file holds another
            model's predictions, of other pictures, or something else; another process writes it or changes it.
    """
    written = {"attributes": list(attributes)} | ({"analyse": analyse} if analyse else {})
    with only_writer(out), Journal(out, "id") as journal:
        done = _ids_done(journal.lines, records)
        journal.begin(full_origin(scorer, origin | written), {one.id: one.image for one in records if one.id in done})
        todo = [record for record in records if record.id not in done]
        loader = read_pictures(todo, scorer.processor, batch_size, workers, scorer.device)
        skipped: list[str] = []
        before, scored = len(records) - len(todo), 0
        with progress_bar("scoring", "image", progress, len(records), before) as bar:
            for batch in loader:
                good = [(record, picture, note) for record, picture, error, note in batch if error is None]
                if good:
                    pictures = [picture for _, picture, _ in good]
                    scores = scorer.score_pictures(pictures, attributes)
                    texts = scorer.analyse_pictures(pictures, analyse) if analyse else [None] * len(good)
                    found = [
                        prediction_line(record.id, record.image.name, record.gt_score, score)
                        | ({} if said is None else {"texts": said})
                        for (record, _, _), score, said in zip(good, scores, texts, strict=True)
                    ]
                    journal.append(found, {record.id: note for record, _, note in good})
                    scored += len(good)
                errors = [error for _, _, error, _ in batch if error is not None]
                if errors and not skip_unreadable:
                    raise ArtQuantError(f"{errors[0]}; or go on without such pictures (--skip-unreadable)")
                skipped += errors
                bar.update(len(batch))
        journal.lines.finish()
        return InferenceSummary(scored, before, tuple(skipped))


def _ids_done(lines: LineFile, records: Sequence[ImageRecord]) -> set[str]:
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
    foreign = done - {record.id for record in records}
    if foreign:
        raise ArtQuantError(
            f"{lines.path}: holds predictions for {len(foreign)} other pictures (first: {sorted(foreign)[0]!r}); name "
            "another output file or delete it"
        )
    return done

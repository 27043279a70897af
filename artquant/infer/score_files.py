"""A list of pictures to a file of predictions, in batches, resumable at any moment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from artquant.data.images import ImageError, load_image
from artquant.data.picture_names import PictureNames
from artquant.data.predictions import origin_file, prediction_line
from artquant.data.records import ImageRecord
from artquant.errors import ArtQuantError
from artquant.files.json_files import append_json_lines, read_json, read_json_lines, write_json
from artquant.files.only_writer import only_writer
from artquant.files.progress_bar import progress_bar
from artquant.infer.scorer import Scorer
from artquant.models.family import Processor


@dataclass(frozen=True)
class InferenceSummary:
    """What a call of `run_inference` did."""

    scored: int
    done_before: int
    skipped: tuple[str, ...]  # messages of the pictures that could not be read


class Pictures(Dataset):
    """Records as prepared pictures, or the reason why one cannot be read."""

    def __init__(self, records: Sequence[ImageRecord], processor: Processor):
        self.records = records
        self.processor = processor
        self._names = PictureNames()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[ImageRecord, Any, str | None]:
        record = self.records[index]
        try:
            image = load_image(record.image, record=f"{record.source} id {record.id!r}")
        except ImageError as error:
            return record, None, f"{error}{'' if os.path.exists(record.image) else self._names.hint(record.image)}"
        return record, self.processor.picture(image), None


def run_inference(
    scorer: Scorer,
    records: Sequence[ImageRecord],
    out: Path,
    origin: dict[str, object],
    attributes: Sequence[str] = (),
    batch_size: int = 16,
    workers: int = 2,
    skip_unreadable: bool = False,
    progress: bool = True,
    analyse: int = 0,
) -> InferenceSummary:
    """Score pictures into a JSON-lines file; pictures that are in it already are left out.

    Every batch is on disk before the next begins, whole lines only, so that a run may be killed and started again.

    Args:
        out: predictions file; `OUT.origin.json` beside it says which model they are from.
        origin: what the model is ("model", how it is called; "weights", what it holds; plain values), to refuse mixing
            two models' predictions. How it is called may change.
        attributes: to be scored beside the whole picture.
        skip_unreadable: go on after a picture that cannot be read, and report it; otherwise stop there.
        analyse: also write a text on each aspect that the prompt names ("texts"), of so many tokens at most; 0: none.

    Raises:
        ArtQuantError: a picture cannot be read (those of its batch that can are written first); the file holds another
            model's predictions, or another process is writing it.
    """
    with only_writer(out):
        done = _ids_done(out, records)
        written = {"attributes": list(attributes)} | ({"analyse": analyse} if analyse else {})
        check_origin(out, scorer, origin | written, empty=not done)
        todo = [record for record in records if record.id not in done]
        loader = DataLoader(
            Pictures(todo, scorer.processor), batch_size=batch_size, num_workers=workers, collate_fn=list
        )
        skipped: list[str] = []
        scored = 0
        with progress_bar("scoring", "image", progress, len(records), len(records) - len(todo)) as bar:
            for batch in loader:
                good = [(record, picture) for record, picture, error in batch if error is None]
                if good:
                    pictures = [picture for _, picture in good]
                    scores = scorer.score_pictures(pictures, attributes)
                    texts = scorer.analyse_pictures(pictures, analyse) if analyse else [None] * len(good)
                    lines = [
                        prediction_line(record.id, record.image.name, record.gt_score, score)
                        | ({} if said is None else {"texts": said})
                        for (record, _), score, said in zip(good, scores, texts, strict=True)
                    ]
                    append_json_lines(out, lines)
                    scored += len(lines)
                errors = [error for _, _, error in batch if error is not None]
                if errors and not skip_unreadable:
                    raise ArtQuantError(f"{errors[0]}; or go on without such pictures (--skip-unreadable)")
                skipped += errors
                bar.update(len(batch))
        return InferenceSummary(scored, len(records) - len(todo), tuple(skipped))


def _ids_done(out: Path, records: Sequence[ImageRecord]) -> set[str]:
    if not out.is_file():
        return set()
    append_json_lines(out, [])  # removes the half line that a killed run left
    done = {_id(line, f"{out} line {number}") for number, line in read_json_lines(out)}
    foreign = done - {record.id for record in records}
    if foreign:
        raise ArtQuantError(
            f"{out}: holds predictions for {len(foreign)} other pictures (first: {sorted(foreign)[0]!r}); name another "
            "output file or delete it"
        )
    return done


def _id(line: object, where: str) -> str:
    if not isinstance(line, dict) or not isinstance(line.get("id"), str):
        raise ArtQuantError(f"{where}: no prediction with an id; name another output file or delete it")
    return line["id"]


def check_origin(out: Path, scorer: Scorer, origin: dict[str, object], empty: bool) -> None:
    """Note beside a file of results what it is made with.

    Raises:
        ArtQuantError: it is not empty, and was made by another model or with other settings.
    """
    file = origin_file(out)
    origin = (
        origin
        | {
            "prompt": scorer.loaded.prompt.to_dict() | {"description_questions": []},
            "readout": scorer.loaded.readout.to_dict(),
            "dtype": str(scorer.network.plain.dtype),
        }
        | ({} if scorer.score_range is None else {"score_range": list(scorer.score_range)})
    )
    recorded = read_json(file) if file.is_file() else {"model": "an unknown model"}
    names = sorted({*recorded, *origin} - {"model"})
    other = [name for name in names if recorded.get(name) != origin.get(name)]
    if not empty and other:
        raise ArtQuantError(
            f"{out}: holds predictions of {recorded.get('model')}, made with other {', '.join(other)}; "
            "name another output file or delete it"
        )
    write_json(file, origin)

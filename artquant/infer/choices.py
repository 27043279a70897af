"""Questions with choices put to a model, each about its picture; resumable at any moment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from artquant.data.fields import Fields
from artquant.data.missing_pictures import check_images_exist
from artquant.data.picture_names import PictureNames
from artquant.data.predictions import origin_file
from artquant.data.records import ImageRecord
from artquant.errors import ArtQuantError
from artquant.evaluate.choices import FAILED, ChoiceQuestion, chosen_letter
from artquant.files.json_files import json_text, read_json, write_text
from artquant.files.line_file import LineFile
from artquant.files.only_writer import only_writer
from artquant.files.progress_bar import progress_bar
from artquant.infer.journal import Journal, full_origin
from artquant.infer.read_pictures import Read, read_pictures
from artquant.infer.scorer import Scorer
from artquant.listing.entry import Entry
from artquant.listing.open_entry import EntryReader
from artquant.models.family import Row
from artquant.texts.prompt import CHOICES_QUESTION

_ENOUGH = 8  # tokens, where the first character is what counts
_LONGEST = 1024  # tokens, as published
_HALF = "\ufffd"  # what stands for a character of which a token is missing

Texts = dict[tuple[str, str], str]  # by picture and question


@dataclass(frozen=True)
class Answered:
    """What a call of `answer_questions` did."""

    texts: tuple[str, ...]  # the beginning of each answer; "?": its picture cannot be read
    asked: int
    done_before: int
    skipped: tuple[str, ...]  # messages of the pictures that could not be read


def answers_file(out: Path) -> Path:
    """Where the texts are kept, as they come, beside a file of answered questions."""
    return out.parent / (out.name + ".texts.jsonl")


def answer_questions(
    scorer: Scorer,
    questions: Sequence[ChoiceQuestion],
    images: Path,
    out: Path,
    name: str,
    origin: Mapping[str, object],
    batch_size: int = 8,
    workers: int | None = None,
    skip_unreadable: bool = False,
    progress: bool = True,
) -> Answered:
    """Ask every question (greedy decoding) and write the records with the letters added, as published.

    Every batch's texts are on disk, in `answers_file(out)`, before the next begins, so that a run may be killed and
    started again; OUT is written when all are there. A question that stands twice about one picture is asked once.

    Args:
        images: folder of the pictures.
        out: file to write: the records with the key `name`, a JSON list.
        origin: what the model is, as in `run_inference`.
        skip_unreadable: go on after a picture that cannot be read ("?" in OUT); the next run tries it again.

    Raises:
        ArtQuantError: a picture cannot be read, or none; a question that cannot be asked; OUT is another's, holds other
            answers, or is being written by another process; the records have the key already.
    """
    if batch_size < 1 or (workers is not None and workers < 0):
        raise ArtQuantError(f"a batch takes 1 or more and workers are 0 or more, got {batch_size} and {workers}")
    if os.path.lexists(out) and not (origin_file(answers_file(out)).is_file() and _is_answered(out, questions)):
        raise ArtQuantError(
            f"{out}: is there already and not what this command writes for these questions; name another output file"
        )
    _answered(questions, name, [FAILED] * len(questions), out)  # says now what could not be written at the end
    made = {**origin, "images": os.path.realpath(images), "asked": CHOICES_QUESTION}
    with only_writer(out), Journal(answers_file(out), "image") as journal:
        texts, names = _texts_done(journal.lines, questions), PictureNames()
        reader = EntryReader()
        known = [Entry(image, image, str(names.path(images, image))) for image, _ in texts]
        journal.begin(full_origin(scorer, made), known, reader)
        before = len(texts)
        first: dict[tuple[str, str], ChoiceQuestion] = {}
        for one in questions:
            first.setdefault(one.asked, one)
        todo = [one for key, one in first.items() if key not in texts]
        pictures = [ImageRecord(one.image, names.path(images, one.image), None, None, one.source) for one in todo]
        if not skip_unreadable:
            check_images_exist(pictures)
        asked = [Entry(one.id, one.id, str(one.image), source=one.source) for one in pictures]
        loader = read_pictures(asked, reader, scorer.processor, batch_size, workers, scorer.device)
        with progress_bar("asking", "question", progress, len(first), before) as bar:
            skipped = _ask_all(scorer, todo, loader, skip_unreadable, journal, texts, bar)
        journal.lines.finish()
        if not texts:
            raise ArtQuantError(f"{images}: no picture of {len(questions)} can be read; check the folder: {skipped[0]}")
        said = tuple(texts.get(one.asked, FAILED) for one in questions)
        write_text(out, _answered(questions, name, [chosen_letter(text) for text in said], out))
    return Answered(said, len(texts) - before, before, tuple(skipped))


def _ask_all(
    scorer: Scorer,
    todo: Sequence[ChoiceQuestion],
    loader: Iterable[list[Read]],
    skip_unreadable: bool,
    journal: Journal,
    texts: Texts,
    bar: tqdm,
) -> list[str]:
    """Ask about batches of pictures, in the questions' order; why some cannot be read."""
    waiting = iter([(one.asked, _row(scorer, one)) for one in todo])  # all are looked at before the first is asked
    skipped: list[str] = []
    for batch in loader:
        asked = [(*next(waiting), picture, error) for _, picture, error, _ in batch]
        good = [(key, row, picture) for key, row, picture, error in asked if error is None]
        if good:
            keys, rows, pictures = zip(*good, strict=True)
            new = dict(zip(keys, _first_words(scorer, rows, pictures), strict=True))
            lines = [{"image": key[0], "question": key[1], "text": new[key]} for key in keys]
            journal.append(lines, {one.id: note for one, _, error, note in batch if error is None})
            texts |= new
        errors = [error for _, _, error, _ in batch if error is not None]
        if errors and not skip_unreadable:
            raise ArtQuantError(errors[0])
        skipped += errors
        bar.update(len(batch))
    return skipped


def _row(scorer: Scorer, one: ChoiceQuestion) -> Row:
    try:
        return scorer.row(scorer.loaded.prompt.choosing(one.question))
    except ArtQuantError as error:
        raise ArtQuantError(f"{one.source}: {error}") from error


def _first_words(scorer: Scorer, rows: Sequence[Row], pictures: Sequence[Any]) -> list[str]:
    """The beginnings of answers, long enough for the first character of each."""
    texts = scorer.say(rows, pictures, _ENOUGH)
    unsettled = [place for place, text in enumerate(texts) if text[:1] in ("", _HALF)]
    if unsettled:
        longer = scorer.say([rows[place] for place in unsettled], [pictures[place] for place in unsettled], _LONGEST)
        for place, text in zip(unsettled, longer, strict=True):
            texts[place] = text
    return texts


def _is_answered(out: Path, questions: Sequence[ChoiceQuestion]) -> bool:
    """Whether a file holds the questions, answered: what an earlier run wrote."""
    try:
        found = read_json(out)
    except ArtQuantError:
        return False
    asked = [one.record for one in questions]
    return (
        isinstance(found, list)
        and len(found) == len(asked)
        and all(
            isinstance(one, dict) and one.items() >= record.items() for one, record in zip(found, asked, strict=True)
        )
    )


def _texts_done(journal: LineFile, questions: Sequence[ChoiceQuestion]) -> Texts:
    """The texts that earlier runs kept."""
    done: Texts = {}
    known = {one.asked for one in questions}
    for number, line in journal.read():
        fields = Fields(line, f"{journal.path} line {number}")
        asked, text = (fields.text("image"), fields.text("question")), fields.item.get("text")
        fields.refuse()
        if asked not in known or not isinstance(text, str):
            reason = f"no answer to one of these questions (about {asked[0]!r}); name another output file or delete it"
            raise ArtQuantError(f"{fields.name}: {reason}")
        if asked in done:
            raise ArtQuantError(f"{fields.name}: a question a second time; name another output file or delete it")
        done[asked] = text
    return done


def _answered(questions: Sequence[ChoiceQuestion], name: str, letters: Sequence[str], out: Path) -> str:
    """The records with the letters added, in the published form."""
    for one in questions:
        if name in one.record:
            raise ArtQuantError(f'{one.source}: has "{name}" already; evaluate the file without --model')
    records = [{**one.record, name: letter} for one, letter in zip(questions, letters, strict=True)]
    return json_text(out, records, indent=2)

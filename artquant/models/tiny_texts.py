"""What the tokenizers of small drawn networks are trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json
from artquant.texts.prompt import IMAGE_TOKEN, PROMPTS, SCORE_QUESTIONS, SUBJECT, get_prompt


def record_texts(files: Iterable[Path]) -> Iterator[str]:
    """Every human and model turn of training-record files, without the picture's place.

    Raises:
        ArtQuantError: a file is not a JSON list of training records.
    """
    for file in files:
        records = read_json(file)
        try:
            for record in records:
                for turn in record["conversations"]:
                    yield turn["value"].replace(IMAGE_TOKEN, "").strip()
        except (KeyError, TypeError, AttributeError) as error:
            raise ArtQuantError(f"{file}: not a list of training records with conversations ({error!r})") from error


def training_texts(files: Iterable[Path], words: Sequence[str]) -> Iterator[str]:
    """The records' turns, then questions and answers of every prompt: with them rating words become tokens."""
    count = 0
    for text in record_texts(files):
        count += 1
        yield text
    lines = []
    for prompt in (get_prompt(name, subject) for name in PROMPTS for subject in ("painting", "image")):
        questions = (*SCORE_QUESTIONS, *prompt.description_questions)
        lines += [question.replace(SUBJECT, prompt.subject) for question in questions]
        lines += [f"{prompt.rating_prefix()} {word}." for word in words] * 4
    yield from lines * max(4, count // 150)

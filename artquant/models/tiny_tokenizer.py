"""Tokenizers of small drawn networks: what they are trained on, a byte-level one, and the rating words in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json
from artquant.readouts.readout import Encoder, tokens_after
from artquant.texts.prompt import IMAGE_TOKEN, SCORE_QUESTIONS, SMALL_PROMPTS, SUBJECT, get_prompt


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
    for prompt in (get_prompt(name, subject) for name in SMALL_PROMPTS for subject in ("painting", "image")):
        questions = (*SCORE_QUESTIONS, *prompt.description_questions)
        lines += [question.replace(SUBJECT, prompt.subject) for question in questions]
        lines += [f"{prompt.rating_prefix()} {word}." for word in words] * 4
    yield from lines * max(4, count // 150)


def byte_level_tokenizer(files: Iterable[Path], words: Sequence[str], size: int, special: Sequence[str]) -> Tokenizer:
    """A byte-level BPE tokenizer trained on `training_texts`.

    Args:
        size: tokens, the special ones (the first of all) and 256 bytes included.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_texts(files, words), trainer)
    return tokenizer


def require_words(encoder: Encoder, words: Sequence[str]) -> None:
    """Each rating word must be one token where the prompt puts it: better found here than by the training.

    Raises:
        ArtQuantError: one is not.
    """
    prompt = get_prompt("artquant")
    for word in words:
        if len(tokens_after(encoder, prompt, word)) != 1:
            raise ArtQuantError(f"{word!r} did not become one token; raise vocabulary_size, or choose a shorter word")

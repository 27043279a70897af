"""A training record as the network reads it: conversation in tokens, what is learned of it, where scores stand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artquant.data.records import TrainingRecord
from artquant.errors import ArtQuantError
from artquant.models.family import Processor, Row
from artquant.readouts import Readout
from artquant.texts.prompt import Exchange, Prompt


@dataclass(frozen=True)
class Conversation:
    """A question with its answer in tokens.

    row.token_ids[answer_start:] is the answer; places: indices of what stands for a score in it, none in descriptions.
    """

    row: Row
    answer_start: int
    places: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A conversation with what is learned of it; m scores, K the width of a target."""

    conversation: Conversation
    learns_places: bool = False  # what stands for a score is learned as text too
    targets: np.ndarray | None = None  # [m, K], the readout's
    truth: np.ndarray | None = None  # [m, 2], mean and standard deviation of the true scores


def encode_row(processor: Processor, exchange: Exchange) -> Row:
    """A question and its answer, or the answer's beginning, in the family's chat form and in tokens."""
    text = processor.conversation(exchange)
    return Row(text, tuple(processor.tokenize(text)))


def encode_description(processor: Processor, prompt: Prompt, question: str, answer: str) -> Conversation:
    """A description.

    Raises:
        ArtQuantError: question and answer share a token.
    """
    context = encode_row(processor, prompt.exchange(question))
    row = encode_row(processor, prompt.exchange(question, answer, complete=True))
    _require_prefix(prompt, row, context, "the answer")
    return Conversation(row, len(context.token_ids))


def encode_scores(
    processor: Processor, prompt: Prompt, readout: Readout, question: str, words: list[str], answer: str, begin: int = 0
) -> Conversation:
    """An answer that holds scores.

    Args:
        words: what stands for each score in the answer, in order. begin: where in the answer the first may stand.

    Raises:
        ArtQuantError: a word is not where it should be, or the answer has another number of places for scores.
    """
    found = encode_description(processor, prompt, question, answer)
    places: list[int] = []
    for word in words:
        place = answer.find(word, begin)
        if place < 0:
            raise ArtQuantError(
                f"{len(words)} true scores, but the answer has {len(places)} places for a score ({word})"
            )
        before = encode_row(processor, prompt.exchange(question, answer[:place].rstrip()))
        _require_prefix(prompt, found.row, before, "the rating word")
        index, begin = len(before.token_ids), place + len(word)
        token = found.row.token_ids[index]
        if token not in readout.place_ids:
            raise ArtQuantError(
                f"prompt {prompt.name!r} does not line up: token {index} should be the rating word {word!r}, but is id "
                f"{token}; the rating words have ids {list(readout.place_ids)}"
            )
        places.append(index)
    if readout.several and words and answer.find(words[0], begin) >= 0:
        raise ArtQuantError(f"the answer has more places for a score than the {len(words)} true scores; add the others")
    return Conversation(found.row, found.answer_start, tuple(places))


def encode_record(
    processor: Processor, prompt: Prompt, readout: Readout, record: TrainingRecord, score: float | None
) -> Conversation:
    """A record's conversation; of a score record the prompt's own answer, of one with several scores its own.

    score: its true one (the first), known or computed.
    """
    if score is None:
        return encode_description(processor, prompt, record.question, record.answer)
    if record.scores:
        if not readout.several:
            raise ArtQuantError(
                f"{len(record.scores)} true scores in one answer, which readout {readout.kind} cannot hold"
            )
        words = [readout.word(one) for one in record.scores]
        return encode_scores(processor, prompt, readout, record.question, words, record.answer)
    word = readout.word(score)
    begin = len(prompt.rating_prefix(record.attribute))
    answer = prompt.rating_answer(word, record.attribute)
    return encode_scores(processor, prompt, readout, record.question, [word], answer, begin)


def _require_prefix(prompt: Prompt, row: Row, prefix: Row, what: str) -> None:
    length = len(prefix.token_ids)
    if row.token_ids[:length] != prefix.token_ids or len(row.token_ids) <= length:
        raise ArtQuantError(
            f"prompt {prompt.name!r} does not line up: {what} has no token of its own to begin with (token {length})"
        )

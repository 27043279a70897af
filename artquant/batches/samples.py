"""A training record as the network reads it: conversation in tokens, what is learned of it, where scores stand."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from artquant.batches.packed import packed_length
from artquant.data.records import TrainingRecord
from artquant.errors import ArtQuantError
from artquant.models.family import Processor, Row
from artquant.readouts import Readout
from artquant.texts.prompt import Exchange, Prompt

Rounds = Sequence[tuple[str, str]]  # of questions and answers


@dataclass(frozen=True)
class Conversation:
    """Questions with their answers in tokens.

    answers: first index and end of each answer in row.token_ids; places: indices of what stands for a score in them,
    none in descriptions.
    """

    row: Row
    answers: tuple[tuple[int, int], ...]
    places: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A conversation with what is learned of it; m scores, K the width of a target."""

    conversation: Conversation
    learns_places: bool = False  # what stands for a score is learned as text too
    targets: np.ndarray | None = None  # [m, K], the readout's
    truth: np.ndarray | None = None  # [m, 2], mean and standard deviation of the true scores
    about: tuple[str | None, ...] = ()  # [m], the attribute that each score is of; None: the whole picture
    others: tuple[Conversation, ...] = ()  # other answers that begin as this one does, read beside it: of attributes

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """All of them, in the order of their scores."""
        return (self.conversation, *self.others)

    @property
    def length(self) -> int:
        """Tokens, what the conversations begin with counted once."""
        return packed_length([found.row.token_ids for found in self.conversations])


def encode_row(processor: Processor, exchange: Exchange) -> Row:
    """A question and its answer, or the answer's beginning, in the family's chat form and in tokens."""
    text = processor.conversation(exchange)
    return Row(text, tuple(processor.tokenize(text)))


def encode_rounds(processor: Processor, prompt: Prompt, rounds: Rounds) -> Conversation:
    """Questions and whole answers, as of a description.

    Raises:
        ArtQuantError: what stands before an answer shares a token with it.
    """
    answers: list[tuple[int, int]] = []
    row = Row("", ())
    for number, (question, answer) in enumerate(rounds):
        earlier, before = rounds[:number], row
        context = encode_row(processor, prompt.exchange(question, earlier=earlier))
        row = encode_row(processor, prompt.exchange(question, answer, complete=True, earlier=earlier))
        _require_prefix(prompt, context, before, "the next question")
        _require_prefix(prompt, row, context, "the answer")
        answers.append((len(context.token_ids), len(row.token_ids)))
    return Conversation(row, tuple(answers))


def encode_scores(
    processor: Processor, prompt: Prompt, readout: Readout, rounds: Rounds, words: Sequence[str], begin: int = 0
) -> Conversation:
    """Answers that hold scores.

    Args:
        words: what stands for each score in the answers, in order. begin: where in the first answer one may stand.

    Raises:
        ArtQuantError: a word is not where it should be, or the answers have another number of places for scores.
    """
    found, places = encode_rounds(processor, prompt, rounds), list[int]()
    for number, (question, answer) in enumerate(rounds):
        while len(places) < len(words) and (place := answer.find(words[len(places)], begin)) >= 0:
            word = words[len(places)]
            told = prompt.exchange(question, answer[:place].rstrip(), earlier=rounds[:number])
            before = encode_row(processor, told)
            _require_prefix(prompt, found.row, before, "the rating word")
            index, begin = len(before.token_ids), place + len(word)
            token = found.row.token_ids[index]
            if token not in readout.place_ids:
                raise ArtQuantError(
                    f"prompt {prompt.name!r} does not line up: token {index} should be the rating word {word!r}, but "
                    f"is id {token}; the rating words have ids {list(readout.place_ids)}"
                )
            places.append(index)
        if readout.several and words and len(places) == len(words) and answer.find(words[-1], begin) >= 0:
            raise ArtQuantError(
                f"the answer has more places for a score than the {len(words)} true scores; add the others"
            )
        begin = 0
    if len(places) < len(words):
        raise ArtQuantError(
            f"{len(words)} true scores, but the answer has {len(places)} places for a score ({words[len(places)]})"
        )
    return Conversation(found.row, found.answers, tuple(places))


def encode_record(
    processor: Processor,
    prompt: Prompt,
    readout: Readout,
    record: TrainingRecord,
    score: float | None,
    target: np.ndarray | None = None,
) -> Conversation:
    """A record's conversation. Of a score record the prompt's own answer, unless its own holds places for scores.

    score: its true one (the first), known or computed. target: [K], the readout's, where it is known.
    """
    asked = prompt.scored_question  # records do not keep the white space around a question
    question = asked if record.question == asked.strip() else record.question
    rounds = [(question, record.answer), *record.rounds]
    word = readout.word(readout.low) if score is None else readout.word(score, target)
    holds_places = readout.several and any(word in answer for _, answer in rounds)
    silent = [other for other in readout.new_words if other != word and any(other in answer for _, answer in rounds)]
    if silent:
        raise ArtQuantError(f"the answer holds {silent[0]}, which stands for a value and in no text; take it out")
    if score is None:
        if holds_places:
            raise ArtQuantError(f"the answer has a place for a score ({word}), but no true score; add gt_score")
        return encode_rounds(processor, prompt, rounds)
    if record.scores and not readout.several:
        raise ArtQuantError(f"{len(record.scores)} true scores in one answer, which readout {readout.kind} cannot hold")
    if record.scores or holds_places:
        words = [readout.word(one) for one in record.scores or (score,)]
        return encode_scores(processor, prompt, readout, rounds, words)
    if record.rounds:
        raise ArtQuantError(f"{len(rounds)} rounds without a place for the score; split the record")
    answer = prompt.rating_answer(word, record.attribute)
    begin = len(prompt.rating_prefix(record.attribute))
    return encode_scores(processor, prompt, readout, [(question, answer)], [word], begin)


def encode_attributes(
    processor: Processor,
    prompt: Prompt,
    readout: Readout,
    record: TrainingRecord,
    whole: Conversation,
    known: dict[Hashable, Conversation] | None = None,
    targets: np.ndarray | None = None,
) -> tuple[Conversation, ...]:
    """The answers about a record's attributes, each beside the one about the whole.

    Args:
        known: those of records before, which often are the same; taken from and added to.
        targets: [m, K], the readout's, where they are known.

    Raises:
        ArtQuantError: the prompt says the same of two of them before their scores.
    """
    told, known = list[Conversation](), {} if known is None else known
    for place, one in enumerate(record.attributes):
        target = None if targets is None else targets[place]
        key = (record.question, record.rounds, record.scores, one.name, readout.word(one.mean, target))
        if key not in known:
            about = replace(record, attribute=one.name, answer="")
            known[key] = encode_record(processor, prompt, readout, about, one.mean, target)
        told.append(known[key])
    if not told:
        return ()
    every = (whole, *told)
    prefixes = [found.row.token_ids[: found.places[0]] for found in every]
    if len(set(prefixes)) < len(prefixes):
        reason = f"prompt {prompt.name!r} says the same of two of them (or of the whole) before the score"
        raise ArtQuantError(f"attributes: {reason}; take a prompt that names them, or set attributes: false")
    return tuple(told)


def _require_prefix(prompt: Prompt, row: Row, prefix: Row, what: str) -> None:
    length = len(prefix.token_ids)
    if row.token_ids[:length] != prefix.token_ids or len(row.token_ids) <= length:
        raise ArtQuantError(
            f"prompt {prompt.name!r} does not line up: {what} has no token of its own to begin with (token {length})"
        )

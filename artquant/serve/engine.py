"""The one that computes: takes requests one after another, scores while it describes."""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from artquant.data.predictions import Prediction
from artquant.errors import ArtQuantError, one_line, visible
from artquant.infer.score import Score
from artquant.infer.scorer import Scorer
from artquant.infer.streamed import describe_in_pieces
from artquant.models.model_folder import ModelFolder
from artquant.serve.known import tested
from artquant.serve.messages import (
    Asked,
    Describe,
    Done,
    Failed,
    Judged,
    Ready,
    Said,
    Scored,
    ScoreThese,
    Written,
)
from artquant.serve.settings import Chosen, Facts, Identity, Tested

logger = logging.getLogger(__name__)

_MOST_BROKEN = 20  # pictures in a row that a network may fail with, before it counts as broken itself, as GPUs are
_UNFAMILIAR = "this model cannot tell which pictures are unlike those it learned from (artquant familiar teaches it)"
_LICENCE = re.compile(r"^license: *[\"']?([\w. -]+)", re.MULTILINE)


class Inbox(Protocol):
    """Where requests come from."""

    def next(self) -> Asked | None:
        """The next, waited for; None: there will be none."""

    def waits(self) -> bool:
        """Whether there is one (or an end) already."""


def shapes(batch: int) -> tuple[int, ...]:
    """Sizes that batches have: powers of two from 4 to below the largest, and the largest.

    Products of one or two rows are computed by other kernels, whose last digits differ.
    """
    return (*(2**power for power in range(2, batch.bit_length()) if 2**power < batch), batch)


class Engine:
    """Scores in batches of few sizes, filled up by repeating, so that a score depends on nothing but its picture.

    A description is written a token at a time, and pictures that come meanwhile are scored in between.
    """

    def __init__(self, chosen: Chosen, device: str, inbox: Inbox, say: Callable[[Said], None]):
        """Load the models. Raises ArtQuantError: they are none, or the device is not there."""
        folder = ModelFolder.open(chosen.model, chosen.base, allow_other_base=chosen.allow_other_base)
        self._scorer = Scorer.from_pretrained(folder, device=device, **chosen.loading)
        self._teller = self._scorer
        if chosen.describing is not None:
            self._teller = Scorer.from_pretrained(chosen.describing, device=device, **chosen.loading)
        self._tokens, self._shapes = chosen.tokens, shapes(chosen.batch)
        self._inbox, self._say = inbox, say
        self._later: deque[Describe] = deque()
        self._unread: set[int] = set()
        self._over = False
        self._broken = 0
        weights = [one.fingerprint for one in folder.chain()]
        test = Tested() if chosen.tested is None else tested(*chosen.tested, weights)
        say(Ready(_facts(folder, self._scorer, self._teller, test), self._scorer.processor))

    def run(self) -> None:
        """Until there will be no more requests."""
        while not self._over:
            if self._later:
                self._describe(self._later.popleft())
            else:
                self._take()

    def _take(self) -> None:
        asked = self._inbox.next()
        if asked is None:
            self._over = True
        elif isinstance(asked, ScoreThese):
            self._score(asked)
        elif isinstance(asked, Describe):
            self._later.append(asked)
        else:
            self._unread.add(asked.number)

    def _score(self, asked: ScoreThese) -> None:
        names = self._scorer.loaded.attributes if asked.attributes else ()
        self._say(Scored(asked.number, tuple(self._outcomes(asked.pictures, names))))

    def _outcomes(self, pictures: Sequence[Any], names: Sequence[str]) -> list[Judged | str]:
        """Scores; where a batch fails, each picture is tried alone, so that one does not take the others with it."""
        count = len(pictures)
        size = next(size for size in self._shapes if size >= min(count, self._shapes[-1]))
        try:
            filled = [*pictures, *[pictures[-1]] * (size - count)]
            scores = self._scorer.score_pictures(filled, names)[:count]
            self._broken = 0
            return [_judged(score) for score in scores]
        except Exception as error:  # a network's own errors are of any type; the server goes on
            if count == 1:
                return [self._without(error)]
            return [outcome for one in pictures for outcome in self._outcomes([one], names)]

    def _without(self, error: Exception) -> str:
        """Why a picture has no score. Raises the error: so many have none that it is not about the pictures."""
        if not isinstance(error, (ArtQuantError, MemoryError, torch.OutOfMemoryError)):
            self._broken += 1
            if self._broken > _MOST_BROKEN:
                raise error
        logger.warning("a picture could not be scored: %s", one_line(error))
        return f"the model gives no score for it: {one_line(error)}"

    def _describe(self, asked: Describe) -> None:
        """Write, and look after each token for what else is asked."""
        try:
            self._say(self._told(asked))
        except Exception as error:  # as of scores
            self._say(Failed(asked.number, one_line(error)))
        finally:
            self._unread.discard(asked.number)

    def _told(self, asked: Describe) -> Done:
        number, teller = asked.number, self._teller
        if asked.level is None:
            answer = self._scorer.answer([asked.image], max_new_tokens=self._tokens)[0]
            return Done(number, answer.text, answer.scores[0].score if answer.scores else None)
        if teller.loaded.readout.several:  # scores are put into the text once it is whole
            text = teller.describe(asked.image, asked.level, self._tokens)
            self._say(Written(number, text))
            return Done(number, text)

        def ended() -> bool:
            while self._inbox.waits() and not self._over:
                self._take()
            return self._over or number in self._unread

        def say(piece: str) -> None:
            self._say(Written(number, piece))

        return Done(number, describe_in_pieces(teller, asked.image, asked.level, say, ended, self._tokens))


def _judged(score: Score) -> Judged:
    """A score without what only a log would show. Raises ArtQuantError: a number of it is not finite."""
    each = [score, *score.attributes.values()]
    if not all(math.isfinite(number) for one in each for number in (one.score, one.std)):
        raise ArtQuantError("a score or its deviation is not finite")
    whole = _plain(score)
    attributes = {name: _plain(one) for name, one in score.attributes.items()}
    return Judged(Prediction(whole.score, whole.std, whole.columns, attributes), score.unlike)


def _plain(score: Score) -> Prediction:
    columns = {name: score.columns[name] for name in ("probs",) if name in score.columns}
    return Prediction(score.score, score.std, columns)


def _facts(folder: ModelFolder, scorer: Scorer, teller: Scorer, test: Tested) -> Facts:
    loaded, readout = scorer.loaded, scorer.loaded.readout
    said = readout.to_dict()
    words, values = said.get("words"), said.get("weights")
    describes = teller is not scorer or teller.loaded.learned is None or "description" in teller.loaded.learned
    can = {
        "score": loaded.learned is None or "score" in loaded.learned,
        "attributes": bool(loaded.attributes),
        "describe": describes,
    }
    prints = [one.fingerprint for one in folder.chain()]
    whole = prints[0] if len(prints) == 1 else hashlib.sha256(" ".join(prints).encode()).hexdigest()
    history = {} if folder.card is None else folder.card.history
    named = [str(history[name]) for name in ("run", "stage") if name in history] or [folder.name.name]
    return Facts(
        Identity(visible("/".join(named))[:200], whole, loaded.prompt.name),
        readout.low,
        readout.high,
        tuple(words) if words and values else None,
        tuple(values) if words and values else None,
        tuple(loaded.attributes),
        tuple(name for name, able in can.items() if able),
        tuple(range(1, 1 + len(teller.loaded.prompt.description_questions))) if describes else (),
        loaded.readout.several,
        _trained_on(history),
        _licence(folder.path),
        None if loaded.familiar is not None else _UNFAMILIAR,
        test,
    )


def _trained_on(history: Mapping[str, Any]) -> str | None:
    """The record files of the last stage and how many records each holds, as the card says."""
    files = history.get("data")
    known = [one for one in files if isinstance(one, dict)] if isinstance(files, list) else []
    named = [f"{'/'.join(Path(str(one.get('records'))).parts[-3:])} ({one.get('count')})" for one in known]
    return visible(", ".join(named))[:500] or None


def _licence(folder: Path) -> str | None:
    """What the hub's card, `README.md`, says at its beginning."""
    file = folder / "README.md"
    start = file.read_bytes()[:4096].decode("utf-8", "replace") if file.is_file() else ""
    found = _LICENCE.search(start) if start.startswith("---") else None
    return None if found is None else visible(found[1])[:100]

"""A worker: takes shards one after the other until all are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from artquant.data.predictions import Prediction, prediction_line
from artquant.errors import visible
from artquant.listing.entry import Entry
from artquant.shards.claims import LEASE, Claims
from artquant.shards.manifest import Run, shard_name
from artquant.shards.results import clear_parts, ending_of, write_result

_PAUSE = 1.0  # seconds between two looks at shards that others work on


Read = Callable[[Sequence[Entry]], Iterable[Sequence[tuple[Entry, Any, str | None, Any]]]]  # as `read_pictures` gives
Score = Callable[[Sequence[Entry]], Iterable[dict[str, Any]]]  # rows of a shard


class PictureScorer(Protocol):
    """What scores them: an `EachScored`, or what stands for one in a test."""

    def score_pictures(self, pictures: Sequence[Any], attributes: Sequence[str] = ()) -> Sequence[Prediction | str]:
        """Scores of prepared pictures, or why one has none."""


def score_shard(
    entries: Sequence[Entry], read: Read, scorer: PictureScorer, attributes: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """A row for each picture, in order; one without a score has an "error" and the score None.

    Rows depend on the entries alone, whoever scores them and whatever else was scored before.
    """
    for batch in read(entries):
        good = [picture for _, picture, error, _ in batch if error is None]
        scores = iter(scorer.score_pictures(good, attributes) if good else ())
        for entry, _, error, _ in batch:
            found = next(scores) if error is None else error
            if isinstance(found, str):
                yield {"id": visible(entry.id), "image": visible(entry.path), "score": None, "error": found}
            else:
                yield prediction_line(visible(entry.id), entry.path, entry.gt_score, found)


def work(
    run: Run,
    score: Score,
    worker: tuple[int, int] = (1, 1),
    lease: float = LEASE,
    done: Callable[[int], object] = lambda pictures: None,
) -> int:
    """Score shards until every one has its result; how many pictures this worker has scored.

    Args:
        score: rows of a shard. worker: K of N, from 1: it begins with its share, then helps the others. lease: seconds
            after which the shard of a worker that gives no sign of life is taken over. done: told of the pictures of
            each shard that has a result, whoever made it.

    Raises:
        ArtQuantError: a list or a result was changed, or a result cannot be written; all others stay.
    """
    claims, scored = Claims(run.claims, lease), 0
    first = (worker[0] - 1) * len(run) // worker[1]
    todo = [*range(first, len(run)), *range(first)]
    while todo:
        left = []
        for number in todo:
            is_done = ending_of(run, number) is not None
            if not is_done and (claim := claims.take(shard_name(number))):
                with claim:
                    scored += _make(run, number, score, claim.generation > 1)
                    is_done = ending_of(run, number) is not None
            if is_done:
                done(run.manifest.count(number))
            else:
                left.append(number)
        if todo := left:
            time.sleep(min(_PAUSE, lease / 4))
    return scored


def _make(run: Run, number: int, score: Score, is_taken_over: bool) -> int:
    """Make a claimed shard's result, unless it was made just before; how many pictures were scored."""
    if ending_of(run, number) is not None:
        return 0
    if is_taken_over:
        clear_parts(run, number)
    entries = run.entries(number)
    run.require_inputs(entries)
    rows = list(score(entries))
    if any("error" in row for row in rows):
        run.require_inputs(entries)  # an archive that vanished meanwhile is no fault of its pictures
    write_result(run, number, rows)
    return len(entries)

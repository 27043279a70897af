"""Figures of the judges of a collection: what they accepted and marked, and how they did when they were tried."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from artquant.evaluate.metrics import Estimate
from artquant.evaluate.text_figures import srcc
from artquant.pages.charts import Map, counted
from artquant.rad.outcome import Entry, Outcome
from artquant.texts.descriptions import PARTS


@dataclass(frozen=True)
class Accepted:
    """Descriptions of a part that were written in a round, and those that nobody objected to."""

    part: str
    round: int
    written: int
    accepted: int


@dataclass(frozen=True)
class Caught:
    """Canaries: how often a judge rejected what it should, with the ends of Wilson's 95 % interval."""

    role: str
    tried: int
    caught: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.caught / self.tried


@dataclass(frozen=True)
class JudgeFigures:
    """Of a whole collection."""

    accepted: tuple[Accepted, ...]
    objections: dict[str, int]  # descriptions that were objected to, by who did
    marks: dict[str, tuple[int, ...]]  # of each part, how many marks of 0, 1, ... 10 (rounded)
    mean_mark: float | None  # of what was kept
    marks_srcc: Estimate | None  # of marks, in all rounds, with people's scores
    marks_by_score: Map | None
    read_by_score: Map | None
    canaries: tuple[Caught, ...]


@dataclass
class JudgeTally:
    """Counts outcomes one by one."""

    rounds: Counter[tuple[int, str, bool]] = field(default_factory=Counter)  # round, part, accepted
    objections: Counter[str] = field(default_factory=Counter)
    marks: list[tuple[float, float, str, bool]] = field(default_factory=list)  # score, mark, part, kept
    reads: list[tuple[float, float]] = field(default_factory=list)  # score, read
    canaries: Counter[tuple[str, bool]] = field(default_factory=Counter)

    def add(self, entry: Entry, outcome: Outcome) -> None:
        """Another picture."""
        for draft in outcome.drafts:
            self.rounds[draft.round, draft.part, not draft.objections] += 1
            self.objections.update({who for who, _ in draft.objections})
            if draft.mark is not None:
                self.marks.append((entry.score, draft.mark, draft.part, draft.kept))
        self.canaries.update((canary.role, canary.caught) for canary in outcome.canaries)
        if outcome.score_read is not None:
            self.reads.append((entry.score, outcome.score_read))

    def figures(self) -> JudgeFigures:
        """Of all pictures so far."""
        kept = [mark for _, mark, _, is_kept in self.marks if is_kept]
        both = np.array([(score, mark) for score, mark, _, _ in self.marks], np.float64).reshape(-1, 2)
        return JudgeFigures(
            tuple(self._accepted(round_, part) for round_ in self._numbers() for part in PARTS),
            dict(self.objections.most_common()),
            {part: self._marks_of(part) for part in PARTS},
            float(np.mean(kept)) if kept else None,
            srcc(both[:, 1], both[:, 0]),
            counted(both, (0.0, 10.0)),
            counted(np.array(self.reads, np.float64).reshape(-1, 2)),
            tuple(self._caught(role) for role in sorted({role for role, _ in self.canaries})),
        )

    def _numbers(self) -> list[int]:
        return sorted({round_ for round_, _, _ in self.rounds})

    def _accepted(self, round_: int, part: str) -> Accepted:
        accepted, rejected = self.rounds[round_, part, True], self.rounds[round_, part, False]
        return Accepted(part, round_, accepted + rejected, accepted)

    def _marks_of(self, part: str) -> tuple[int, ...]:
        marks = [min(max(round(mark), 0), 10) for _, mark, of, _ in self.marks if of == part]
        return tuple(np.bincount(np.array(marks, np.int64), minlength=11).tolist())

    def _caught(self, role: str) -> Caught:
        from scipy.stats import binomtest

        caught, missed = self.canaries[role, True], self.canaries[role, False]
        interval = binomtest(caught, caught + missed).proportion_ci(method="wilson")
        return Caught(role, caught + missed, caught, float(interval.low), float(interval.high))

"""Protocols of published test lists: how many pictures, on which scale, and what is reported of them.

A figure on another list, or on a part of it, is not comparable with published ones: such a list is refused, or its
figures are marked. Counts, and the lowest and highest scores of the lists: ArtiMuse's and UniPercept's test lists,
APDDv2's and KonIQ-10k's own files; BAID: Yi et al. 2023. What is stated nowhere is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from artquant.errors import ArtQuantError
from artquant.evaluate.curves import FUNCTIONS

_NEAR = 0.05  # share of the scale that the ends of a list may differ from the published list's: rounding, revisions
_FILLED = 0.3  # share of the scale that scores fill at least, where the ends are not stated
_SLACK = 1e-6  # share of the scale that a rounded end may lie outside it


@dataclass(frozen=True)
class ScoreForm:
    """A scale on which a list is published; all in true scores."""

    low: float
    high: float
    ends: tuple[float, float] | None  # the list's lowest and highest score
    votes: tuple[float, ...] | None = None  # values of the raw votes, where these are published

    @property
    def width(self) -> float:
        """Of the scale."""
        return self.high - self.low

    def fault(self, truth: np.ndarray) -> str | None:
        """Why true scores [N] are not of a list on this scale."""
        low, high = float(truth.min()), float(truth.max())
        room = _SLACK * self.width
        if low < self.low - room or high > self.high + room:
            return f"scores {low:g} to {high:g} on a scale of {self.low:g} to {self.high:g}"
        if self.ends is None:
            thin = high - low < _FILLED * self.width
            return f"scores {low:g} to {high:g} fill little of {self.low:g} to {self.high:g}" if thin else None
        off = max(abs(low - self.ends[0]), abs(high - self.ends[1]))
        there = f"scores {low:g} to {high:g}, the list's are {self.ends[0]:g} to {self.ends[1]:g}"
        return there if off > _NEAR * self.width else None


@dataclass(frozen=True)
class Protocol:
    """A test list and what is reported of it."""

    name: str
    title: str
    n: int | None  # pictures of the list; None: not stated
    forms: tuple[ScoreForm, ...]  # the first is the usual one
    metrics: tuple[str, ...] = ("SRCC", "PLCC")
    fits: tuple[int, ...] = (4,)  # logistic fits beside the raw PLCC, by number of parameters
    threshold: float | None = None  # accuracy of "above it or not"

    def form_of(self, truth: np.ndarray) -> ScoreForm | None:
        """The scale on which true scores [N] are; None: none of the protocol's."""
        return next((form for form in self.forms if form.fault(truth) is None), None)


PROTOCOLS = {
    one.name: one
    for one in (
        Protocol(
            "apddv2",
            "APDDv2, test",
            1002,
            (ScoreForm(1, 10, (1.833, 9.286)),),
            ("SRCC", "PLCC", "KRCC", "MAE", "MSE"),
        ),
        Protocol(
            "ava",
            "AVA, test",
            19_930,
            (ScoreForm(1, 10, (2.07, 8.3), tuple(map(float, range(1, 11)))),),
            threshold=5.0,
        ),
        Protocol("tad66k", "TAD66K, test", 14_079, (ScoreForm(1, 10, (1.39, 9.28)),)),
        Protocol("flickr-aes", "FLICKR-AES, test", 4737, (ScoreForm(0.2, 1, (0.2, 1.0)),)),
        Protocol("para", "PARA, test", 3000, (ScoreForm(1, 5, (1.16, 4.3)),)),
        Protocol(
            "koniq",
            "KonIQ-10k, test",
            2015,
            (
                ScoreForm(1, 100, (4.17, 88.24)),
                ScoreForm(1, 5, (1.19, 4.31), (1.0, 2.0, 3.0, 4.0, 5.0)),  # means of the votes
                ScoreForm(1, 5, (1.13, 4.53)),  # the first, mapped
            ),
        ),
        Protocol("baid", "BAID, test", 6400, (ScoreForm(0, 10, None),)),
        Protocol("artimuse-10k", "ArtiMuse-10K, test", 1002, (ScoreForm(1, 10, (1.0, 9.78)),)),
    )
}


def marks_of(protocol: Protocol, truth: np.ndarray, n: int) -> tuple[str, ...]:
    """How a list differs from the protocol's; empty: it does not.

    Args:
        truth: true scores [N] of the pictures that count. n: pictures of the list, with those that are not predicted.
    """
    found = []
    if protocol.n is not None and n != protocol.n:
        found.append(f"n {n:,} instead of {protocol.n:,}")
    elif n != len(truth):
        found.append(f"n {len(truth):,} of its {n:,}: some are not predicted")
    if (fault := protocol.forms[0].fault(truth)) is not None and protocol.form_of(truth) is None:
        found.append(fault)
    return tuple(found)


def require_protocol(protocol: Protocol, truth: np.ndarray, n: int, where: str) -> None:
    """Refuse a list that is not the protocol's, as in :func:`marks_of`.

    Raises:
        ArtQuantError: in one line, with `where`.
    """
    if marks := marks_of(protocol, truth, n):
        raise ArtQuantError(
            f"{where}: {marked(protocol, marks)}; give the whole published list, or --mark to go on with marked figures"
        )


def marked(protocol: Protocol, marks: Sequence[str]) -> str:
    """What stands at figures of a list that is not the protocol's."""
    return f"not the protocol's list of {protocol.title} ({'; '.join(marks)})"


def protocol_record(protocol: Protocol) -> dict[str, Any]:
    """As plain values, for JSON."""
    return {
        "name": protocol.name,
        "title": protocol.title,
        "n": protocol.n,
        "ranges": [[form.low, form.high] for form in protocol.forms],
        "metrics": list(protocol.metrics),
        "fits": [f"logistic{parameters}: {FUNCTIONS[parameters]}" for parameters in protocol.fits],
        "threshold": protocol.threshold,
        "votes": any(form.votes for form in protocol.forms),
    }


def protocol_rows() -> list[list[str]]:
    """A table of all protocols, its header first."""
    rows = [["protocol", "pictures", "range", "scores of the list", "figures", "fits", "accuracy at", "raw votes"]]
    for one in PROTOCOLS.values():
        ends = [(form.ends and f"{form.ends[0]:g}-{form.ends[1]:g}") or "not stated" for form in one.forms]
        rows.append(
            [
                one.name,
                "n not stated" if one.n is None else f"{one.n:,}",
                " or ".join(dict.fromkeys(f"{form.low:g}-{form.high:g}" for form in one.forms)),
                " or ".join(ends),
                ", ".join(one.metrics),
                ", ".join(f"logistic{parameters}" for parameters in one.fits),
                "-" if one.threshold is None else f"{one.threshold:g}",
                "EMD, where the truth has them" if any(form.votes for form in one.forms) else "-",
            ]
        )
    return rows

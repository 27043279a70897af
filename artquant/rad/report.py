"""The report on a collection, alone or beside other sets of descriptions: figures, and a page to read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artquant.data.picture_names import PictureNames
from artquant.errors import ArtQuantError, visible
from artquant.evaluate.report import aligned
from artquant.evaluate.text_figures import MEANINGS, TextFigures, measure, ranks
from artquant.files.json_files import write_text
from artquant.pages.html import page
from artquant.rad import sections
from artquant.rad.examples import Examples
from artquant.rad.judging import JudgeFigures, JudgeTally
from artquant.rad.store import Store, Totals
from artquant.texts.text_sets import TextSet, read_text_set


@dataclass(frozen=True)
class Summary:
    """All figures of a report."""

    out: Path
    collection: str  # its name
    states: dict[str, int]  # pictures by state
    sets: tuple[TextFigures, ...]  # the collection's first
    judges: JudgeFigures
    roles: dict[str, Totals]
    endpoints: dict[str, Totals]

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        totals = {
            name: {key: value._asdict() for key, value in found.items()}
            for name, found in (("roles", self.roles), ("endpoints", self.endpoints))
        }
        ranked = {name: ranks(self.sets, name) for name, meaning in MEANINGS.items() if meaning.better}
        return asdict(self) | {"out": str(self.out), "ranks": ranked} | totals


def write_report(store: Store, images: Path, out: Path, others: Sequence[Path] = (), examples: int = 12) -> Summary:
    """Write one HTML file that needs nothing else; texts are held in memory, pictures one at a time.

    Args:
        images: folder that the names of pictures are relative to.
        out: the file, replaced in one step.
        others: files of descriptions (:func:`artquant.texts.text_sets.read_text_set`) to be measured beside the
            collection; where their records have no score, the collection's is taken.
        examples: pictures shown of each kind.

    Raises:
        ArtQuantError: one of the others cannot be read, or the file cannot be written or is one of those that are read.
    """
    if os.path.realpath(out) in map(os.path.realpath, (*store.files, *others)):
        raise ArtQuantError(f"{out}: would overwrite what the report is about; name another file with --out")
    config = store.about("config") or {}
    name = str(config.get("run") or store.path.parent.name)
    ours, shown, tally, read, scores = (
        TextSet(name),
        Examples(examples),
        JudgeTally(),
        list[float](),
        dict[str, float](),
    )
    for entry, outcome in store.outcomes():
        scores[entry.image] = entry.score
        tally.add(entry, outcome)
        shown.add(entry, outcome)
        if outcome.texts:
            ours.add(entry.image, entry.score, outcome.texts)
            read.append(float("nan") if outcome.score_read is None else outcome.score_read)
    figures, learned = measure(ours, np.array(read))
    sets = [figures]
    for path in others:
        sets.append(measure(read_text_set(path, scores), first=learned)[0])
    summary = Summary(
        out, name, store.states(), tuple(sets), tally.figures(), store.totals("role"), store.totals("endpoint")
    )
    names = PictureNames()
    write_text(
        out,
        page(
            f"Descriptions: {name}",
            sections.head(name, summary.states, summary.sets, summary.judges, summary.roles),
            sections.text_figures(summary.sets),
            sections.acceptance(summary.judges),
            sections.marks(summary.judges),
            sections.lengths(figures),
            sections.same_texts(figures, ours),
            sections.read_again(figures, summary.judges, ours),
            sections.canaries(summary.judges),
            sections.calls(summary.roles, summary.endpoints),
            *sections.pictures(shown, lambda image: names.path(images, image)),
            sections.lost(shown, summary.states),
            sections.settings(config),
        ),
    )
    return summary


def report_lines(summary: Summary) -> list[str]:
    """The figures for a terminal."""
    lines = [f"{visible(summary.collection)}: {sections.counted(summary.states)}", ""]
    heads = ["", *(visible(one.name) for one in summary.sets)]
    rows = [
        [MEANINGS[name].title, *(sections.shown(one, name) for one in summary.sets)]
        for name in sections.listed(summary.sets)
    ]
    lines += aligned([heads, *rows])
    lines += [""] + [
        f"canaries, {one.role}: {one.caught} of {one.tried} caught ({one.low:.0%} to {one.high:.0%})"
        for one in summary.judges.canaries
    ]
    calls = sum(totals.calls for totals in summary.roles.values())
    cost = sum(totals.cost for totals in summary.roles.values())
    return [*lines, f"{calls:,} calls, cost {cost:,.2f}", f"Report: {visible(summary.out)}"]

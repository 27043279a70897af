"""A comparison as text and as plain values for JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from artquant.compare.comparison import Apart, Comparison
from artquant.compare.significance import LEVEL, Contest, Difference
from artquant.errors import ArtQuantError, visible
from artquant.evaluate.report import aligned, interval_text
from artquant.files.json_files import read_json

KIND = "artquant comparison"  # what a file of a comparison says it is
_PAIRS_SHOWN = 3  # of which pictures are listed on the terminal


def as_record(comparison: Comparison) -> dict[str, Any]:
    """Everything, for JSON; `write_json` writes it."""
    return {
        "kind": KIND,
        "truth": visible(comparison.truth),
        **asdict(comparison.settings),
        **asdict(comparison.draws),
        "groups": comparison.groups,
        "models": {
            name: {"predictions": visible(file), **asdict(comparison.spreads[name])}
            for name, file in comparison.files.items()
        },
        "total": _contest_record(comparison.total),
        "parts": {
            what: {label: _contest_record(one) for label, one in part.items()}
            for what, part in comparison.parts.items()
        },
        "apart": [
            {"first": first, "second": second, "pictures": [asdict(one) for one in pictures]}
            for (first, second), pictures in comparison.apart.items()
        ],
        "notes": list(comparison.notes),
    }


def _contest_record(contest: Contest) -> dict[str, Any]:
    return {
        "n": contest.n,
        "figures": {name: asdict(figure) for name, figure in contest.figures.items()},
        "differences": [{**asdict(one), "verdict": one.verdict} for one in contest.differences],
    }


def format_comparison(comparison: Comparison) -> str:
    """Plain text: figures, differences with their verdicts, parts, pictures on which models differ, notes."""
    total, draws = comparison.total, comparison.draws
    groups = "" if comparison.groups is None else f" in {comparison.groups} groups"
    lines = [f"{total.metric} over {total.n} pictures{groups} of {comparison.truth}", "", *_models(comparison), ""]
    lines += _differences([("", total)])
    for what, part in comparison.parts.items():
        lines += ["", f"{what}:", *(_differences(list(part.items())) if part else ["nothing to compare"])]
    lines.append("")
    if draws.bootstrap:
        seed = comparison.settings.seed
        lines.append(f"95 %: percentile interval of {draws.bootstrap} paired bootstrap resamples, seed {seed}")
    lines += [
        f"p: of {draws.permutations} permutations (of parts: as many as their rows need), two-sided",
        f"Holm: p corrected for all rows of its table; verdict: Holm below {LEVEL:g}",
        "Williams: the quick figure, which finds too many",
    ]
    lines += _pictures(comparison)
    return "\n".join(visible(line) for line in [*lines, *(f"note: {note}" for note in comparison.notes)])


def _models(comparison: Comparison) -> list[str]:
    rows = [["model", comparison.total.metric, "95 %", "lowest", "highest", "tied"]]
    for name, figure in comparison.total.figures.items():
        spread = comparison.spreads[name]
        ends = f"{spread.lowest:.4g}", f"{spread.highest:.4g}"
        rows.append([name, f"{figure.value:.4f}", interval_text(figure.low, figure.high), *ends, str(spread.tied)])
    return aligned_names(rows)


def aligned_names(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table in which names stand; nothing in them breaks a line or is obeyed by a terminal."""
    return aligned([[visible(cell) for cell in row] for row in rows])


def _differences(contests: list[tuple[str, Contest]]) -> list[str]:
    """A row for each pair of each contest."""
    rows = [["difference", "n", "value", "95 %", "p", "Holm", "Williams", "verdict"]]
    for label, contest in contests:
        rows += [_row(label, contest.n, one) for one in contest.differences]
    return aligned_names(rows)


def _row(label: str, n: int, one: Difference) -> list[str]:
    name = f"{label}: {one.first} - {one.second}" if label else f"{one.first} - {one.second}"
    quick = "-" if one.p_williams is None else f"{one.p_williams:.4f}"
    interval = interval_text(one.value.low, one.value.high)
    return [name, str(n), f"{one.value.value:+.4f}", interval, f"{one.p:.4f}", f"{one.p_holm:.4f}", quick, one.verdict]


def _pictures(comparison: Comparison) -> list[str]:
    """The pictures on which the first pairs differ most."""
    lines: list[str] = []
    for (first, second), pictures in list(comparison.apart.items())[:_PAIRS_SHOWN]:
        if pictures:
            header = [
                f"most apart: {first} and {second}",
                "truth",
                first,
                second,
                f"place: {first}",
                f"place: {second}",
            ]
            lines += ["", *aligned_names([header, *(_picture(one) for one in pictures)])]
    more = len(comparison.apart) - _PAIRS_SHOWN
    return [*lines, "", f"pictures of {more} more pairs: --json"] if more > 0 else lines


def _picture(one: Apart) -> list[str]:
    return [one.id, *(f"{score:.4g}" for score in (one.truth, *one.scores)), *(f"{place:.3f}" for place in one.places)]


def require_replaceable(out: Path) -> None:
    """Raises ArtQuantError: the file is there, and was written by no comparison; names it."""
    if not os.path.lexists(out):
        return
    try:
        record = read_json(out)
    except ArtQuantError:
        record = None
    if not isinstance(record, dict) or record.get("kind") != KIND:
        raise ArtQuantError(f"{out}: is there and was written by no comparison; name another file")

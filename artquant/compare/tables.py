"""A matrix as text, Markdown, LaTeX, CSV and plain values; names in it are whatever folders are called."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from artquant.compare.matrix import Cell, Matrix
from artquant.compare.report import aligned_names
from artquant.errors import visible
from artquant.evaluate.report import interval_text
from artquant.listing.result_tables import harmless

_NONE = "-"  # in the place of a cell that there is not
_RANKS = "rank: models not told apart from the best of their group share it"
_LATEX = {
    **{one: "\\" + one for one in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "-": "{-}",  # two of them would become one dash
}


def matrix_record(matrix: Matrix) -> dict[str, Any]:
    """Everything, for JSON; a cell that there is not is null."""
    return {
        "kind": "artquant matrix",
        **asdict(matrix.settings),
        "models": list(matrix.models),
        "datasets": {name: {"n": contest.n} for name, contest in matrix.contests.items()},
        "cells": {
            model: {
                name: asdict(cell) if (cell := matrix.cells.get((model, name))) else None for name in matrix.datasets
            }
            for model in matrix.models
        },
        "differences": {
            name: [{**asdict(one), "verdict": one.verdict} for one in contest.differences]
            for name, contest in matrix.contests.items()
        },
        "notes": list(matrix.notes),
    }


def as_text(matrix: Matrix) -> str:
    """Aligned columns, each figure with its rank, its interval below."""
    rows = [[matrix.settings.metric, *(f"{name} (n {matrix.contests[name].n})" for name in matrix.datasets)]]
    for model in matrix.models:
        cells = [matrix.cells.get((model, name)) for name in matrix.datasets]
        rows.append([model, *(_NONE if cell is None else f"{cell.figure.value:.4f} ({cell.rank})" for cell in cells)])
        if any(cell is not None and cell.figure.low is not None for cell in cells):
            texts = ("" if cell is None else interval_text(cell.figure.low, cell.figure.high) for cell in cells)
            rows.append(["", *texts])
    lines = [*aligned_names(rows), _RANKS, *(f"note: {note}" for note in matrix.notes)]
    return "\n".join(visible(line) for line in lines)


def as_markdown(matrix: Matrix) -> str:
    """A table; first ranks are bold."""

    def cell(one: Cell) -> str:
        return f"**{one.figure.value:.3f}** (1)" if one.rank == 1 else f"{one.figure.value:.3f} ({one.rank})"

    rows = _rows(matrix, _markdown, cell)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- |" + " ---: |" * len(matrix.datasets), *lines[1:]])


def as_latex(matrix: Matrix) -> str:
    """A tabular; first ranks are bold."""

    def cell(one: Cell) -> str:
        value = f"{one.figure.value:.3f}"
        return (rf"\textbf{{{value}}}" if one.rank == 1 else value) + f" ({one.rank})"

    lines = [" & ".join(row) + r" \\" for row in _rows(matrix, _latex, cell)]
    columns = "l" + "r" * len(matrix.datasets)
    rules = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", lines[0], r"\hline", *lines[1:], r"\hline"]
    return "\n".join([*rules, r"\end{tabular}"])


def as_csv(matrix: Matrix) -> str:
    """A line for each cell; names that a spreadsheet would take for a formula begin with an apostrophe."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n").writerow
    write(("model", "dataset", "n", "metric", "value", "low", "high", "rank"))
    for model in matrix.models:
        for name in matrix.datasets:
            cell, n = matrix.cells.get((model, name)), matrix.contests[name].n
            figures = [_NONE] * 4
            if cell is not None:
                ends = cell.figure.value, cell.figure.low, cell.figure.high
                figures = [*(_NONE if end is None else repr(end) for end in ends), str(cell.rank)]
            write((harmless(visible(model)), harmless(visible(name)), n, matrix.settings.metric, *figures))
    return out.getvalue().rstrip("\n")


def _rows(matrix: Matrix, escaped: Callable[[str], str], shown: Callable[[Cell], str]) -> list[list[str]]:
    rows = [[matrix.settings.metric, *(escaped(name) for name in matrix.datasets)]]
    for model in matrix.models:
        cells = [matrix.cells.get((model, name)) for name in matrix.datasets]
        rows.append([escaped(model), *(_NONE if cell is None else shown(cell) for cell in cells)])
    return rows


def _markdown(name: str) -> str:
    """Nothing in a name is markup."""
    return "".join(f"\\{one}" if one in "\\`*_{}[]<>()#+-.!|~$&" else one for one in visible(name))


def _latex(name: str) -> str:
    return "".join(_LATEX.get(one, one) for one in visible(name))


FORMATS: Mapping[str, Callable[[Matrix], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
}

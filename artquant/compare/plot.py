"""Plots of comparisons; matplotlib is loaded only when one is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from artquant.compare.comparison import Comparison
from artquant.compare.matrix import Matrix
from artquant.errors import ArtQuantError
from artquant.evaluate.plot import IDENTITY, POINT, TEXT, require_matplotlib, shown, tidy
from artquant.files.json_files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SOFTWARE = "artquant compare"  # what our pictures say they were made by
_LONGEST_NAME = 40
_TALLEST = 400  # inches; beyond 436 matplotlib draws nothing


def require_drawable(out: Path) -> None:
    """Refuse what `write_picture` would: raises ArtQuantError: no matplotlib, no .png, or a file that is not ours."""
    from PIL import Image

    require_matplotlib()
    if out.suffix.lower() != ".png":
        raise ArtQuantError(f"{out}: plots are PNG files; name it .png")
    if not out.exists():
        return
    try:
        with Image.open(out) as picture:
            is_ours = picture.info.get("Software") == _SOFTWARE
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        is_ours = False
    if not is_ours:
        raise ArtQuantError(f"{out}: is there and was drawn by no comparison; name another file")


def _written(figure: Figure, out: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with whole_file(out) as part:
        FigureCanvasAgg(figure).print_png(part, metadata={"Software": _SOFTWARE})


def _names(*names: str) -> list[str]:
    return [shown(name, _LONGEST_NAME) for name in names]


def draw_differences(comparison: Comparison, out: Path) -> None:
    """Write a PNG of the differences of all pairs with their intervals, those that are told apart in colour."""
    require_drawable(out)
    from matplotlib.figure import Figure

    rows = comparison.total.differences[::-1]
    figure = Figure(
        figsize=(8, min(1.7 + 0.36 * len(rows), _TALLEST)), dpi=150, facecolor="white", layout="constrained"
    )
    axes = figure.add_subplot()
    axes.axvline(0, color=TEXT, linewidth=1, linestyle=(0, (5, 3)), zorder=2)
    for row, one in enumerate(rows):
        color = IDENTITY if one.better is None else POINT
        if one.value.low is not None and one.value.high is not None:
            axes.plot([one.value.low, one.value.high], [row, row], color=color, alpha=0.45, linewidth=4, zorder=3)
        axes.scatter([one.value.value], [row], s=36, color=color, zorder=4)
    axes.set_yticks(range(len(rows)), [" - ".join(_names(one.first, one.second)) for one in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    metric, n = comparison.total.metric, comparison.total.n
    less = " (less is better)" if metric == "MAE" else ""
    axes.set_xlabel(f"difference in {metric}{less} with its 95 % interval; blue: told apart, grey: not")
    tidy(axes)
    axes.set_title(f"{metric} over {n} pictures", fontsize=11.5, fontweight="bold", color=TEXT, loc="left")
    _written(figure, out)


def draw_matrix(matrix: Matrix, out: Path) -> None:
    """Write a PNG of the figures with their ranks, shaded by rank."""
    require_drawable(out)
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    models, datasets, metric = matrix.models, matrix.datasets, matrix.settings.metric
    named = max(2.6, 0.9 + 0.11 * max(len(name) for name in _names(*models)))  # inches
    size = (min(named + 0.95 * len(datasets), _TALLEST), min(1.9 + 0.42 * len(models), _TALLEST))
    figure = Figure(figsize=size, dpi=150, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    shade = _shade(matrix)
    shades = LinearSegmentedColormap.from_list("figures", ["#f8fafc", POINT])
    axes.set_facecolor("#e5e7eb")  # where there is no figure
    axes.imshow(shade, cmap=shades, vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(shade.shape):
        cell = matrix.cells.get((models[row], datasets[column]))
        text = "-" if cell is None else f"{cell.figure.value:.3f} ({cell.rank})"
        weight = "bold" if cell is not None and cell.rank == 1 else "normal"
        color = "white" if shade[row, column] > 0.6 else TEXT
        axes.text(column, row, text, ha="center", va="center", fontsize=8, weight=weight, color=color)
    axes.set_xticks(range(len(datasets)), _names(*datasets), rotation=30, ha="right")
    axes.set_yticks(range(len(models)), _names(*models))
    tidy(axes)
    axes.grid(visible=False)
    axes.set_title(f"{metric} (rank)", fontsize=11.5, fontweight="bold", color=TEXT, loc="left")
    axes.set_xlabel("bold: first, or not told apart from it", fontsize=9)
    _written(figure, out)


def _shade(matrix: Matrix) -> np.ndarray:
    """[models, datasets], 1 of the first rank in its data set to 0 of the last possible; NaN where there is none."""
    shade = np.full((len(matrix.models), len(matrix.datasets)), np.nan)
    for (model, dataset), cell in matrix.cells.items():
        others = max(1, len(matrix.contests[dataset].figures) - 1)
        shade[matrix.models.index(model), matrix.datasets.index(dataset)] = 1 - (cell.rank - 1) / others
    return shade

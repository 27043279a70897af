"""Plots of predicted against true scores; matplotlib is loaded only when one is drawn."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from artquant.errors import ArtQuantError, visible
from artquant.evaluate.metrics import Estimate
from artquant.files.json_files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINT, TREND, IDENTITY, TEXT = "#2b6cb0", "#c2410c", "#6b7280", "#1f2937"
_LONGEST = 70  # characters of a title


def shown(name: str, most: int = _LONGEST) -> str:
    """A name as a plot may show it: no formula, no line break, no more than so many characters."""
    text = visible(name)
    return (text if len(text) <= most else text[: most - 1] + "…").replace("$", r"\$")


def require_matplotlib() -> None:
    """Raises ArtQuantError, naming the extra to install, where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ArtQuantError(
            "matplotlib is missing: install it with pip install 'artquant[eval]', or leave the plot out"
        )


def draw_scatter(predicted: np.ndarray, truth: np.ndarray, title: str, subtitle: str, out: Path) -> None:
    """Write a PNG of predicted [N] against true scores [N] with the identity line and the median prediction per bin.

    Args:
        title, subtitle: the first two lines over the plot.
        out: the picture, replaced in one step.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 6.6), dpi=150, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.11, 0.09, 0.74, 0.74 * 6.4 / 6.6))
    both = np.concatenate([predicted, truth])
    margin = 0.04 * np.ptp(both)
    limits = (both.min() - margin, both.max() + margin)
    size = float(np.clip(12000 / truth.size, 3, 28))
    axes.scatter(truth, predicted, s=size, color=POINT, alpha=0.4, linewidths=0, zorder=2, label="one image")
    axes.plot(limits, limits, color=IDENTITY, linewidth=1.2, linestyle=(0, (5, 3)), zorder=3, label="predicted = true")
    centres, medians = _binned_medians(predicted, truth)
    axes.plot(centres, medians, color="white", linewidth=3.5, zorder=4)
    axes.plot(centres, medians, color=TREND, linewidth=2, marker="o", markersize=4, zorder=5, label="median prediction")
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel="true score", ylabel="predicted score")
    axes.set_xticks([tick for tick in axes.get_yticks() if limits[0] <= tick <= limits[1]])
    axes.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=TEXT)
    tidy(axes)
    _margins(figure, axes, predicted, truth, limits)
    figure.text(0.11, 0.965, shown(title), fontsize=11.5, fontweight="bold", color=TEXT, va="center")
    figure.text(0.11, 0.93, subtitle, fontsize=9, color=TEXT, va="center")
    with whole_file(out) as part:
        canvas.print_png(part)


def draw_attributes(correlations: Mapping[str, Estimate], total: Estimate, title: str, out: Path) -> None:
    """Write a PNG of each attribute's SRCC with its interval, highest first; a line marks the total's.

    Args:
        title: the first line over the plot.
        out: the picture, replaced in one step.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = sorted(correlations, key=lambda name: correlations[name].value)
    figure = Figure(figsize=(6.4, 1.6 + 0.34 * len(names)), dpi=150, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.axvline(total.value, color=TREND, linewidth=1.5, linestyle=(0, (5, 3)), zorder=2)
    for row, name in enumerate(names):
        estimate = correlations[name]
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [row, row], color=POINT, alpha=0.45, linewidth=4, zorder=3)
        axes.scatter([estimate.value], [row], s=36, color=POINT, zorder=4)
    axes.set_yticks(range(len(names)), [shown(name, 40) for name in names])
    mean = np.mean([estimate.value for estimate in correlations.values()])
    axes.set_xlabel(f"SRCC with its 95 % interval (mean {mean:.3f}; dashed: the total's, {total.value:.3f})")
    tidy(axes)
    axes.set_title(shown(title), fontsize=11.5, fontweight="bold", color=TEXT, loc="left")
    with whole_file(out) as part:
        canvas.print_png(part)


def _binned_medians(predicted: np.ndarray, truth: np.ndarray) -> tuple[list[float], list[float]]:
    """Median truth and median prediction in up to ten equally wide bins of the truth with at least 5 images."""
    edges = np.linspace(truth.min(), truth.max(), 11)
    bins = np.clip(np.digitize(truth, edges) - 1, 0, 9)
    filled = [bins == index for index in range(10) if (bins == index).sum() >= 5]
    return [float(np.median(truth[mask])) for mask in filled], [float(np.median(predicted[mask])) for mask in filled]


def tidy(axes: Axes) -> None:
    """The looks of all plots: a light grid, no frame."""
    axes.grid(color="#e5e7eb", linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(colors=TEXT, labelsize=9, length=0)
    axes.xaxis.label.set_color(TEXT)
    axes.yaxis.label.set_color(TEXT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#9ca3af")


def _margins(figure: Figure, axes: Axes, predicted: np.ndarray, truth: np.ndarray, limits: tuple[float, float]) -> None:
    """Histograms of the true scores above and of the predicted scores at the right."""
    left, bottom, width, height = axes.get_position().bounds
    edges = np.linspace(*limits, 41).tolist()
    top = figure.add_axes((left, bottom + height + 0.01, width, 0.07))
    top.hist(truth, bins=edges, color=IDENTITY, alpha=0.55)
    top.set_xlim(limits)
    right = figure.add_axes((left + width + 0.01, bottom, 0.075, height))
    right.hist(predicted, bins=edges, orientation="horizontal", color=POINT, alpha=0.55)
    right.set_ylim(limits)
    for histogram in (top, right):
        histogram.axis("off")

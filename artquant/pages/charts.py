"""Small charts as inline SVG, with a title and a description for those who do not see them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from artquant.pages.html import Markup, element

_WIDTH, _HEIGHT, _SQUARE = 420, 220, 400  # the last: height of what has the same quantity on both axes
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 16, 40  # margins for axes
_POINTS = 2_000  # beyond them, a scatter is drawn as a map
_BINS, _FINE = 20, 48  # of a map, in each direction; of one in a scatter's place
_MARGIN = 0.04  # share of the numbers' reach that is left free on either side
_STEPS = (1, 2, 2.5, 5, 10)  # between ticks, times a power of ten


@dataclass(frozen=True)
class Map:
    """How many pictures have this number (column) and that other one (row)."""

    x: tuple[float, float]  # lowest and highest
    y: tuple[float, float]
    counts: tuple[tuple[int, ...], ...]  # [x][y]


@dataclass(frozen=True)
class Band:
    """A point with the ends of its interval."""

    x: float
    y: float
    low: float
    high: float


def counted(pairs: np.ndarray, y: tuple[float, float] | None = None, bins: int = _BINS) -> Map | None:
    """Counts of pairs [N, 2]; the second number on the scale of the first unless another is given. None: no pairs."""
    if not len(pairs):
        return None
    ends = float(pairs.min()), float(pairs.max())
    x = (float(pairs[:, 0].min()), float(pairs[:, 0].max())) if y is not None else ends
    x, y = _wide(x), _wide(y or x)
    counts, _, _ = np.histogram2d(pairs[:, 0], np.clip(pairs[:, 1], *y), bins, (x, y))
    return Map(x, y, tuple(tuple(map(int, column)) for column in counts))


def _wide(ends: tuple[float, float]) -> tuple[float, float]:
    return ends if ends[0] < ends[1] else (ends[0] - 0.5, ends[1] + 0.5)


def bars(
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    form: str = ",.0f",
    axis: str = "",
    most: float | None = None,
) -> Markup:
    """Bars side by side, of up to three series.

    Args:
        labels: under the bars; where there are many, some are left out.
        form: of the values, for `format`.
        axis: what the labels are.
        most: where the axis ends; None: at the highest bar.
    """
    most = most or max((value for values in series.values() for value in values), default=0) or 1
    step, inner = (_WIDTH - _LEFT - _RIGHT) / max(len(labels), 1), _HEIGHT - _TOP - _BOTTOM
    width = step * 0.8 / max(len(series), 1)
    drawn: list[Markup] = [_rule(_TOP), _rule(_TOP + inner), _number(_TOP, most, form), _number(_TOP + inner, 0, form)]
    for number, values in enumerate(series.values(), 1):
        for place, value in enumerate(values):
            x, height = _LEFT + place * step + step * 0.1 + (number - 1) * width, inner * value / most
            drawn.append(_block(x, _TOP + inner - height, max(width - 1, 0.5), height, number))
            if step / len(series) > 30:
                text = format(value, form)
                drawn.append(_text(x + width / 2, _TOP + inner - height - 4, text, class_="value"))
    every = -(-len(labels) // 11)
    drawn += [
        _text(_LEFT + (place + 0.5) * step, _HEIGHT - _BOTTOM + 16, label)
        for place, label in enumerate(labels)
        if place % every == 0
    ]
    drawn.append(_text(_LEFT + (_WIDTH - _LEFT - _RIGHT) / 2, _HEIGHT - 6, axis))
    said = "; ".join(
        f"{name}: " + ", ".join(f"{label} {value:{form}}" for label, value in zip(labels, values, strict=True))
        for name, values in series.items()
    )
    return _figure(title, said, drawn, tuple(series) if len(series) > 1 else ())


def heat(title: str, found: Map, x: str, y: str) -> Markup:
    """A map of how many pictures have two numbers; the darker, the more."""
    axes = _Axes(found.x, found.y)
    total = sum(map(sum, found.counts))
    said = f"{total:,} points; {x} {found.x[0]:.3g} to {found.x[1]:.3g}, {y} {found.y[0]:.3g} to {found.y[1]:.3g}"
    return _figure(title, said, [*_cells(found, axes), *axes.drawn(x, y)], (), axes.height)


def scatter(
    title: str, across: np.ndarray, up: np.ndarray, x: str, y: str, line: Sequence[tuple[float, float]] = ()
) -> Markup:
    """Points of one quantity measured twice, with the line where both are the same; many points as a map.

    Args:
        across, up: [N] each. x, y: what they are.
        line: drawn over the points, such as medians.
    """
    pairs = np.stack([across, up], axis=1)
    ends = _with_margin(float(pairs.min()), float(pairs.max()))
    axes = _Axes(ends, ends, _SQUARE)
    found = counted(pairs, bins=_FINE) if len(pairs) > _POINTS else None
    if found is None:
        points = "".join("M{:.1f} {:.1f}h0".format(*axes.at(*pair)) for pair in pairs.tolist())
        width = f"{min(7.0, max(3.0, 120 / len(pairs) ** 0.5)):.1f}"
        drawn = [element("path", d=points, class_="points", stroke_width=width)]
    else:
        drawn = _cells(found, axes)
    drawn = [*axes.drawn(x, y), *drawn, _path([(ends[0], ends[0]), (ends[1], ends[1])], axes, "same")]
    drawn += [_path(line, axes, "trend")] if line else []
    many = "; a map, the darker the more pictures" if found is not None else ""
    said = f"{len(pairs):,} pictures; {x} across, {y} up, {ends[0]:.3g} to {ends[1]:.3g}{many}; dashed: both the same"
    return _figure(title + many, said, drawn, (), axes.height)


def bands(title: str, points: Sequence[Band], x: str, y: str, same: bool = False, form: str = ".2f") -> Markup:
    """Points with error bars, joined by a line, beside what they would be: the same as x, or else 0."""
    numbers = [value for one in points for value in (one.low, one.high, one.y)]
    across = [one.x for one in points]
    ends = (0.0, 1.0) if same else _with_margin(min(0.0, *numbers), max(0.0, *numbers))
    axes = _Axes(ends if same else _with_margin(min(across), max(across)), ends)
    wanted = [(axes.x[0], axes.x[0] if same else 0.0), (axes.x[1], axes.x[1] if same else 0.0)]
    drawn = [*axes.drawn(x, y), _path(wanted, axes, "same")]
    drawn += [_path([(one.x, one.low), (one.x, one.high)], axes, "bar") for one in points]
    drawn.append(_path([(one.x, one.y) for one in points], axes, "trend"))
    dots = "".join("M{:.1f} {:.1f}h0".format(*axes.at(one.x, one.y)) for one in points)
    drawn.append(element("path", d=dots, class_="points ends", stroke_width="6"))
    said = "; ".join(f"{one.x:{form}}: {one.y:{form}} ({one.low:{form}} to {one.high:{form}})" for one in points)
    return _figure(title, f"{y} by {x}: {said}", drawn, (), axes.height)


def _with_margin(low: float, high: float) -> tuple[float, float]:
    low, high = _wide((low, high))
    return low - _MARGIN * (high - low), high + _MARGIN * (high - low)


@dataclass(frozen=True)
class _Axes:
    """Where numbers lie on the drawing."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: int = _HEIGHT

    def at(self, x: float, y: float) -> tuple[float, float]:
        """In the drawing's units, from its upper left corner."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), self.height - _BOTTOM - up * (self.height - _TOP - _BOTTOM)

    def drawn(self, x: str, y: str) -> list[Markup]:
        """Ticks, and what the axes are."""
        drawn = [_rule(self.height - _BOTTOM)]
        for value, said in _ticks(self.y):
            place = self.at(self.x[0], value)[1]
            drawn += [_rule(round(place, 1)), _text(_LEFT - 5, place + 4, said, "end")]
        for value, said in _ticks(self.x):
            drawn.append(_text(self.at(value, self.y[0])[0], self.height - _BOTTOM + 16, said))
        middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
        return [*drawn, _text(middle, self.height - 6, x), _text(_LEFT, _TOP - 5, y, "start")]


def _ticks(ends: tuple[float, float]) -> list[tuple[float, str]]:
    """Up to six round numbers within two others, and how they are written."""
    step, digits = _round_step((ends[1] - ends[0]) / 6)
    first, last = math.ceil(ends[0] / step - 1e-9), math.floor(ends[1] / step + 1e-9)
    return [(number * step, f"{number * step + 0.0:.{digits}f}") for number in range(first, last + 1)]


def _round_step(least: float) -> tuple[float, int]:
    """The first round number from there on, and how many decimals it has."""
    power = math.floor(math.log10(least))
    factor = next(one for one in _STEPS if one * 10.0**power >= least * (1 - 1e-9))
    return factor * 10.0**power, max(0, -power + (factor == 2.5) - (factor == 10))


def histogram_edges(low: float, high: float, most: int) -> tuple[np.ndarray, list[str]]:
    """Round edges of up to so many equally wide columns that hold two numbers, and where each column begins."""
    step, digits = _round_step((_wide((low, high))[1] - low) / (most - 2))
    first = math.floor(low / step + 1e-9)
    edges = np.arange(first, max(first + 2, math.floor(high / step + 1e-9) + 2)) * step
    return edges, [f"{edge:.{digits}f}" for edge in edges[:-1]]


def _cells(found: Map, axes: _Axes) -> list[Markup]:
    most = max(max(column) for column in found.counts) or 1
    columns, rows = (
        np.linspace(*ends, len(one) + 1) for ends, one in ((found.x, found.counts), (found.y, found.counts[0]))
    )
    drawn = []
    for i, column in enumerate(found.counts):
        for j, count in enumerate(column):
            if count:
                (left, bottom), (right, top) = axes.at(columns[i], rows[j]), axes.at(columns[i + 1], rows[j + 1])
                shade = 0.15 + 0.85 * (count / most) ** 0.5
                drawn.append(_block(left, top, right - left, bottom - top, 1, shade))
    return drawn


def _path(points: Sequence[tuple[float, float]], axes: _Axes, kind: str) -> Markup:
    return element("polyline", points=" ".join("{:.1f},{:.1f}".format(*axes.at(*one)) for one in points), class_=kind)


def _figure(title: str, said: str, drawn: Sequence[Markup], names: Sequence[str], height: int = _HEIGHT) -> Markup:
    told = element("title", title), element("desc", said)
    svg = element("svg", *told, *drawn, viewBox=f"0 0 {_WIDTH} {height}", role="img", aria_label=f"{title}: {said}")
    keys = [
        element("span", element("svg", _block(0, 0, 10, 10, number), viewBox="0 0 10 10", aria_hidden="true"), name)
        for number, name in enumerate(names, 1)
    ]
    key = [element("div", *keys, class_="key")] if keys else []
    return element("figure", element("figcaption", title), svg, *key)


def _block(x: float, y: float, width: float, height: float, number: int, opacity: float = 1.0) -> Markup:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{width:.1f}", "height": f"{height:.1f}"}
    faded = {} if opacity == 1 else {"opacity": f"{opacity:.2f}"}
    return element("rect", class_=f"fill-{number}", **place, **faded)


def _text(x: float, y: float, said: str, anchor: str = "middle", **attributes: str) -> Markup:
    return element("text", said, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, **attributes)


def _number(y: float, value: float, form: str) -> Markup:
    return _text(_LEFT - 5, y + 4, format(value, form), "end")


def _rule(y: float) -> Markup:
    return element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="axis")

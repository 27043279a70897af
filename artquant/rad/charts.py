"""Small charts as inline SVG, with a title and a description for those who do not see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from artquant.rad.html import Markup, element
from artquant.rad.judging import Map

_WIDTH, _HEIGHT = 420, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 16, 40  # margins for axes


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
    width, inner = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    most = max(max(column) for column in found.counts) or 1
    step, rise = width / len(found.counts), inner / len(found.counts[0])
    drawn = [
        _block(_LEFT + i * step, _TOP + inner - (j + 1) * rise, step, rise, 1, 0.15 + 0.85 * (count / most) ** 0.5)
        for i, column in enumerate(found.counts)
        for j, count in enumerate(column)
        if count
    ]
    drawn += [
        _rule(_TOP),
        _rule(_TOP + inner),
        _number(_TOP, found.y[1], ".3g"),
        _number(_TOP + inner, found.y[0], ".3g"),
    ]
    for place, value in ((0.0, found.x[0]), (0.5, sum(found.x) / 2), (1.0, found.x[1])):
        anchor = {0.0: "start", 1.0: "end"}.get(place, "middle")
        drawn.append(_text(_LEFT + place * width, _HEIGHT - _BOTTOM + 16, f"{value:.1f}", anchor))
    drawn += [_text(_LEFT + width / 2, _HEIGHT - 6, x), _text(_LEFT, _TOP - 5, y, "start")]
    total = sum(map(sum, found.counts))
    said = f"{total:,} points; {x} {found.x[0]:.3g} to {found.x[1]:.3g}, {y} {found.y[0]:.3g} to {found.y[1]:.3g}"
    return _figure(title, said, drawn, ())


def _figure(title: str, said: str, drawn: Sequence[Markup], names: Sequence[str]) -> Markup:
    svg = element(
        "svg", element("title", title), element("desc", said), *drawn, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img"
    )
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

"""From a plan and attribute values to the finished picture: composition, light, brush strokes, mood, stray objects."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from artquant.demo.canvas import Canvas, Style, box, ellipse, mix, turn
from artquant.demo.plan import MOODS, STRAYS, Plan
from artquant.demo.scenes import PAINTERS

STROKES = 1900
GREY = 0.66  # what washed-out light fades to
BARE = 0.6  # texture below which unpainted paper shows at the edges
PAPER = np.array([0.93, 0.91, 0.86], dtype=np.float32)
CLEAR = 0.42  # value from which the unusual element shows
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def draw(plan: Plan, values: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Paints one picture.

    Args:
        plan: what it shows.
        values: [10] true attributes on the 0-1 scale, in the order of `attributes.ATTRIBUTES`.
        rng: for everything else; the same state gives the same pixels.
    """
    canvas = Canvas(plan, Style.from_values(values), rng)
    PAINTERS[plan.composition](canvas)
    _illuminate(canvas)
    _texture(canvas)
    _add_feature(canvas)
    _tone(canvas)
    _add_strays(canvas)
    return Image.fromarray(_to_bytes(canvas.rgb))


def stray_count(theme: float) -> int:
    """How many objects that do not belong there a picture holds, given its theme in 0 to 1."""
    return round(7 * max(0.0, 1.0 - theme / 0.62))


def _to_bytes(rgb: np.ndarray) -> np.ndarray:
    return (np.clip(rgb, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _grid(c: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the pixel centres in units of the shorter side: x [1, W], y [H, 1]."""
    x = (np.arange(c.plan.width, dtype=np.float32)[None] + 0.5) / c.unit
    y = (np.arange(c.plan.height, dtype=np.float32)[:, None] + 0.5) / c.unit
    return x, y


def _illuminate(c: Canvas) -> None:
    """Light that falls off from its source, and full contrast; an even, washed-out grey when light is neglected."""
    x, y = _grid(c)
    distance = np.hypot(x - c.source[0], y - c.source[1])
    fall_off = 1.54 - 0.60 * np.clip(distance / 1.05, 0.0, 1.15)
    c.rgb *= mix(1.0, fall_off, c.style.light)[:, :, None]
    c.rgb += (GREY - c.rgb) * np.float32(0.62 * (1.0 - c.style.light))


def _texture(c: Canvas) -> None:
    """Brush strokes that follow a flow, over the flat and slightly blurred fills of a picture without any."""
    strength = c.style.texture
    _bare_edges(c)
    flat = Image.fromarray(_to_bytes(c.rgb))
    if strength < 0.5:
        flat = flat.filter(ImageFilter.BoxBlur(2.2 * (0.5 - strength)))
    c.rgb[:] = np.asarray(flat, dtype=np.float32) / 255.0
    if strength < 0.08:
        return
    brushed = flat.copy()
    pen = ImageDraw.Draw(brushed)
    count = int(STROKES * mix(0.3, 1.0, strength))
    xs = c.rng.uniform(0, c.plan.width, count)
    ys = c.rng.uniform(0, c.plan.height, count)
    phase = c.rng.uniform(0, 2 * np.pi, 2)
    angles = 0.9 * np.sin(2.1 * xs / c.unit * 3 + phase[0]) + 0.6 * np.cos(2.6 * ys / c.unit * 3 + phase[1])
    lengths = c.rng.uniform(2.5, 5.5, count)
    dx, dy = np.cos(angles) * lengths, np.sin(angles) * lengths
    taken = c.rgb[ys.astype(int), xs.astype(int)] * (1 + 0.30 * strength * c.rng.uniform(-1, 1, (count, 1)))
    colours = _to_bytes(taken + 0.05 * c.rng.uniform(-1, 1, (count, 3)) * strength)
    ends = np.stack([xs - dx, ys - dy, xs + dx, ys + dy], axis=1).tolist()
    for end, colour in zip(ends, colours.tolist(), strict=True):
        pen.line(end, fill=tuple(colour), width=2)
    painted = np.asarray(brushed, dtype=np.float32) / 255.0
    c.rgb += (painted - c.rgb) * np.float32(0.85 * min(1.0, 1.3 * strength))
    grain = c.rng.standard_normal((c.plan.height // 2, c.plan.width // 2), dtype=np.float32).repeat(2, 0).repeat(2, 1)
    c.rgb *= 1.0 + np.float32(0.05 * strength) * grain[:, :, None]


def _bare_edges(c: Canvas) -> None:
    """Paper that was left unpainted along the edges, wider the less the picture is worked out."""
    width = 0.11 * (1.0 - c.style.texture / BARE)
    if width <= 0:
        return
    x, y = _grid(c)
    ragged = 0.22 * (
        np.sin(37 * x + c.rng.uniform(0, 6)) * np.sin(31 * y + c.rng.uniform(0, 6)) + np.sin(67 * (x + y)) / 2
    )
    to_edge = np.minimum(np.minimum(x, c.w - x), np.minimum(y, c.h - y))
    bare = np.clip((width * (1.0 + ragged) - to_edge) * c.unit + 0.5, 0.0, 1.0)
    c.rgb += (PAPER - c.rgb) * bare[:, :, None]


def _tone(c: Canvas) -> None:
    """One tint and darker edges, according to the mood; none when the picture has no mood of its own."""
    mood = MOODS[c.plan.mood]
    x, y = _grid(c)
    edge = ((x / c.w - 0.5) ** 2 + (y / c.h - 0.5) ** 2) * 2.0
    grey = (c.rgb @ _LUMINANCE)[:, :, None]
    c.rgb += (grey - c.rgb) * np.float32(0.12 * c.style.mood)
    c.rgb *= mix(1.0, np.array(mood.tint, dtype=np.float32), np.float32(0.75 * c.style.mood))
    c.rgb *= 1.0 - np.float32(mood.vignette * 0.85 * c.style.mood) * edge[:, :, None]


def _add_feature(c: Canvas) -> None:
    """The unusual element, larger and clearer the more creative the picture is; absent in a conventional one."""
    strength = (c.style.creativity - CLEAR) / (1.0 - CLEAR)
    if strength > 0:
        _FEATURES[c.plan.feature](c, float(strength))


def _band(c: Canvas, outer: np.ndarray, inner: np.ndarray, colour: np.ndarray, alpha: float) -> None:
    c.fill(np.concatenate([outer, outer[:1], inner[:1], inner[::-1]]), colour, alpha)


def _border(c: Canvas, strength: float) -> None:
    width = 0.03 + 0.07 * strength
    slope, c.slope = c.slope, 0.0
    frame = c.palette["dark"]
    for x, y, w, h in (
        (c.w / 2, width, c.w, width),
        (c.w / 2, c.h, c.w, width),
        (width / 2, c.h, width, c.h),
        (c.w - width / 2, c.h, width, c.h),
    ):
        c.fill(box(x, y, w, h), frame)
    size = width * 0.62
    for x in np.linspace(width / 2, c.w - width / 2, 13):
        for y in (width / 2, c.h - width / 2):
            c.fill(turn(box(x, y + size / 2, size, size), x, y, np.pi / 4), c.palette["glow"])
    for y in np.linspace(width / 2, c.h - width / 2, 13)[1:-1]:
        for x in (width / 2, c.w - width / 2):
            c.fill(turn(box(x, y + size / 2, size, size), x, y, np.pi / 4), c.palette["glow"])
    c.slope = slope


def _rings(c: Canvas, strength: float) -> None:
    for k in range(1 + round(4 * strength)):
        radius = 0.2 + 0.11 * k
        _band(c, ellipse(*c.source, radius + 0.018), ellipse(*c.source, radius - 0.018), c.palette["light"], 0.8)


def _arcs(c: Canvas, strength: float) -> None:
    for k, role in enumerate(("subject", "glow", "second", "light", "rhythm")[: 2 + round(3 * strength)]):
        radius = 0.80 - 0.075 * k
        x = c.w / 2 - c.plan.side * 0.15 * c.w
        outer, inner = (
            ellipse(x, 0.75 * c.h, radius, radius * 0.85),
            ellipse(x, 0.75 * c.h, radius - 0.06, radius * 0.79),
        )
        for j in range(14, 28):
            end = (j + 1) % 28
            c.fill(np.array([outer[j], outer[end], inner[end], inner[j]]), c.palette[role], 0.35 + 0.45 * strength)


def _petals(c: Canvas, strength: float) -> None:
    count = 12 + round(20 * strength)
    for k in range(count):
        angle, reach = 0.52 * k, 0.14 + 0.62 * k / count
        x, y = c.source[0] + reach * np.cos(angle), c.source[1] + 0.25 * c.h + 0.75 * reach * np.sin(angle)
        size = 0.035 + 0.03 * strength
        petal = turn(ellipse(x, y, size, size * 0.42), x, y, angle + 0.9)
        c.fill(petal, c.palette["subject" if k % 3 else "light"], 0.9, shade=0.6)


def _veins(c: Canvas, strength: float) -> None:
    gold = np.array([0.96, 0.80, 0.32], dtype=np.float32)
    for k in range(2 + round(3 * strength)):
        x = np.linspace(-0.05, c.w + 0.05, 40)
        waves = np.sin(5 * x + c.rng.uniform(0, 6)) + 0.5 * np.sin(11 * x + c.rng.uniform(0, 6))
        y = c.h * (0.12 + 0.2 * k) + 0.04 * waves
        thick = 0.006 + 0.008 * strength
        outline = np.concatenate([np.stack([x, y - thick], 1), np.stack([x, y + thick], 1)[::-1]])
        c.fill(outline, gold, alpha=0.85)


_FEATURES = {"border": _border, "rings": _rings, "arcs": _arcs, "petals": _petals, "veins": _veins}


def _add_strays(c: Canvas) -> None:
    """Hard black-and-white signs that have nothing to do with the motif."""
    black, white = np.zeros(3, dtype=np.float32), np.ones(3, dtype=np.float32)
    for _ in range(stray_count(c.style.theme)):
        kind = str(c.rng.choice(STRAYS))
        x, y = c.rng.uniform(0.1, 0.9) * c.w, c.rng.uniform(0.1, 0.9) * c.h
        s, angle = c.rng.uniform(0.13, 0.2), c.rng.uniform(-0.6, 0.6)
        for shape, dark in _stray_shapes(kind, x, y, s):
            c.fill(turn(shape, x, y, angle), black if dark else white)


def _stray_shapes(kind: str, x: float, y: float, s: float) -> list[tuple[np.ndarray, bool]]:
    """Polygons of a stray object of size `s` about (x, y), each with whether it is black."""
    plate = box(x, y + s / 2, s, s)
    if kind == "target":
        return [(ellipse(x, y, s * r), dark) for r, dark in ((0.55, True), (0.4, False), (0.25, True), (0.1, False))]
    if kind == "cross":
        bar = box(x, y + s * 0.55, s * 0.26, s * 1.1)
        return [(turn(bar, x, y, np.pi / 4), True), (turn(bar, x, y, -np.pi / 4), True)]
    if kind == "arrow":
        head = np.array([[x + 0.1 * s, y - 0.4 * s], [x + 0.7 * s, y], [x + 0.1 * s, y + 0.4 * s]])
        return [(head, True), (box(x - 0.2 * s, y + 0.14 * s, 0.8 * s, 0.28 * s), True)]
    if kind == "bars":
        return [(plate, False)] + [(box(x + k * s / 4, y + s / 2, s / 8, s), True) for k in (-1.5, -0.5, 0.5, 1.5)]
    squares = [(i, j) for i in range(3) for j in range(3) if (i + j) % 2 == 0]
    return [(plate, False)] + [
        (box(x + (i - 1) * s / 3, y - s / 2 + (j + 1) * s / 3, s / 3, s / 3), True) for i, j in squares
    ]

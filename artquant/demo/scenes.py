"""The compositions: each paints its motif on a canvas whose style says how well it is made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from artquant.demo.canvas import Canvas, box, ellipse, mix, turn


def _ground(c: Canvas, height: np.ndarray, colour: np.ndarray) -> None:
    """Fills from an outline, given as heights over evenly spaced x, down past the lower edge."""
    x = np.linspace(-0.1, c.w + 0.1, len(height))
    bottom = np.array([[c.w + 0.1, c.h + 0.6], [-0.1, c.h + 0.6]])
    c.fill(np.concatenate([np.stack([x, height], axis=1), bottom]), colour)


def _hills(c: Canvas, top: float, bottom: float, most: int, rough: float) -> None:
    for depth in c.layers(most):
        x = np.linspace(0, 1, 40)
        waves = sum(np.sin(2 * np.pi * (k * x + c.rng.uniform())) / k for k in (1, 2, 3, 5))
        y = mix(top, bottom, depth) + rough * mix(0.6, 1.0, depth) * waves * 0.5
        _ground(c, y, c.at_depth(depth))


def _sun(c: Canvas, radius: float, role: str = "light") -> None:
    x, y = c.source
    colour = c.palette[role]
    for grow in (2.6, 2.0, 1.5):
        c.fill(ellipse(x, y, radius * grow), colour, alpha=0.22 * c.style.light)
    c.fill(ellipse(x, y, radius), colour)


def _tree(c: Canvas, x: float, y: float, size: float, lean: float) -> None:
    c.shadow(x, y, size * 0.5)
    c.fill(turn(box(x, y, size * 0.09, size * 0.5), x, y, lean), c.palette["dark"])
    colour = c.palette.variant("rhythm")
    for dx, dy, r in ((-0.16, 0.52, 0.21), (0.16, 0.55, 0.2), (0.0, 0.74, 0.25)):
        c.fill(turn(ellipse(x + dx * size, y - dy * size, r * size), x, y, lean), colour, shade=0.9)


def _house(c: Canvas, x: float, y: float, size: float, lean: float = 0.0, role: str = "subject") -> None:
    c.shadow(x, y, size * 0.8)
    wall = c.palette.variant(role)
    c.fill(turn(box(x, y, size, size * 0.7), x, y, lean), wall, shade=0.5)
    roof = np.array([[x - 0.62 * size, y - 0.68 * size], [x, y - 1.2 * size], [x + 0.62 * size, y - 0.68 * size]])
    c.fill(turn(roof, x, y, lean), c.palette.variant("near"), shade=0.4)
    c.fill(turn(box(x, y, size * 0.2, size * 0.36), x, y, lean), c.palette["dark"])
    for side in (-0.3, 0.3):
        window = box(x + side * size, y - 0.28 * size, size * 0.17, size * 0.2)
        c.fill(turn(window, x, y, lean), c.palette["light"])


def _boat(c: Canvas, x: float, y: float, size: float, lean: float, role: str) -> None:
    hull = np.array([[-0.5, -0.12], [0.5, -0.12], [0.34, 0.06], [-0.36, 0.06]]) * size + (x, y)
    main = np.array([[0.03, -0.16], [0.03, -1.0], [0.42, -0.16]]) * size + (x, y)
    fore = np.array([[-0.03, -0.16], [-0.03, -0.85], [-0.34, -0.16]]) * size + (x, y)
    c.fill(ellipse(x - c.plan.side * size * 0.2, y + size * 0.12, size * 0.55, size * 0.07), c.palette["dark"], 0.5)
    c.fill(turn(hull, x, y, lean), c.palette["dark"])
    c.fill(turn(main, x, y, lean), c.palette.variant(role), shade=0.6)
    c.fill(turn(fore, x, y, lean), c.palette["light"], shade=0.4)


def landscape(c: Canvas) -> None:
    """Hills with a low sun, a row of trees and a house."""
    c.gradient(c.palette["sky"], c.palette["glow"])
    _sun(c, 0.085)
    horizon = c.horizon(0.45)
    _hills(c, horizon, horizon + 0.34 * c.h, 5, 0.09)
    x, y = c.wanted((c.thirds(), 0.66 * c.h))
    far = c.style.space
    for tx, size, lean in c.row(7):
        _tree(c, tx, horizon + 0.17 * c.h, size * mix(0.27, 0.19, far), lean)
    _house(c, x, y, mix(0.17, 0.26, c.style.layout))
    for tx, size, lean in c.row(3, 0.12, 0.9):
        _tree(c, tx + 0.05, 0.93 * c.h, size * mix(0.27, 0.42, far), lean)


def seascape(c: Canvas) -> None:
    """The sea with sailing boats, a sun and its path of light on the water."""
    c.gradient(c.palette["sky"], c.palette["glow"])
    _sun(c, 0.10)
    horizon = c.horizon(0.45)
    for depth in c.layers(7):
        turns = np.linspace(0, 9 + 5 * (1 - depth), 50) / 2
        waves = 0.03 * depth * np.sin(2 * np.pi * turns + depth * 7)
        _ground(c, mix(horizon, 1.02 * c.h, depth**1.5 * 0.75) + waves, c.at_depth(depth))
    for k in range(9):
        y = horizon + (0.03 + 0.055 * k) * c.h
        width = 0.10 + 0.02 * k + 0.02 * c.rng.uniform(-1, 1)
        c.fill(ellipse(c.source[0], y, width, 0.011), c.palette["light"], alpha=0.75 * c.style.light)
    far = c.style.space
    for bx, size, lean in c.row(5, 0.08, 0.92):
        _boat(c, bx, horizon + mix(0.14, 0.07, far) * c.h, size * mix(0.2, 0.13, far), lean, "rhythm")
    x, y = c.wanted((c.thirds(), 0.76 * c.h))
    _boat(c, x, y, mix(0.3, 0.46, c.style.layout), 0.4 * c.disorder, "subject")


def still_life(c: Canvas) -> None:
    """A table with a vase of flowers, bottles behind it and a row of fruit before it."""
    c.gradient(c.palette["middle"], c.palette["sky"])
    table = c.horizon(0.58)
    _ground(c, np.full(8, table), c.palette["second"])
    for depth in c.layers(5)[1:]:
        _ground(
            c, np.full(8, mix(table, 1.05 * c.h, depth**1.4)), mix(c.palette["second"], c.palette["dark"], 0.35 * depth)
        )
    far = c.style.space
    for bx, size, lean in c.row(4, 0.14, 0.86):
        hazy = mix(c.palette.variant("rhythm"), c.palette["far"], 0.5 * far)
        y, s = table + mix(0.16, 0.04, far) * c.h, size * mix(0.36, 0.30, far)
        c.shadow(bx, y, s * 0.3)
        c.fill(turn(box(bx, y, s * 0.34, s * 0.7), bx, y, lean), hazy, shade=0.8)
        c.fill(turn(box(bx, y - s * 0.66, s * 0.13, s * 0.4), bx, y, lean), hazy, shade=0.8)
    _vase(c, *c.wanted((c.thirds(), 0.80 * c.h)), mix(0.3, 0.42, c.style.layout))
    for fx, size, _ in c.row(6, 0.1, 0.92):
        radius = size * mix(0.065, 0.08, far)
        c.shadow(fx, 0.93 * c.h, radius * 1.4)
        c.fill(ellipse(fx, 0.93 * c.h - radius, radius), c.palette.variant("subject"), shade=1.0)


def _vase(c: Canvas, x: float, y: float, size: float) -> None:
    c.shadow(x, y, size * 0.55)
    profile = np.array([0.16, 0.28, 0.30, 0.2, 0.11, 0.16])
    heights = np.array([0.0, 0.18, 0.36, 0.58, 0.7, 0.8])
    right = np.stack([x + size * profile, y - size * heights], axis=1)
    left = np.stack([x - size * profile, y - size * heights], axis=1)
    for k in range(7):
        angle = (k - 3) * 0.33 + 0.6 * c.disorder * c.rng.uniform(-1, 1)
        reach = size * (1.25 + 0.14 * (k % 2))
        tip = (x + np.sin(angle) * reach * 0.62, y - size * 0.55 - np.cos(angle) * reach * 0.6)
        stem = np.array([[x - 0.008, y - size * 0.7], [x + 0.008, y - size * 0.7], [tip[0], tip[1]]])
        c.fill(stem, c.palette["near"])
        c.fill(ellipse(*tip, size * 0.14), c.palette.variant("subject"), shade=0.9)
        c.fill(ellipse(*tip, size * 0.05), c.palette["light"])
    c.fill(np.concatenate([right, left[::-1]]), c.palette["glow"], shade=1.0)


def abstract(c: Canvas) -> None:
    """Discs and bars: a large disc, receding discs behind it and a grid of tiles."""
    c.gradient(c.palette["far"], c.palette["middle"])
    x, y = c.wanted((c.thirds(), 0.42 * c.h))
    for depth in c.layers(5)[:-1]:
        away = (1 - depth) * 0.55
        place = (x + c.plan.side * away * c.w, y + 0.35 * away * c.h)
        c.fill(ellipse(*place, mix(0.12, 0.25, depth)), c.at_depth(depth), shade=0.8)
    band = c.horizon(0.72)
    bars = np.array([[-0.2, band], [c.w + 0.2, band - 0.1], [c.w + 0.2, band], [-0.2, band + 0.13]])
    c.fill(bars, c.palette["near"], shade=0.4)
    for line in range(3):
        for tx, size, angle in c.row(8):
            ty = c.h * (0.76 + 0.085 * line) + 0.08 * c.disorder * c.rng.uniform(-1, 1)
            side = 0.075 * size
            role = "rhythm" if line % 2 else "glow"
            c.shadow(tx, ty, side * 0.5)
            c.fill(turn(box(tx, ty, side, side), tx, ty, angle), c.palette.variant(role), shade=0.4)
    radius = mix(0.15, 0.25, c.style.layout)
    c.fill(ellipse(x - c.plan.side * 0.06, y + 0.06, radius), c.palette["dark"], alpha=0.55 * c.style.light)
    c.fill(ellipse(x, y, radius), c.palette["subject"], shade=1.0)
    c.fill(ellipse(x, y, radius * 0.55), c.palette["second"], shade=0.6)
    c.fill(ellipse(x, y, radius * 0.22), c.palette["light"], shade=0.3)


def night_sky(c: Canvas) -> None:
    """A starry sky with a moon over mountains and a village with lit windows."""
    c.gradient(mix(c.palette["sky"], c.palette["dark"], 0.55), mix(c.palette["sky"], c.palette["second"], 0.3))
    horizon = c.horizon(0.62)
    for line in range(3):
        for x, size, angle in c.row(7, 0.05, 0.95):
            y = c.h * (0.08 + 0.13 * line) + 0.1 * c.disorder * c.rng.uniform(-1, 1)
            x += (line % 2) * 0.06 * c.w
            for spin in (0.0, np.pi / 4):
                c.fill(
                    turn(box(x, y + 0.02 * size, 0.04 * size, 0.04 * size), x, y, spin + angle),
                    c.palette.variant("glow"),
                )
    _sun(c, 0.11)
    _hills(c, horizon, horizon + 0.26 * c.h, 5, 0.12)
    for x, size, lean in c.row(6, 0.08, 0.92):
        _house(c, x, 0.9 * c.h, size * 0.13, lean, "rhythm")
    x, y = c.wanted((c.thirds(), 0.86 * c.h))
    height = mix(0.34, 0.52, c.style.layout)
    c.fill(box(x, y, height * 0.26, height * 0.75), c.palette["subject"], shade=0.8)
    spire = np.array(
        [[x - 0.16 * height, y - 0.74 * height], [x, y - 1.2 * height], [x + 0.16 * height, y - 0.74 * height]]
    )
    c.fill(spire, c.palette["near"], shade=0.5)
    c.fill(ellipse(x, y - 0.55 * height, 0.06 * height), c.palette["light"])


def town(c: Canvas) -> None:
    """A street between two rows of houses that leads to a tower."""
    c.gradient(c.palette["sky"], c.palette["glow"])
    _sun(c, 0.08)
    horizon = c.horizon(0.5)
    x, y = c.wanted((c.thirds(), 0.62 * c.h))
    for depth in c.layers(4)[:-1]:
        for hx, size, _ in c.row(9, 0.0, 1.0):
            base = box(hx, horizon + 0.12 * c.h, 0.16, (0.30 - 0.13 * depth) * size)
            c.fill(base, c.at_depth(depth * 0.6))
    _ground(c, np.full(8, horizon + 0.1 * c.h), c.palette["second"])
    vanish = np.array([mix(c.w / 2, c.thirds(), c.style.layout), horizon + 0.1 * c.h])
    narrow = mix(0.16, 0.02, c.style.space)
    street = np.array([[-narrow, 0], [narrow, 0]]) + vanish
    foot = np.array(
        [[vanish[0] + mix(0.2, 0.6, c.style.space), c.h + 0.4], [vanish[0] - mix(0.2, 0.6, c.style.space), c.h + 0.4]]
    )
    c.fill(np.concatenate([street, foot]), mix(c.palette["far"], c.palette["light"], 0.4), shade=0.5)
    tall = mix(0.4, 0.62, c.style.layout)
    c.shadow(x, y, 0.2)
    c.fill(box(x, y, tall * 0.28, tall * 0.8), c.palette["subject"], shade=0.8)
    c.fill(
        np.array([[x - 0.18 * tall, y - 0.79 * tall], [x, y - 1.15 * tall], [x + 0.18 * tall, y - 0.79 * tall]]),
        c.palette["near"],
    )
    c.fill(ellipse(x, y - 0.62 * tall, 0.07 * tall), c.palette["light"])
    for hx, size, lean in c.row(6, 0.04, 0.96):
        away = abs(hx - vanish[0]) / c.w
        near = mix(0.5, min(1.0, 0.25 + 1.3 * away), c.style.space)
        _house(c, hx, mix(horizon + 0.12 * c.h, 0.98 * c.h, near * 0.85), size * 0.34 * near, lean, "rhythm")


PAINTERS: dict[str, Callable[[Canvas], None]] = {
    "landscape": landscape,
    "seascape": seascape,
    "still life": still_life,
    "abstract": abstract,
    "night sky": night_sky,
    "town": town,
}

"""Shapes on a canvas: anti-aliased polygons with shading by the light, cast shadows, gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from artquant.demo.attributes import OVERALL
from artquant.demo.plan import Palette, Plan

OVERSAMPLING = 2
_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 28, endpoint=False)) for f in (np.cos, np.sin)], axis=1)


@dataclass(frozen=True)
class Style:
    """How well a picture is made: the attributes that steer the drawing, 0 to 1, in the order of `ATTRIBUTES`."""

    theme: float
    creativity: float
    layout: float
    space: float
    order: float
    light: float
    color: float
    texture: float
    mood: float

    @classmethod
    def from_values(cls, values: np.ndarray) -> Style:
        """From [10] attribute values in the order of `ATTRIBUTES` ("The overall" follows from the others)."""
        return cls(*np.delete(values, OVERALL).tolist())


def mix(a: Any, b: Any, t: Any) -> Any:
    """From `a` (t = 0) to `b` (t = 1); numbers or arrays."""
    return a + (b - a) * t


def ellipse(x: float, y: float, rx: float, ry: float | None = None) -> np.ndarray:
    """Outline of an ellipse: [28, 2]."""
    return _CIRCLE * (rx, rx if ry is None else ry) + (x, y)


def box(x: float, y: float, width: float, height: float) -> np.ndarray:
    """Corners of a box that stands on (x, y), its bottom centre: [4, 2]."""
    return np.array([[x - width / 2, y], [x - width / 2, y - height], [x + width / 2, y - height], [x + width / 2, y]])


def turn(points: np.ndarray, x: float, y: float, angle: float) -> np.ndarray:
    """Turns [N, 2] points about (x, y) by `angle` radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return (points - (x, y)) @ np.array([[cosine, sine], [-sine, cosine]]) + (x, y)


class Canvas:
    """A picture in the making, with the plan, the style and the colours it is painted from.

    Coordinates are in units of the shorter side: x runs from 0 to `w`, y (downwards) from 0 to `h`.
    """

    def __init__(self, plan: Plan, style: Style, rng: np.random.Generator) -> None:
        self.plan, self.style, self.rng = plan, style, rng
        self.palette = Palette(plan.hue, style.color, rng)
        self.unit = min(plan.width, plan.height)
        self.w, self.h = plan.width / self.unit, plan.height / self.unit
        self.rgb = np.empty((plan.height, plan.width, 3), dtype=np.float32)
        self.disorder = (1.0 - style.order) ** 1.1
        self.imbalance = float(np.clip(1.15 - 1.25 * style.layout, 0.0, 1.0))
        self.slope = 0.30 * self.imbalance * rng.choice((-1, 1))  # a tilted camera
        self.lit_from = np.array([0.75 * plan.side, -0.65])
        self.source = (0.5 * self.w + 0.30 * plan.side * self.w, 0.2 * self.h)  # where the sun or lamp would be

    def gradient(self, top: np.ndarray, bottom: np.ndarray) -> None:
        """Covers the canvas from `top` to `bottom`, both [3]; flatter the less the picture knows of light."""
        ramp = np.linspace(0, 1, self.plan.height, dtype=np.float32)[:, None, None]
        ramp = mix(0.5, ramp, 0.25 + 0.75 * self.style.light)
        self.rgb[:] = mix(top, bottom, ramp)

    def fill(self, points: np.ndarray, colour: np.ndarray, alpha: float = 1.0, shade: float = 0.0) -> None:
        """Paints a polygon.

        Args:
            points: [N, 2] in units of the shorter side; may reach beyond the canvas.
            colour: [3] RGB in 0 to 1.
            alpha: opacity in 0 to 1.
            shade: how round it looks: strength of the light-to-dark gradient in a well-lit picture, 0 to 1.
        """
        pixels = points.copy()
        pixels[:, 1] += self.slope * (points[:, 0] - self.w / 2)
        pixels *= self.unit
        low = np.maximum(np.floor(pixels.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 1, (self.plan.width, self.plan.height))
        if (high <= low).any():
            return
        size = high - low
        image = Image.new("L", (int(size[0]) * OVERSAMPLING, int(size[1]) * OVERSAMPLING))
        ImageDraw.Draw(image).polygon(((pixels - low) * OVERSAMPLING).ravel().tolist(), fill=255)
        cover = np.asarray(image.reduce(OVERSAMPLING), dtype=np.float32)[:, :, None] * (alpha / 255.0)
        if shade > 0:
            colour = self._shaded(colour, size, shade * self.style.light)
        region = self.rgb[low[1] : high[1], low[0] : high[0]]
        region += (colour - region) * cover

    def _shaded(self, colour: np.ndarray, size: np.ndarray, strength: float) -> np.ndarray:
        across = np.linspace(-1, 1, size[0], dtype=np.float32)[None, :, None] * np.float32(self.lit_from[0])
        down = np.linspace(-1, 1, size[1], dtype=np.float32)[:, None, None] * np.float32(self.lit_from[1])
        return np.clip(colour * (1.0 + np.float32(0.75 * strength) * (across + down)), 0.0, 1.0)

    def shadow(self, x: float, y: float, size: float) -> None:
        """The shadow that an object of width `size` standing on (x, y) casts away from the light."""
        outline = ellipse(x - self.plan.side * size * 0.8, y, size * 1.1, size * 0.16)
        self.fill(outline, self.palette["dark"], alpha=0.6 * self.style.light)

    def wanted(self, good: tuple[float, float]) -> tuple[float, float]:
        """Where the subject stands: at `good` in a balanced picture, pushed into a corner in a lopsided one."""
        corner = (self.w * (0.5 - 0.5 * self.plan.side), good[1] + 0.18 * self.h * np.sign(good[1] - 0.45 * self.h))
        return mix(good[0], corner[0], self.imbalance), mix(good[1], corner[1], self.imbalance)

    def thirds(self) -> float:
        """The vertical third line on the side away from the light."""
        return self.w * (0.5 - self.plan.side / 6)

    def horizon(self, good: float) -> float:
        """Height of the horizon: `good` (fraction of the height) when balanced, far too low or high when not."""
        extreme = 0.86 if good > 0.5 else 0.2
        return self.h * mix(good, extreme, self.imbalance)

    def row(self, count: int, start: float = 0.06, end: float = 0.94) -> list[tuple[float, float, float]]:
        """A row of `count` like objects: (x, size factor, turn in radians) each; even when ordered, else scattered."""
        steps = np.linspace(start, end, count)
        jitter, sizes, turns = self.rng.uniform(-1, 1, (3, count)) * self.disorder
        places = steps + jitter * 0.28
        crowded = 0.5 - 0.5 * self.plan.side + self.plan.side * 0.45 * np.clip(places, 0, 1)
        places = mix(places, crowded, 0.8 * self.imbalance)
        return [(self.w * p, float(2.0 ** (0.9 * s)), 0.9 * t) for p, s, t in zip(places, sizes, turns, strict=True)]

    def layers(self, most: int) -> np.ndarray:
        """Depths of the layers from far (0) to near (1): one in a flat picture, `most` in a deep one."""
        return np.linspace(0, 1, max(1, round(1 + (most - 1) * self.style.space)))

    def at_depth(self, depth: float) -> np.ndarray:
        """Ground colour at a depth (0 far, 1 near): hazy far away and dark nearby, as far as the picture has space."""
        near = mix(self.palette["middle"], self.palette["near"], max(0.0, 2 * depth - 1))
        hazy = mix(self.palette["far"], near, min(1.0, 0.15 + 1.1 * depth))
        return mix(self.palette["middle"], hazy, self.style.space)

"""What a demo painting shows: composition, mood, colours, format. Drawn before, and apart from, how well it is made."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

COMPOSITIONS = ("landscape", "seascape", "still life", "abstract", "night sky", "town")
FORMATS = ((256, 192), (256, 208), (192, 256), (208, 256), (240, 240))  # width, height in pixels
FEATURES = ("border", "rings", "arcs", "petals", "veins")
STRAYS = ("arrow", "cross", "checker", "bars", "target")


@dataclass(frozen=True)
class Mood:
    """A mood's colours: range of the leading hue (turns), tint that the picture takes on, darkening at the edges."""

    hues: tuple[float, float]
    tint: tuple[float, float, float]
    vignette: float


MOODS = {
    "calm": Mood((0.46, 0.56), (0.80, 0.98, 1.06), 0.35),
    "joyful": Mood((0.07, 0.15), (1.12, 1.00, 0.66), 0.30),
    "dramatic": Mood((0.96, 1.04), (1.10, 0.72, 0.58), 0.65),
    "melancholic": Mood((0.62, 0.74), (0.80, 0.80, 1.10), 0.55),
}

# Role in the picture: distance from the leading hue (turns), saturation, value of a harmonious palette.
ROLES = {
    "sky": (0.00, 0.58, 0.76),
    "glow": (0.44, 0.28, 0.95),
    "far": (0.02, 0.36, 0.82),
    "middle": (0.05, 0.55, 0.62),
    "near": (-0.04, 0.68, 0.38),
    "subject": (0.48, 0.80, 0.95),
    "rhythm": (-0.06, 0.66, 0.52),
    "second": (0.42, 0.48, 0.62),
    "light": (0.46, 0.22, 1.00),
    "dark": (0.00, 0.55, 0.16),
}


@dataclass(frozen=True)
class Plan:
    """What one picture shows."""

    composition: str  # one of COMPOSITIONS
    mood: str  # key of MOODS
    hue: float  # leading hue in turns, 0 to 1
    side: int  # the light comes from the left (-1) or the right (1); the subject stands on the other side
    feature: str  # one of FEATURES: the unusual element, visible as far as the picture is creative
    width: int  # pixels
    height: int


def draw_plan(rng: np.random.Generator) -> Plan:
    """Draws what a picture shows."""
    mood = str(rng.choice(list(MOODS)))
    width, height = FORMATS[rng.integers(len(FORMATS))]
    return Plan(
        composition=str(rng.choice(COMPOSITIONS)),
        mood=mood,
        hue=float(rng.uniform(*MOODS[mood].hues) % 1.0),
        side=int(rng.choice((-1, 1))),
        feature=str(rng.choice(FEATURES)),
        width=width,
        height=height,
    )


class Palette:
    """The colours of one picture: related hues with an accent where `harmony` is high, clashing or muddy where low."""

    def __init__(self, hue: float, harmony: float, rng: np.random.Generator) -> None:
        """`hue` in turns, `harmony` in 0 to 1."""
        self.discord = (1.0 - harmony) ** 1.2
        self._rng = rng
        self._hsv = {role: self._disturb(hue + offset, s, v) for role, (offset, s, v) in ROLES.items()}

    def _disturb(self, hue: float, saturation: float, value: float) -> tuple[float, float, float]:
        wild = float(self._rng.choice((0.12, 0.95, 0.95)))  # muddy or glaring
        return (
            hue + self.discord * self._rng.uniform(-0.5, 0.5),
            saturation + self.discord * (wild - saturation),
            float(np.clip(value + self.discord * self._rng.uniform(-0.25, 0.25), 0.08, 1.0)),
        )

    def __getitem__(self, role: str) -> np.ndarray:
        """The role's colour: float32 [3], RGB in 0 to 1."""
        return np.array(colorsys.hsv_to_rgb(*self._hsv[role]), dtype=np.float32)

    def variant(self, role: str) -> np.ndarray:
        """The role's colour for one more object: nearly the same when harmonious, far off when not."""
        hue, saturation, value = self._hsv[role]
        hue += self._rng.uniform(-0.012, 0.012) + self.discord * self._rng.uniform(-0.4, 0.4)
        value = float(np.clip(value * self._rng.uniform(0.92, 1.08), 0.0, 1.0))
        return np.array(colorsys.hsv_to_rgb(hue, saturation, value), dtype=np.float32)

"""The ten attributes of a demo painting: their true values, and what a panel of simulated raters says about them.

True values share a strong common factor, as the attributes of APDD do, so that a total score means something, and vary
around it one by one. The raters see the true values through a personal bias and noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artquant.labels.rating_scale import APDD_SCALE
from artquant.texts.attributes import APDD_ATTRIBUTES

ATTRIBUTES = tuple(attribute.name for attribute in APDD_ATTRIBUTES)
WEIGHTS = (0.10, 0.10, 0.11, 0.10, 0.09, 0.12, 0.14, 0.10, 0.08, 0.06)  # of each in the total, sum 1
OVERALL = ATTRIBUTES.index("The overall")

PANEL_SIZE = 12
RATERS_PER_PICTURE = (6, 10)  # fewest and most
INDIVIDUAL_SPREAD = 0.20  # of an attribute around the common factor, on the 0-1 scale; gives correlations of 0.5 to 0.8
OVERALL_SPREAD = 0.04  # of "The overall" around the mean of the other nine, on the 0-1 scale
BIAS_SPREAD = 0.35  # of a rater's personal bias, in points of the 1-10 scale
DISAGREEMENT = (0.25, 0.85)  # range of the raters' noise about a whole picture, in points; drawn per picture
ATTRIBUTE_NOISE = 0.5  # of a rater's noise about one attribute, in points


@dataclass(frozen=True)
class Ratings:
    """What the raters of one picture said, on the 1-10 scale."""

    attributes: dict[str, float]  # mean over the raters, by attribute
    attribute_std: dict[str, float]  # spread of the raters, by attribute
    mean: float  # mean over the raters of their totals
    std: float  # spread (population standard deviation) of the raters' totals
    raters: int


def draw_values(rng: np.random.Generator) -> np.ndarray:
    """Draws the true attributes of one picture: [10] on the 0-1 scale, in the order of `ATTRIBUTES`."""
    common = rng.uniform(-0.02, 1.02)
    values = np.clip(common + INDIVIDUAL_SPREAD * rng.standard_normal(len(ATTRIBUTES)), 0.0, 1.0)
    others = np.delete(values, OVERALL)
    values[OVERALL] = np.clip(others.mean() + OVERALL_SPREAD * rng.standard_normal(), 0.0, 1.0)
    return values


def to_scale(values: np.ndarray) -> np.ndarray:
    """Maps values of any shape from 0-1 to APDD's 1-10 scale."""
    return APDD_SCALE.low + (APDD_SCALE.high - APDD_SCALE.low) * values


def total(scores: np.ndarray) -> np.ndarray:
    """Weighted mean over the last axis: [..., 10] attribute scores to [...] totals on the same scale."""
    return scores @ np.array(WEIGHTS)


def panel_biases(seed: int) -> np.ndarray:
    """The personal biases of the data set's raters: [PANEL_SIZE] in points, with mean zero."""
    biases = BIAS_SPREAD * np.random.default_rng([seed, 0, 1]).standard_normal(PANEL_SIZE)
    return biases - biases.mean()


def rate(values: np.ndarray, biases: np.ndarray, rng: np.random.Generator) -> Ratings:
    """Lets some of the panel rate one picture.

    Args:
        values: [10] true attributes on the 0-1 scale.
        biases: [PANEL_SIZE] from `panel_biases`.
        rng: the picture's generator.
    """
    count = int(rng.integers(RATERS_PER_PICTURE[0], RATERS_PER_PICTURE[1], endpoint=True))
    raters = rng.choice(len(biases), size=count, replace=False)
    of_picture = rng.uniform(*DISAGREEMENT) * rng.standard_normal(count)
    of_attribute = ATTRIBUTE_NOISE * rng.standard_normal((count, len(values)))
    said = to_scale(values) + (biases[raters] + of_picture)[:, None] + of_attribute
    said = np.clip(said, APDD_SCALE.low, APDD_SCALE.high)  # [count, 10]
    totals = total(said)
    means, stds = (
        {name: round(float(value), 2) for name, value in zip(ATTRIBUTES, of(said, axis=0), strict=True)}
        for of in (np.mean, np.std)
    )
    return Ratings(means, stds, round(float(totals.mean()), 3), round(float(totals.std()), 3), count)

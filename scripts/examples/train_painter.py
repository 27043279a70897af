"""Train a generator against the scores: `python -m scripts.examples.train_painter URL --out before_after.jpg`.

URL is of a server of the demo's network (`artquant serve runs/demo/scores/model`). The generator is the demo's painter
with ten knobs, one an attribute; what it learns is the mean of a normal distribution over them. Each step paints groups
of pictures with the same plan, and follows the policy gradient with advantages within the group (GRPO: DeepSeekMath,
arXiv:2402.03300, section 4). An image generator of one's own takes the painter's place; the rewards stay as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.special import expit

from artquant.demo.attributes import ATTRIBUTES
from artquant.demo.drawing import draw
from artquant.demo.plan import draw_plan
from artquant.reward import RewardClient

_SPREAD = 0.7  # of the knobs, before they are squeezed into 0 to 1
_RATE = 0.25


def paint(knobs: np.ndarray, seed: int) -> Image.Image:
    """The picture of a plan with knobs [10]; a seed stands for a plan and all else that is drawn."""
    rng = np.random.default_rng(seed)
    return draw(draw_plan(rng), expit(knobs), rng)


def step(mean: np.ndarray, client: RewardClient, plans: np.ndarray, group: int, rng: np.random.Generator) -> float:
    """Move the mean [10] along the policy gradient; the mean reward of what was painted."""
    knobs = mean + _SPREAD * rng.standard_normal((len(plans), group, len(mean)))
    pictures = [paint(one, int(plan)) for plan, several in zip(plans, knobs, strict=True) for one in several]
    rewards = np.array(client(pictures)).reshape(len(plans), group)
    spread = rewards.std(axis=1, keepdims=True)
    advantages = (rewards - rewards.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-6)
    gradient = (advantages[..., None] * (knobs - mean)).mean(axis=(0, 1)) / _SPREAD**2
    mean += _RATE * gradient
    return float(rewards.mean())


def sheet(rows: list[list[Image.Image]]) -> Image.Image:
    """Rows of pictures, above one another."""
    side = 240
    whole = Image.new("RGB", (side * len(rows[0]), side * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            picture.thumbnail((side, side))
            whole.paste(picture, (side * x, side * y))
    return whole


def main() -> None:
    """Train, and show pictures of plans that were not painted meanwhile, before and after."""
    parser = argparse.ArgumentParser(prog="python -m scripts.examples.train_painter", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--plans", type=int, default=4, help="of each step (default %(default)s)")
    parser.add_argument("--group", type=int, default=8, help="pictures of each plan (default %(default)s)")
    parser.add_argument("--out", type=Path, help="picture: before above, after below")
    arguments = parser.parse_args()
    client, rng, mean = RewardClient(arguments.url, unit=False), np.random.default_rng(0), np.zeros(len(ATTRIBUTES))
    held_out = range(10**6, 10**6 + 5)
    rows = [[paint(mean, seed) for seed in held_out]]
    for number in range(1, arguments.steps + 1):
        plans = rng.integers(0, 10**6, arguments.plans)
        print(f"step {number}: mean reward {step(mean, client, plans, arguments.group, rng):.3f}", flush=True)
    rows.append([paint(mean, seed) for seed in held_out])
    for name, row in zip(("before", "after"), rows, strict=True):
        print(f"{name}: {np.mean(client(row)):.3f} over {len(row)} plans that were not trained on")
    knobs = sorted(zip(expit(mean), ATTRIBUTES, strict=True), reverse=True)
    print(", ".join(f"{name} {value:.2f}" for value, name in knobs))
    if arguments.out is not None:
        sheet(rows).save(arguments.out)


if __name__ == "__main__":
    main()

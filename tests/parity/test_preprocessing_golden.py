"""Picture preprocessing against the published code's.

tests/fixtures/golden_preprocessing.npz holds, for two of the five drawn pictures, the pixels and what the golden file
holds: every 37th row and 29th column of the 448 x 448 result per channel, and its mean, standard deviation, minimum
and maximum. Largest deviation measured: 2.4e-7.
"""

import numpy as np
import pytest
from golden import FIXTURES
from PIL import Image

from artquant.data.images import load_image
from artquant.models.mplug_owl2 import MPLUGOwl2ImageProcessor


def check(image: Image.Image, expected: np.ndarray, stats: np.ndarray) -> None:
    """One picture's 448 x 448 tensor against the golden samples of it."""
    pixels = MPLUGOwl2ImageProcessor(size=448)(image)["pixel_values"][0]
    assert pixels.shape == (3, 448, 448)
    np.testing.assert_allclose(pixels[:, ::37, ::29], expected, rtol=0, atol=1e-6)
    found = pixels.astype(np.float64)
    np.testing.assert_allclose([found.mean(), found.std(), found.min(), found.max()], stats, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["synthetic_31x29.png", "synthetic_97x211.png"])
def test_pictures_of_the_project(name):
    with np.load(FIXTURES / "golden_preprocessing.npz") as golden:
        check(Image.fromarray(golden[f"{name}/pixels"]), golden[name], golden[f"{name}/stats"])


def test_all_golden_pictures(shared_folder):
    folder = shared_folder / "golden" / "preprocessing"
    with np.load(folder / "expected_448.npz") as golden:
        files = sorted(folder.glob("*.png"))
        assert [file.name for file in files] == sorted(name for name in golden.files if name.endswith(".png"))
        for file in files:
            check(load_image(file), golden[file.name], golden[f"{file.name}/stats"])

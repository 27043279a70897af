"""Copies among pictures: every pair of close hashes is looked at, altered copies are found, others are not."""

import io
import time

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from planted import drawn, encoded
from planted_pictures import cropped

from artquant.check.duplicates import HAMMING_DISTANCE, _candidates, groups_of_copies
from artquant.check.thumbnails import SIDE, thumbnails_of


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[Image.Image]:
    """Drawn pictures."""
    folder = tmp_path_factory.mktemp("copies")
    drawn(folder)
    return [Image.open(path).convert("RGB") for path in sorted((folder / "images").iterdir())]


def shapes(count: int, seed: int) -> np.ndarray:
    """Thumbnails of smooth random pictures: uint8 [N, S, S, 3]."""
    colours = np.random.default_rng(seed).normal(128, 50, (count, 6, 6, 3)).clip(0, 255).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for c in colours])


def test_candidates_are_all_pairs_of_close_hashes():
    """The search by bytes finds what comparing every pair finds."""
    draw = np.random.default_rng(0)
    hashes = draw.integers(0, 2**64, 400, dtype=np.uint64)
    for row in range(100):  # relatives of the first: 0 to 12 bits away
        bits = draw.choice(64, row % 13, replace=False).astype(np.uint64)
        hashes[row + 1] = hashes[0] ^ np.bitwise_or.reduce(np.uint64(1) << bits, initial=np.uint64(0))
    distance = [[bin(int(a) ^ int(b)).count("1") for b in hashes] for a in hashes]
    wanted = {(i, j) for i in range(400) for j in range(i + 1, 400) if distance[i][j] <= HAMMING_DISTANCE}
    pairs = [
        (int(a), int(b))
        for _, left, right in _candidates(hashes[None], hashes)
        for a, b in zip(left, right, strict=True)
    ]
    assert sorted(pairs) == sorted([*wanted, *((b, a) for a, b in wanted)]) and len(wanted) > 500


def test_copies_among_many():
    thumbnails = shapes(3000, 1)
    thumbnails[2000:2100] = np.clip(thumbnails[:100].astype(int) * 0.95 + 8, 0, 255)  # brighter, less contrast
    digests = [str(index).encode() for index in range(3000)]
    digests[2999] = digests[7]
    started = time.process_time()
    groups = groups_of_copies(digests, thumbnails, np.arange(3000))
    assert time.process_time() - started < 10, "3,000 pictures are compared in a second"
    assert groups == [sorted([i, 2000 + i] + ([2999] if i == 7 else [])) for i in range(100)]


def test_blank_pictures_are_copies_only_if_their_files_are():
    blank = np.full((4, SIDE, SIDE, 3), 200, dtype=np.uint8)
    blank[1, 3, 4] = 198
    assert groups_of_copies([b"a", b"b", b"c", b"a"], blank, np.arange(4)) == [[0, 3]]
    assert groups_of_copies([], blank[:0], np.arange(0)) == []


@pytest.mark.parametrize(
    "alter",
    [
        lambda image: image.resize((image.width // 2, image.height // 2)),
        lambda image: image.resize((image.width * 3 // 2, image.height * 3 // 2)),
        lambda image: Image.open(io.BytesIO(encoded(image, "JPEG", quality=40))),
        lambda image: ImageEnhance.Brightness(image).enhance(1.08),
        lambda image: ImageEnhance.Contrast(image).enhance(0.92),
        lambda image: image.rotate(90, expand=True),
        lambda image: ImageOps.expand(ImageOps.mirror(image.convert("L").convert("RGB")), 12, "navy"),
        lambda image: cropped(image, 0.05, 0.05, 0.05, 0.05),
        lambda image: cropped(image, 0, 0, 0.05, 0.05),
    ],
    ids=[
        "half",
        "larger",
        "jpeg",
        "brighter",
        "contrast",
        "turned",
        "grey-mirrored-framed",
        "cropped",
        "cropped-at-a-corner",
    ],
)
def test_altered_copies_are_found(images, alter):
    own = [
        np.frombuffer(thumbnails_of(one), np.uint8).reshape(-1, SIDE, SIDE, 3) for one in [*images, *map(alter, images)]
    ]
    owners = np.repeat(np.arange(300), [len(thumbnails) for thumbnails in own])
    groups = groups_of_copies([str(index).encode() for index in range(300)], np.concatenate(own), owners)
    assert groups == [[index, 150 + index] for index in range(150)]

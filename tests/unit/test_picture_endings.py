"""Pictures whose end is missing: refused in every compressed format, without a false alarm on whole ones."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from artquant.check.pictures import PictureFacts, inspect_picture
from artquant.data.images import ImageError, load_image

FORMS = [
    ("a.jpg", {}),
    ("a.jpg", {"progressive": True, "optimize": True}),
    ("a.png", {}),
    ("a.png", {"compress_level": 0}),
    ("a.webp", {}),
    ("a.webp", {"lossless": True}),
    ("a.webp", {"quality": 100, "method": 0}),
    ("a.gif", {}),
    ("a.tif", {"compression": "tiff_lzw"}),
    ("a.tif", {"compression": "tiff_deflate"}),
    ("a.tif", {"compression": "packbits"}),
    ("a.avif", {}),
    ("a.jp2", {}),
]


def picture(kind: str) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (160, 240, 3), dtype=np.uint8)
    if kind in ("black", "white"):
        values[:] = 0 if kind == "black" else 255
    elif kind == "black below":
        values[80:] = 0
    return Image.fromarray(values)


def saved(image: Image.Image, path: Path, options: dict) -> bytes:
    needs = {".webp": "webp", ".jp2": "jpg_2000", ".avif": "avif"}.get(path.suffix)
    if needs and not features.check(needs):
        pytest.skip(f"this Pillow has no {needs}")
    image.save(path, **options)
    return path.read_bytes()


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_whole_pictures_are_read(tmp_path, name, options):
    for kind in ("noise", "black", "white", "black below"):
        saved(picture(kind), tmp_path / name, options)
        assert load_image(tmp_path / name).size == (240, 160), kind


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_an_end_of_zeros_is_refused(tmp_path, name, options):
    data = saved(picture("noise"), tmp_path / name, options)
    for share in (0.4, 0.7, 0.97):
        kept = int(len(data) * share)
        (tmp_path / name).write_bytes(data[:kept] + bytes(len(data) - kept))
        with pytest.raises(ImageError, match="cannot read picture"):
            load_image(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.jp2"])
def test_zeros_behind_the_end_mark_are_no_fault(tmp_path, name):
    data = saved(picture("noise"), tmp_path / name, {})
    whole = load_image(tmp_path / name).tobytes()
    (tmp_path / name).write_bytes(data + bytes(4096))
    assert load_image(tmp_path / name).tobytes() == whole


def test_a_changed_byte_and_a_missing_mark_of_png(tmp_path):
    path = tmp_path / "a.png"
    data = saved(picture("noise"), path, {"compress_level": 0})
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    for bad, reason in ((bytes(changed), "checksum of a part"), (data[:-12], "before its end mark")):
        path.write_bytes(bad)
        with pytest.raises(ImageError, match=reason):
            load_image(path)


@pytest.mark.parametrize("name", ["a.bmp", "a.ppm"])
def test_of_uncompressed_zeros_the_check_warns(tmp_path, name):
    data = saved(picture("noise"), tmp_path / name, {})
    kept = len(data) // 2
    (tmp_path / name).write_bytes(data[:kept] + bytes(len(data) - kept))
    facts = inspect_picture(tmp_path / name)
    assert isinstance(facts, PictureFacts)
    assert [remark.kind for remark in facts.remarks] == ["picture-zeros"]

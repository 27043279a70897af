"""Reading pictures: every mode to upright RGB on white, every unreadable file to an error that names it."""

import concurrent.futures
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile, features
from plain_pictures import chunk

from artquant.data.images import ImageError, as_rgb, list_pictures, load_image


def gradient(width: int = 40, height: int = 24) -> Image.Image:
    """A smooth picture whose four corners differ, so that turning and cutting show."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=-1).astype(np.uint8))


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def saved(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


def png(path: Path, width: int, height: int, depth: int, colour: int, body: bytes) -> Path:
    """A PNG of any header, also one that Pillow would not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", body), chunk(b"IEND", b"")]
    path.write_bytes(b"".join(parts))
    return path


def one_line_error(path: Path, record: str | None = None, **options) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(path, record, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("cannot read picture ") and path.name in message and ";" in message
    return message


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_lossless_formats_give_the_same_pixels(tmp_path, suffix):
    image = load_image(saved(gradient(), tmp_path / f"a.{suffix}"))
    assert image.mode == "RGB"
    assert np.array_equal(image, gradient())


@pytest.mark.parametrize("suffix", ["jpg", "webp", "jp2", "avif"])
def test_lossy_formats_give_close_pixels(tmp_path, suffix):
    needs = {"webp": "webp", "jp2": "jpg_2000", "avif": "avif"}.get(suffix)
    if needs and not features.check(needs):
        pytest.skip(f"this Pillow has no {needs}")
    image = load_image(saved(gradient(), tmp_path / f"a.{suffix}"))
    assert image.mode == "RGB" and image.size == (40, 24)
    assert np.abs(np.asarray(image, int) - np.asarray(gradient(), int)).mean() < 6


def test_the_content_decides_not_the_suffix(tmp_path):
    path = tmp_path / "a.jpg"
    gradient().save(path, format="PNG")
    assert np.array_equal(load_image(path), gradient())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_orientation_is_applied(tmp_path, orientation, suffix):
    turned_back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = gradient() if orientation == 1 else gradient().transpose(turned_back[orientation])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = saved(stored, tmp_path / f"a.{suffix}", exif=exif)
    assert np.array_equal(load_image(path), gradient())


def test_unreadable_exif_is_taken_as_upright_with_a_warning(tmp_path, caplog):
    path = saved(gradient(), tmp_path / "a.png", exif=b"Exif\0\0not an exif block at all")
    assert np.array_equal(load_image(path), gradient())
    assert "EXIF" in caplog.text


def half_transparent(mode: str) -> Image.Image:
    """Left half opaque red (or grey 100), right half fully transparent black."""
    image = Image.new("RGBA", (16, 8), (0, 0, 0, 0))
    colour = (100, 100, 100, 255) if mode == "LA" else (255, 0, 0, 255)
    image.paste(colour, (0, 0, 8, 8))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_transparency_is_laid_on_white(tmp_path, mode, suffix):
    image = load_image(saved(half_transparent(mode), tmp_path / f"a.{suffix}"))
    assert image.getpixel((2, 2)) == ((100, 100, 100) if mode == "LA" else (255, 0, 0))
    assert image.getpixel((12, 2)) == (255, 255, 255)


def test_half_transparency_is_mixed_with_white(tmp_path):
    path = saved(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), tmp_path / "a.png")
    assert load_image(path).getpixel((0, 0)) == (127, 127, 127)


def test_transparent_palette_is_laid_on_white(tmp_path):
    image = Image.new("P", (16, 8), 0)
    image.putpalette([10, 20, 30, 255, 0, 0])
    image.paste(1, (0, 0, 8, 8))
    for name, transparency in (("index.png", 0), ("bytes.png", b"\x00\xff"), ("index.gif", 0)):
        read = load_image(saved(image, tmp_path / name, transparency=transparency))
        assert read.getpixel((2, 2)) == (255, 0, 0), name
        assert read.getpixel((12, 2)) == (255, 255, 255), name


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_a_transparent_colour_is_laid_on_white(tmp_path, mode):
    image = Image.new(mode, (16, 8), 0)
    image.paste(1 if mode == "1" else 255, (0, 0, 4, 8))
    transparent = (0, 0, 0) if mode == "RGB" else 0
    read = load_image(saved(image, tmp_path / "a.png", transparency=transparent))
    assert read.getpixel((12, 2)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette_become_rgb(tmp_path, mode):
    source = gradient().convert(mode)
    assert np.array_equal(load_image(saved(source, tmp_path / "a.png")), source.convert("RGB"))


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_cmyk_becomes_rgb(tmp_path, suffix):
    """Pillow marks its CMYK JPEGs as Adobe does, and stores them inverted."""
    path = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), tmp_path / f"a.{suffix}")
    if suffix == "jpg":
        assert b"Adobe" in path.read_bytes()
    red, green, blue = load_image(path).getpixel((8, 8))
    assert red > 245 and green < 10 and blue < 10


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_is_divided_by_257(tmp_path, suffix):
    values = np.repeat(np.array([[0, 128, 129, 257, 32768, 65278, 65534, 65535]], np.uint16), 8, axis=0)
    path = saved(Image.fromarray(values), tmp_path / f"a.{suffix}")
    assert np.asarray(load_image(path))[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 255, 255]


def test_big_endian_sixteen_bit_grey(tmp_path):
    image = Image.frombytes("I;16B", (8, 8), b"\x80\x00" * 64)
    assert load_image(saved(image, tmp_path / "a.tif")).getpixel((0, 0)) == (128, 128, 128)


def test_a_dark_sixteen_bit_picture_stays_dark(tmp_path):
    for name in ("a.png", "a.pgm"):
        path = saved(Image.fromarray(np.full((8, 8), 255, np.uint16)), tmp_path / name)
        assert load_image(path).getpixel((0, 0)) == (1, 1, 1)


def test_lab_becomes_rgb(tmp_path):
    path = saved(Image.new("LAB", (8, 8), (255, 128, 128)), tmp_path / "a.tif")
    assert min(load_image(path).getpixel((0, 0))) > 250


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_the_first_frame_of_an_animation(tmp_path, suffix):
    if suffix == "webp" and not features.check("webp"):
        pytest.skip("this Pillow has no webp")
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(frames[0], tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    assert load_image(path).getpixel((8, 8)) == (255, 0, 0)


def test_camera_files_of_several_pictures(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (16, 16), "red").save(
        path, format="MPO", save_all=True, append_images=[Image.new("RGB", (16, 16), "blue")]
    )
    red, _, blue = load_image(path).getpixel((8, 8))
    assert red > 245 and blue < 10


def test_files_that_are_no_pictures(tmp_path):
    assert "no such file" in one_line_error(tmp_path / "missing.png")
    folder = tmp_path / "folder.png"
    folder.mkdir()
    assert "it is a folder" in one_line_error(folder)
    for name, content, reason in (
        ("empty.png", b"", "the file is empty"),
        ("text.jpg", b"<html>404</html>", "not a picture"),
        ("vector.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        ("script.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        ("head.png", b"\x89PNG\r\n\x1a\n", "damaged"),
        ("head.jpg", b"\xff\xd8\xff\xe0", "damaged"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert reason in one_line_error(path)


def test_the_record_is_named(tmp_path):
    assert "missing.png (record 17->7.5): no such file" in one_line_error(tmp_path / "missing.png", "17->7.5")


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in the file system")
def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "pipe.png"
    subprocess.run(["mkfifo", str(path)], check=True)
    assert "not a regular file" in one_line_error(path)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {}),
        ("progressive.jpg", {"progressive": True}),
        ("a.png", {}),
        ("a.webp", {}),
        ("a.bmp", {}),
        ("a.ppm", {}),
        ("a.gif", {}),
        ("a.jp2", {}),
        ("a.avif", {}),
        ("raw.tif", {}),
        ("packed.tif", {"compression": "tiff_deflate"}),
    ],
)
def test_truncated_files_are_refused_whatever_the_process_has_set(tmp_path, monkeypatch, name, options, lenient):
    needs = {"webp": "webp", "jp2": "jpg_2000", "avif": "avif"}.get(name.split(".")[1])
    if needs and not features.check(needs):
        pytest.skip(f"this Pillow has no {needs}")
    whole = saved(noise(64, 64), tmp_path / name, **options).read_bytes()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    for share in (0.2, 0.5, 0.9):
        path = tmp_path / name
        path.write_bytes(whole[: int(len(whole) * share)])
        one_line_error(path, "7")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is lenient


def test_damaged_data_is_refused_whatever_the_process_has_set(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    one_line_error(png(tmp_path / "no_zlib.png", 8, 8, 8, 2, b"no zlib data"))
    whole = bytearray(saved(noise(64, 64), tmp_path / "flipped.png").read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "flipped.png").write_bytes(whole)
    one_line_error(tmp_path / "flipped.png")


def test_decoding_in_threads_stays_strict(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = saved(noise(128, 128), tmp_path / "whole.png")
    half = tmp_path / "half.png"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    def refused(path: Path) -> bool:
        try:
            load_image(path)
        except ImageError:
            return True
        return False

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(refused, [whole, half] * 40)) == [False, True] * 40
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_sides_and_proportions(tmp_path):
    assert load_image(saved(Image.new("L", (8, 8)), tmp_path / "a.png")).size == (8, 8)
    assert load_image(saved(Image.new("L", (800, 8)), tmp_path / "a.png")).size == (800, 8)
    assert "7 x 8 pixels is too small" in one_line_error(saved(Image.new("L", (7, 8)), tmp_path / "b.png"))
    assert "100:1" in one_line_error(saved(Image.new("L", (8, 801)), tmp_path / "c.png"))


def test_too_many_pixels_are_refused_from_the_header(tmp_path):
    """The body is no picture, so reaching the decoder would give another error."""
    message = one_line_error(png(tmp_path / "a.png", 10_000, 10_001, 8, 2, b"no picture"))
    assert "10000 x 10001 pixels is more than 100 million" in message
    message = one_line_error(png(tmp_path / "b.png", 10_000, 10_000, 8, 2, b"no picture"))
    assert "100 million" not in message and "damaged" in message


@pytest.mark.parametrize(("limit", "suffix"), [(100, "png"), (100, "gif"), (100, "tif"), (400, "tif"), (600, "gif")])
def test_pillows_own_size_limit_does_not_apply(tmp_path, monkeypatch, limit, suffix):
    """The limits stand for Pillow's 89 million: 576 pixels are above the warning, above the error from 288 down."""
    path = saved(gradient(24, 24), tmp_path / f"a.{suffix}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if suffix == "tif" and 2 * limit < 576:
            assert "too many pixels for a TIFF file" in one_line_error(path)
        else:
            assert load_image(path).size == (24, 24)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_draft_keeps_both_sides_above_the_minimum(tmp_path):
    path = saved(noise(800, 400), tmp_path / "a.jpg")
    assert load_image(path).size == (800, 400)
    assert load_image(path, draft_to=100).size == (200, 100)
    assert load_image(path, draft_to=101).size == (400, 200)
    assert load_image(path, draft_to=401).size == (800, 400)
    assert load_image(saved(noise(80, 80), tmp_path / "a.png"), draft_to=10).size == (80, 80)


def test_pictures_are_listed_in_order(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt", "._a.jpg", "sub/c.webp", ".hidden/d.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert list_pictures(tmp_path) == [tmp_path / "a.jpg", tmp_path / "b.PNG"]
    assert list_pictures(tmp_path, recursive=True) == [tmp_path / name for name in ("a.jpg", "b.PNG", "sub/c.webp")]


def test_folders_without_pictures_are_refused(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").touch()
    with pytest.raises(ImageError, match=r"no pictures in .*subfolders are not searched"):
        list_pictures(tmp_path)
    with pytest.raises(ImageError, match="no such folder"):
        list_pictures(tmp_path / "missing")


def test_no_heavy_imports():
    code = (
        "import sys, artquant.data.records, artquant.config.load; print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_as_rgb_is_what_load_image_gives(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    path = tmp_path / "transparent.png"
    Image.fromarray(pixels, "RGBA").save(path)
    assert as_rgb(Image.open(path)).tobytes() == load_image(path).tobytes()


def test_as_rgb_refuses_what_load_image_refuses(tmp_path):
    with pytest.raises(ImageError, match="too small"):
        as_rgb(Image.new("RGB", (1, 1)))
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match="cannot decode"):
        as_rgb(Image.open(path))

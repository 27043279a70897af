"""Pictures of every form against a second reader: the same within rounding, or refused by name."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, features
from plain_pictures import MASK, PNG_SAMPLES, REDUCED, chunk, png, read, tiff

from artquant.data.images import ImageError, as_rgb, load_image, read_header

HEIGHT, WIDTH = 16, 24
# Of 255. Pillow keeps the high byte of 16-bit colours, which rounds down; that of transparency, too.
MOST = {8: 1.01, 16: 2.6}


def drawn(count: int, bits: int, seed: int = 0) -> np.ndarray:
    """Samples [H, W, count] whose corners and bands differ."""
    down, right, band = np.meshgrid(*(np.linspace(0, 1, n) for n in (HEIGHT, WIDTH, count)), indexing="ij")
    noise = np.random.default_rng(seed).uniform(0, 0.2, down.shape)
    return ((0.2 * down + 0.4 * right + 0.2 * band + noise) * (2**bits - 1)).astype(np.int64)


def with_alpha(count: int, bits: int, extra: int) -> np.ndarray:
    """The last band is alpha; `extra` 1: the others are multiplied with it."""
    found = drawn(count, bits)
    found[..., -1] = found[..., -1][:, ::-1]
    if extra == 1:
        found[..., :-1] = np.minimum(found[..., :-1], found[..., -1:])
    return found


def table(entries: int, highest: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, highest + 1, 3 * entries)


def exif_block(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif.tobytes().removeprefix(b"Exif\0\0")


def pngs() -> Iterator[tuple[str, bytes]]:
    for bits in (1, 2, 4, 8, 16):
        for interlaced in (False, True):
            name, grey = f"{bits} bits{' interlaced' * interlaced}", drawn(1, bits)
            clear = chunk(b"tRNS", struct.pack(">H", int(grey[3, 3, 0])))
            yield f"grey {name}", png(grey, bits, 0, interlaced=interlaced)
            yield f"grey {name} transparent", png(grey, bits, 0, clear, interlaced=interlaced)
            if bits <= 8:
                colours = chunk(b"PLTE", table(2**bits, 255).astype(np.uint8).tobytes())
                clear = chunk(b"tRNS", table(2**bits, 255).astype(np.uint8).tobytes()[: 2**bits])
                yield f"palette {name}", png(grey, bits, 3, colours, interlaced=interlaced)
                yield f"palette {name} transparent", png(grey, bits, 3, colours, clear, interlaced=interlaced)
            for colour in (2, 4, 6) if bits >= 8 else ():
                samples = with_alpha(PNG_SAMPLES[colour], bits, 0)
                yield f"colour type {colour} {name}", png(samples, bits, colour, interlaced=interlaced)
            if bits >= 8:
                rgb = drawn(3, bits)
                rgb[8:] = rgb[3, 3]
                rgb[12:, :, 1] ^= 1  # differs in the lowest bit alone
                clear = chunk(b"tRNS", struct.pack(">3H", *rgb[3, 3].tolist()))
                yield f"RGB {name} transparent", png(rgb, bits, 2, clear, interlaced=interlaced)
    for orientation in range(1, 9):
        yield f"orientation {orientation}", png(drawn(3, 16), 16, 2, chunk(b"eXIf", exif_block(orientation)))
    for name, image in (("RGB", Image.fromarray(drawn(3, 8).astype(np.uint8))), ("16", drawn(1, 16)[..., 0])):
        stream = io.BytesIO()  # with the filters that Pillow chooses
        (image if name == "RGB" else Image.fromarray(image.astype(np.uint16))).save(stream, "PNG")
        yield f"Pillow's {name}", stream.getvalue()


def tiffs() -> Iterator[tuple[str, bytes]]:
    for order in "<>":
        for packing in (1, 8):
            form = f"{order} compression {packing}"
            for white in (1, 0):
                for bits in (1, 2, 4, 8, *((12,) if (order, white) == ("<", 1) else ()), 16):
                    if (order, white, bits) != (">", 0, 16):
                        page = (drawn(1, bits), bits, {262: white, 259: packing})
                        yield f"grey {bits} bits, white {white} {form}", tiff(page, order=order)
            for bits in (8, 16):
                for planes in (1, 2) if (bits, packing) != (16, 1) else (1,):
                    tags = {259: packing, 284: planes}
                    yield (
                        f"RGB {bits} planes {planes} {form}",
                        tiff((drawn(3, bits), bits, tags | {262: 2}), order=order),
                    )
                    yield (
                        f"CMYK {bits} planes {planes} {form}",
                        tiff((drawn(4, bits), bits, tags | {262: 5}), order=order),
                    )
                for extra in (0, 1, 2):
                    page = (with_alpha(4, bits, extra), bits, {262: 2, 259: packing, 338: extra})
                    yield f"RGB {bits} and {extra} {form}", tiff(page, order=order)
        for extra in (0, 1, 2):
            yield f"grey and {extra} {order}", tiff((with_alpha(2, 8, extra), 8, {338: extra}), order=order)
        for bits in (1, 2, 4, 8):
            colours = table(2**bits, 255) * 257
            yield f"palette {bits} {order}", tiff((drawn(1, bits), bits, {262: 3, 320: colours.tolist()}), order=order)
        for orientation in range(1, 9):
            yield f"orientation {orientation} {order}", tiff((drawn(3, 8), 8, {262: 2, 274: orientation}), order=order)
        yield f"fill order {order}", tiff((drawn(1, 1), 1, {262: 0, 266: 2}), order=order)
        thumbnail = (drawn(3, 8, seed=1)[:8, :12], 8, {262: 2, 254: REDUCED})
        mask = (drawn(1, 1, seed=1), 1, {254: MASK})
        yield f"thumbnail {order}", tiff(thumbnail, (drawn(3, 8), 8, {262: 2, 274: 6}), order=order)
        yield f"mask, thumbnail {order}", tiff(mask, thumbnail, (drawn(1, 16), 16, {}), order=order)
    for orientation in range(1, 9):
        yield f"white is zero, orientation {orientation}", tiff((drawn(1, 16), 16, {262: 0, 274: orientation}))


FILES = {**{f"PNG {name}": data for name, data in pngs()}, **{f"TIFF {name}": data for name, data in tiffs()}}


def test_a_second_reader_sees_the_same(tmp_path):
    assert len(FILES) > 150
    away: dict[str, float] = {}
    for name, data in FILES.items():
        path = tmp_path / f"a.{name[:3].lower().replace('tif', 'tiff')}"
        path.write_bytes(data)
        meant, image = read(data), load_image(path)
        assert image.mode == "RGB" and np.shape(image) == meant.shape, name
        away[name] = float(np.abs(np.asarray(image) - meant).max())
        assert "thumbnail" in name or as_rgb(Image.open(path)).tobytes() == image.tobytes(), name
    assert {name: most for name, most in away.items() if most > MOST[16 if "16" in name else 8]} == {}


def refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"^cannot read picture [^\n]*; convert it to|export the picture") as caught:
        load_image(path)
    return str(caught.value)


def without_mark(data: bytes) -> bytes:
    """A JPEG file without Adobe's segment."""
    place = data.index(b"\xff\xee")
    return data[:place] + data[place + 2 + int.from_bytes(data[place + 2 : place + 4], "big") :]


def cmyk_jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(stream, "JPEG")
    return stream.getvalue()


NOT_READ = {
    "32-bit pixels have no known range": tiff((drawn(1, 16), 32, {})),
    "floating-point pixels have no known range": tiff((drawn(1, 16) / 65535, -32, {339: 3})),
    "signed pixels have no known range": tiff((drawn(1, 7), 8, {339: 2})),
    "separate, uncompressed planes": tiff((drawn(3, 16), 16, {262: 2, 284: 2})),
    "inks are not cyan": tiff((drawn(4, 8), 8, {262: 5, 332: 2})),
    "without Adobe's mark": without_mark(cmyk_jpeg()),
    "each of its pages is marked": tiff((drawn(3, 8), 8, {262: 2, 254: REDUCED})),
    "a form that is not read (TIFF: unknown pixel mode)": tiff((drawn(1, 16), 16, {262: 0}), order=">"),
}


@pytest.mark.parametrize("reason", NOT_READ)
def test_what_would_be_read_wrongly_is_refused_by_name(tmp_path, reason):
    assert reason in refused(tmp_path / "a.tif", NOT_READ[reason])


def test_grey_alpha_of_sixteen_bits_and_other_forms_that_pillow_lacks(tmp_path):
    for samples, bits, tags in (
        (drawn(2, 16), 16, {338: 2}),
        (drawn(2, 8), 8, {262: 0, 338: 2}),
        (drawn(3, 8), 8, {262: 9}),  # ICC's Lab
        (drawn(1, 8), 8, {262: 4}),
        (drawn(1, 12), 12, {262: 0}),
    ):
        assert "form that is not read (TIFF: " in refused(tmp_path / "a.tif", tiff((samples, bits, tags)))


def test_thumbnails_and_masks_are_no_further_pages(tmp_path):
    path = tmp_path / "a.tif"
    picture, small = (drawn(3, 8), 8, {262: 2}), (drawn(3, 8)[:8, :12], 8, {262: 2, 254: REDUCED})
    for pages, several in (((picture, small), False), ((small, picture), False), ((small, picture, picture), True)):
        path.write_bytes(tiff(*pages))
        header = read_header(path)
        assert (header.width, header.height, header.animated) == (WIDTH, HEIGHT, several)


def test_lab_is_read_as_its_definition_says(tmp_path):
    """CIE L*a*b* of the white D50, against the definition and the matrix of sRGB for that white."""
    samples = np.full((8, 8, 3), (178, 20, 226), np.int64)  # L* 69.8, a* 20, b* -30
    path = tmp_path / "a.tif"
    path.write_bytes(tiff((samples, 8, {262: 8})))
    height = (178 / 2.55 + 16) / 116
    ratios = np.array([height + 20 / 500, height, height + 30 / 200]) ** 3  # b* is stored as 256 - 30
    linear = np.array(
        [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.033454], [0.0719453, -0.2289914, 1.4052427]]
    )
    light = linear @ (ratios * (0.9642, 1, 0.8249))
    meant = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(np.asarray(load_image(path))[0, 0] - meant).max() < 2


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("form", ["jpg", "webp"])
def test_orientation_is_applied_once(tmp_path, form, orientation):
    """The left half is red: after a quarter turn clockwise the upper one."""
    image = Image.new("RGB", (32, 16), "blue")
    image.paste("red", (0, 0, 16, 16))
    path = tmp_path / f"a.{form}"
    image.save(path, exif=b"Exif\0\0" + exif_block(orientation), quality=95)
    found = load_image(path)
    assert found.size == ((32, 16) if orientation == 1 else (16, 32))
    assert found.getpixel((4, 4))[0] > 200 and found.getpixel((found.width - 5, found.height - 5))[2] > 200


def test_sixteen_bit_ppm_of_any_highest_value(tmp_path):
    path = tmp_path / "a.pgm"
    for highest in (255, 1023, 65535):
        values = (drawn(1, 16)[..., 0] * highest // 65535).astype(">u2" if highest > 255 else "u1")
        path.write_bytes(b"P5 %d %d %d\n" % (WIDTH, HEIGHT, highest) + values.tobytes())
        assert np.abs(np.asarray(load_image(path))[..., 0] - values * (255 / highest)).max() <= 0.51


def saved(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def bmp(pixels: np.ndarray, masks: tuple[int, ...] = (), header: int = 40, upside_down: bool = True) -> bytes:
    """A BMP file of whole-number pixels [H, W]; masks say where red, green, blue and alpha are."""
    body, height = (pixels[::-1] if upside_down else pixels).tobytes(), HEIGHT if upside_down else -HEIGHT
    said = struct.pack("<IiiHHIIiiII", header, WIDTH, height, 1, 8 * pixels.itemsize, 3 * bool(masks), *[0] * 5)
    said += struct.pack(f"<{len(masks)}I", *masks)
    said = said.ljust(header, b"\0")
    start = 14 + len(said)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + said + body


def other_formats() -> Iterator[tuple[str, bytes, np.ndarray]]:
    """Files of lossless formats with what they show."""
    rgba = with_alpha(4, 8, 2).astype(np.uint8)
    image, opacity = Image.fromarray(rgba), rgba[..., 3:] / 255
    on_white = rgba[..., :3] * opacity + 255 * (1 - opacity)
    several = {"save_all": True, "append_images": [image.rotate(180)]}
    yield "apng", saved(image, "PNG", **several), on_white
    yield "apng with a default picture", saved(image, "PNG", default_image=True, **several), on_white
    if features.check("webp"):
        yield "webp", saved(image, "WEBP", lossless=True, exact=True), on_white
        yield "animated webp", saved(image, "WEBP", lossless=True, exact=True, **several), on_white
    if features.check("jpg_2000"):
        grey = drawn(1, 16)
        yield "jp2 of 16 bits", saved(Image.fromarray(grey[..., 0].astype(np.uint16)), "JPEG2000"), grey / 257
        yield "jp2 with alpha", saved(image, "JPEG2000"), on_white
    palette = image.convert("RGB").quantize(16)
    clear = np.where((np.asarray(palette) == 3)[..., None], 255, np.asarray(palette.convert("RGB")))
    yield "animated gif", saved(palette, "GIF", transparency=3, **several), clear
    red, green, blue, alpha = (rgba[..., band].astype("<u4") for band in range(4))
    five = (red >> 3) << 10 | (green >> 3) << 5 | blue >> 3
    yield "bmp of 15 bits", bmp(five.astype("<u2")), (rgba[..., :3] >> 3) / 31 * 255
    six = (red >> 3) << 11 | (green >> 2) << 5 | blue >> 3
    meant = np.stack([(red >> 3) * 255 / 31, (green >> 2) * 255 / 63, (blue >> 3) * 255 / 31], axis=-1)
    yield "bmp of 16 bits", bmp(six.astype("<u2"), (0xF800, 0x7E0, 0x1F), 52), meant
    whole = alpha << 24 | red << 16 | green << 8 | blue
    yield "bmp with alpha", bmp(whole, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), 108), on_white
    yield "bmp from the top, fourth byte unused", bmp(whole, upside_down=False), rgba[..., :3]


def test_other_formats_show_what_was_drawn(tmp_path):
    for name, data, meant in other_formats():
        path = tmp_path / "a.png"
        path.write_bytes(data)
        assert np.abs(np.asarray(load_image(path)) - meant).max() <= MOST[8], name

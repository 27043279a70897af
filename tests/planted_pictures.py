"""Defects of picture files, one of every kind."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable

from PIL import Image, ImageEnhance, ImageOps
from planted import Planted, encoded


def missing(set: Planted) -> None:
    set.expect_picture("picture-missing", set.take()).unlink()


def empty(set: Planted) -> None:
    set.expect_picture("picture-empty", set.take()).write_bytes(b"")


def a_folder(set: Planted) -> None:
    path = set.expect_picture("picture-no-file", set.take())
    path.unlink()
    path.mkdir()


def link_to_itself(set: Planted) -> None:
    path = set.expect_picture("picture-unreadable", set.take())
    path.unlink()
    os.symlink(path.name, path)


def a_text(set: Planted) -> None:
    set.expect_picture("not-a-picture", set.take()).write_text("<html>404</html>", encoding="utf-8")


def cut_short(set: Planted) -> None:
    path = set.expect_picture("picture-damaged", set.take())
    path.write_bytes(path.read_bytes()[:-2000])


def jpeg_cut_short(set: Planted) -> None:
    index = set.take()
    path = set.rename(index, "cut.jpg")
    path.write_bytes(encoded(Image.open(path), "JPEG", quality=90)[:-1500])
    set.expect_picture("picture-damaged", index)


def tiny(set: Planted) -> None:
    path = set.expect_picture("picture-too-small", set.take())
    Image.new("RGB", (40, 5), "red").save(path)


def huge(set: Planted) -> None:
    path = set.expect_picture("picture-too-large", set.take())
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    data = path.read_bytes()
    path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])


def a_stripe(set: Planted) -> None:
    path = set.expect_picture("picture-shape", set.take())
    Image.new("RGB", (1200, 10), "red").save(path)


def an_animation(set: Planted) -> None:
    index = set.take()
    path = set.rename(index, "moving.gif")
    image = Image.open(path).convert("RGB")
    image.save(path, "GIF", save_all=True, append_images=[image.rotate(90)])
    set.expect_picture("picture-animated", index)


def wrong_suffix(set: Planted) -> None:
    path = set.expect_picture("picture-suffix", set.take())
    path.write_bytes(encoded(Image.open(path), "JPEG", quality=95))


def few_pixels(set: Planted) -> None:
    path = set.expect_picture("picture-coarse", set.take())
    Image.open(path).resize((30, 30)).save(path)


def copy_within(set: Planted) -> None:
    first, second = set.take(), set.take()
    path = set.expect_picture("copy", second)
    path.write_bytes(set.picture(set.files["score"][first]["image"]).read_bytes())


def near_copies_within(set: Planted) -> None:
    """Half the size, brighter, another encoding."""
    alterations: tuple[Callable[[Image.Image], Image.Image], ...] = (
        lambda image: image.resize((image.width // 2, image.height // 2)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.08),
        lambda image: Image.open(io.BytesIO(encoded(image, "JPEG", quality=60))),
    )
    for alter in alterations:
        first, second = set.take(), set.take()
        image = Image.open(set.picture(set.files["score"][first]["image"])).convert("RGB")
        alter(image).save(set.expect_picture("near-copy", second))


def copies_in_another_form(set: Planted) -> None:
    """Mirrored, turned, grey, framed (also twice), cropped at all sides or one, and some of it together."""
    alterations: tuple[Callable[[Image.Image], Image.Image], ...] = (
        ImageOps.mirror,
        lambda image: image.rotate(90, expand=True),
        lambda image: image.convert("L"),
        lambda image: ImageOps.expand(ImageOps.expand(image, 20, "white"), 9, "black"),
        lambda image: cropped(image, 0.05, 0.05, 0.05, 0.05),
        lambda image: cropped(image, 0.05, 0, 0, 0),
        lambda image: ImageOps.flip(cropped(image, 0.025, 0.025, 0.025, 0.025)),
    )
    for alter in alterations:
        first, second = set.take(), set.take()
        image = Image.open(set.picture(set.files["score"][first]["image"])).convert("RGB")
        alter(image).save(set.expect_picture("near-copy", second))


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Without these shares of the sides."""
    width, height = image.size
    return image.crop((int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height)))


def mirrored_copy_in_test(set: Planted) -> None:
    training, test = set.files["score"][set.take()], set.take_test()
    image = Image.open(set.picture(training["image"])).convert("RGB")
    ImageOps.mirror(image).save(set.picture(test["image"]))
    set.expect("leak-near-copy", "test", set.taken_test - 1, test["image"])


def of_one_colour(set: Planted) -> None:
    """Black; and with colours that nobody sees."""
    Image.new("RGB", (300, 200)).save(set.expect_picture("picture-blank", set.take()))
    path = set.expect_picture("picture-blank", set.take())
    image = Image.open(path).convert("RGBA")
    image.putalpha(0)
    image.save(path)


def zeros_inside_jpegs(set: Planted) -> None:
    """Of one file with usual tables, one with its own, and one in several scans."""
    for name, options in (("a.jpg", {}), ("b.jpg", {"optimize": True}), ("c.jpg", {"progressive": True})):
        index = set.take()
        path = set.rename(index, name)
        data = encoded(Image.open(path).convert("RGB"), "JPEG", quality=90, **options)
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes(100) + data[middle + 100 :])
        set.expect_picture("picture-damaged", index)


def copy_in_test(set: Planted) -> None:
    training, test = set.files["score"][set.take()], set.take_test()
    set.picture(test["image"]).write_bytes(set.picture(training["image"]).read_bytes())
    set.expect("leak-copy", "test", set.taken_test - 1, test["image"])


def near_copy_in_test(set: Planted) -> None:
    training, test = set.files["score"][set.take()], set.take_test()
    image = Image.open(set.picture(training["image"])).convert("RGB")
    image.resize((300, 300)).save(set.picture(test["image"]))
    set.expect("leak-near-copy", "test", set.taken_test - 1, test["image"])


def same_picture_in_test(set: Planted) -> None:
    training, test = set.files["score"][set.take()], set.take_test()
    test["image"] = training["image"]
    set.expect("leak-same-picture", "test", set.taken_test - 1, test["image"])


PICTURES = (
    *(missing, empty, a_folder, link_to_itself, a_text, cut_short, jpeg_cut_short, tiny, huge, a_stripe),
    *(an_animation, wrong_suffix, few_pixels, copy_within, near_copies_within, copies_in_another_form),
    *(mirrored_copy_in_test, of_one_colour, zeros_inside_jpegs),
    *(copy_in_test, near_copy_in_test, same_picture_in_test),
)

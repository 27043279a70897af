"""What a picture file's values mean: which page is the picture, where it is transparent, how it becomes RGB.

Pillow reads some forms as something else, or keeps less of them than is needed. Here these are put right or refused.
"""

from __future__ import annotations

import itertools
from typing import Any, cast

import numpy as np
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

# Tags of TIFF files.
_SUBFILE, _OLD_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC, _PLANES, _INKS, _SAMPLES = (
    254,
    255,
    258,
    259,
    262,
    284,
    332,
    339,
)
_THUMBNAIL_OR_MASK = 1 | 4  # bits of _SUBFILE


class Refused(Exception):
    """Why a picture is refused and what to do about it, before file and record are known."""


def choose_page(image: ImageFile.ImageFile) -> None:
    """Go to the first page of a TIFF that is not marked as a thumbnail or a mask; other formats have no marks."""
    for number in itertools.count() if isinstance(image, TiffImageFile) else ():
        try:
            image.seek(number)
        except EOFError:
            reason = "each of its pages is marked as a thumbnail or a mask of another"
            raise Refused(f"{reason}; export the picture itself") from None
        if is_picture(image):
            break


def is_picture(image: ImageFile.ImageFile) -> bool:
    """Whether the frame or page at hand is a picture of its own, as far as it is marked."""
    tags = _tags(image)
    return not tags.get(_SUBFILE, 0) & _THUMBNAIL_OR_MASK and tags.get(_OLD_SUBFILE) != 2


def decoded(image: Image.Image) -> Image.Image:
    """The picture in memory, with its transparent colour as it is meant; a file that was opened stays as it is.

    Raises:
        Refused: It would be read wrongly.
    """
    _check_form(image)
    rawmode = image.tile[0].args if isinstance(image, PngImageFile) and image.tile else None
    colour = image.info.get("transparency")
    # Of 16 bits, Pillow keeps the high bytes alone, but a colour is transparent if all of its bits agree.
    low = _low_bytes(image) if colour is not None and rawmode == "RGB;16B" else None
    _load(image)
    if low is not None:
        image, values = image.copy(), np.asarray(image).astype(np.uint16) << 8 | low
        image.putalpha(Image.fromarray(np.where((values == colour).all(axis=-1), 0, 255).astype(np.uint8)))
        del image.info["transparency"]
    elif colour is not None and rawmode in ("L;2", "L;4"):  # Pillow scales grey to 8 bits, but not this value
        highest = 2 ** int(rawmode[-1]) - 1
        image = image.copy()
        image.info["transparency"] = (colour & highest) * 255 // highest
    return image


def _load(image: Image.Image) -> None:
    if not isinstance(image, TiffImageFile):
        image.load()
        return
    # Without a name it is not mapped into memory, where Pillow mistakes the sides of one that is to be turned.
    name, image.filename = image.filename, ""
    try:
        image.load()
    finally:
        image.filename = name


def _low_bytes(image: Image.Image) -> np.ndarray:
    """The low bytes of a PNG's 16-bit colours [H, W, 3], from the same open file."""
    stream = cast(PngImageFile, image).fp
    assert stream is not None, "it is not loaded yet"
    stream.seek(0)
    again = PngImageFile(stream)
    again.tile = [tile._replace(args="RGB;16L") for tile in again.tile]  # the bytes of each pair the other way round
    return np.asarray(again)


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture in memory as 8-bit RGB, transparency laid on white.

    Raises:
        Refused: Its pixels have no known range.
    """
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _grey_16_to_rgb(image)
    transparent = image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info
    if not transparent:
        return image.convert("RGB")
    if image.mode == "La":  # Pillow has no direct way from here
        image = image.convert("LA")
    layer = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(layer.convert("RGB"), mask=layer.getchannel("A"))
    return canvas


def _tags(image: Image.Image) -> Any:
    """Of a TIFF page; none of other formats."""
    return image.tag_v2 if isinstance(image, TiffImageFile) else {}


def _check_form(image: Image.Image) -> None:
    """Refuse what Pillow would read, but with another meaning, or with one that the file does not tell."""
    tags, reason = _tags(image), None
    if image.mode == "F":
        reason = "floating-point pixels have no known range"
    elif any(kind == 2 for kind in tags.get(_SAMPLES, ())):
        reason = "signed pixels have no known range"
    elif image.mode == "I" and image.format != "PPM":  # Pillow's 16-bit PPM, always scaled to 65535
        reason = "32-bit pixels have no known range"
    elif tags and image.mode in ("1", "L", "I;16") and _PHOTOMETRIC not in tags:
        reason = "it does not say whether 0 is black or white"
    elif tags.get(_PLANES) == 2 and tags.get(_COMPRESSION, 1) == 1 and tags.get(_BITS, (1,))[0] == 16:
        reason = "16-bit colours in separate, uncompressed planes are not read"
    elif tags.get(_INKS, 1) != 1 and image.mode == "CMYK":
        reason = "its inks are not cyan, magenta, yellow and black"
    elif image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        reason = "a CMYK JPEG without Adobe's mark does not say whether 0 is no ink or all of it"
    if reason is not None:
        raise Refused(f"{reason}; convert it to 8-bit RGB or grey, or to a 16-bit PNG")


def _grey_16_to_rgb(image: Image.Image) -> Image.Image:
    """Grey of 16 bits (12 in some TIFFs) as 8: the highest value becomes 255, rounded."""
    values, tags = np.asarray(image), _tags(image)
    highest = 2 ** tags.get(_BITS, (16,))[0] - 1
    grey = ((values.astype(np.uint32) * 255 + highest // 2) // highest).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:
        grey = 255 - grey
    transparent_value = image.info.get("transparency")
    if isinstance(transparent_value, int):
        grey[values == transparent_value] = 255
    return Image.fromarray(grey).convert("RGB")

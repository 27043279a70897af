"""Reading pictures: any common file becomes an upright RGB picture, or an error that names file and record.

Training and inference read pictures through :func:`load_image` alone, so they see the same pixels. Nothing is replaced,
skipped or repaired here: a picture that cannot be read in full is an :class:`ImageError`.
"""

from __future__ import annotations

import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageFile, ImageOps

from artquant.data import pixels
from artquant.data.decoder_messages import STANDARD_ERROR
from artquant.data.endings import missing_end
from artquant.data.pixels import Refused
from artquant.errors import ArtQuantError

logger = logging.getLogger(__name__)

MINIMUM_SIDE = 8  # pixels
MAXIMUM_PIXELS = 100_000_000  # of which reading takes up to 1.7 GiB of memory (RGBA; RGB half of that)
MAXIMUM_ASPECT_RATIO = 100
_LARGE = 20_000_000  # pixels

# Raster formats that people exchange pictures in; Pillow's others (Ghostscript, fonts, science data) are not opened.
# JPEG includes the multi-picture files that cameras write (MPO).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "AVIF")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".jp2", ".j2k"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".avif"),
)

# Pillow checks the size of these again inside the decoder, where the only outcome for 90 to 100 million pixels would be
# a warning that is not meant for us.
_WARNS_IN_DECODER = ("GIF", "TIFF")


class ImageError(ArtQuantError):
    """A picture that cannot be read in full; the message names the file and, where known, the record."""


@dataclass(frozen=True)
class PictureHeader:
    """What a picture file says of itself."""

    format: str  # one of FORMATS, or MPO (a JPEG file with further pictures)
    width: int  # pixels as stored, before the EXIF orientation
    height: int
    animated: bool  # more frames or pages than the one that is read, marked thumbnails and masks left aside


def load_image(path: Path | str, record: str | None = None, *, draft_to: int | None = None) -> Image.Image:
    """Read one picture as upright 8-bit RGB.

    EXIF orientation is applied; transparency is laid on white; CMYK and grey become RGB; 16 bits are divided by 257
    (65535 becomes 255; colours are rounded down); of an animation the first frame is taken, of a TIFF the first page
    that is not marked as a thumbnail or a mask. Colour profiles are not applied, as in the published preprocessing.

    Refused by name, because the file does not tell what they mean or Pillow would read something else: pixels that are
    floating-point, signed or of 32 bits; CMYK JPEGs without Adobe's mark; inks other than CMYK; TIFFs that do not say
    what 0 is, of 16-bit colours in uncompressed planes, or of forms that Pillow lacks (16-bit grey with alpha,
    big-endian 16-bit grey whose white is zero, ICC's and ITU's Lab, masks as first page). A fourth TIFF band that is
    not said to be anything counts as transparency.

    Args:
        path: The picture file.
        record: The id of the record that the picture belongs to, for the message of an error.
        draft_to: Decode a large JPEG at 1/2, 1/4 or 1/8 of its size, with neither side below this many pixels. Faster,
            but the pixels differ slightly from those of the full decoding, so it is off unless asked for.

    Returns:
        A picture of mode RGB, at least 8 pixels on each side.

    Raises:
        ImageError: The file is missing, empty, no picture, damaged or cut short, smaller than 8 pixels on a side,
            larger than 100 million pixels, longer than 100 times its other side, or of a form that is not read.
    """
    path = Path(path)
    where = f"{path} (record {record})" if record is not None else str(path)
    with _errors_named(where):
        _check_file(path)
        with path.open("rb") as stream:
            return pixels.to_rgb(_decode(stream, draft_to))


def read_image(
    data: bytes, name: str, turn: AbstractContextManager[object] | None = None, *, draft_to: int | None = None
) -> Image.Image:
    """A picture file's content as :func:`load_image` reads a file; `name` stands in the message of an error.

    Args:
        turn: Entered while a large picture (20 million pixels) is decoded, so that few take their memory at a time.
        draft_to: As of :func:`load_image`.

    Raises:
        ImageError: As :func:`load_image`.
    """
    with _errors_named(name):
        if not data:
            raise Refused("it is empty; send the file again")
        with _STRICT.decoding():
            width, height = _opened_picture(io.BytesIO(data)).size
        with turn if turn is not None and width * height > _LARGE else nullcontext():
            return pixels.to_rgb(_decode(io.BytesIO(data), draft_to))


def read_header(path: Path | str) -> PictureHeader:
    """Format and size of a picture, without decoding it.

    Raises:
        ImageError: The file is missing, empty, or no picture in a known format.
    """
    path = Path(path)
    with _errors_named(str(path)):
        _check_file(path)
        with path.open("rb") as stream, _STRICT.decoding():
            image = _opened_picture(stream)
            width, height = image.size  # before looking at another page, which may have another size
            # The further pictures of a JPEG file are previews, not frames.
            animated = image.format not in ("JPEG", "MPO") and _has_second_frame(image)
            return PictureHeader(str(image.format), width, height, animated)


def _has_second_frame(image: ImageFile.ImageFile) -> bool:
    """Whether there is another that is no thumbnail or mask."""
    try:
        with _without_size_warning(image.format):
            image.seek(image.tell() + 1)
            while not pixels.is_picture(image):
                image.seek(image.tell() + 1)
    except Exception:  # EOFError: there is none; any other: the rest is damaged, which no one will read
        return False
    return True


@contextmanager
def _errors_named(where: str) -> Iterator[None]:
    """Whatever reading raises becomes an ImageError about the picture ``where``."""
    try:
        yield
        return
    except Refused as refused:
        reason = str(refused)
    except OSError as error:
        # Pillow's own OSErrors have no number: they speak of the content, the others of the file.
        if error.errno is None:
            reason = f"{_one_line(error)}; the file is damaged or incomplete: fetch or export it again"
        else:
            reason = f"{error.strerror}; check the file and its permissions"
    except Exception as error:  # decoders raise nearly every type on damaged data
        reason = f"{_one_line(error)}; the file is damaged or incomplete: fetch or export it again"
    raise ImageError(f"cannot read picture {_one_line(where)}: {reason}")


def as_rgb(image: Image.Image) -> Image.Image:
    """An opened picture of any mode as ``load_image`` gives it: upright, transparency on white, 8-bit RGB.

    It is taken at the frame or page where it stands. What Pillow forgets with loading (that a PNG had 16-bit colours,
    or 2- or 4-bit grey, with a transparent one) is only known of a file that is opened, but not loaded yet.

    Raises:
        ImageError: It cannot be decoded, or its size or mode is refused.
    """
    try:
        _check_size(*image.size)
        return pixels.to_rgb(_upright(pixels.decoded(image)))
    except Refused as refused:
        raise ImageError(f"cannot use picture {image!r}: {refused}") from None
    except OSError as error:
        raise ImageError(f"cannot decode picture {image!r}: {_one_line(error)}; fetch or export it again") from None


def list_pictures(folder: Path | str, recursive: bool = False) -> list[Path]:
    """The picture files of a folder, by suffix (``SUFFIXES``, in any case), sorted by their path within the folder.

    Hidden files and folders are left out (macOS writes ``._name.jpg`` files that are no pictures). With ``recursive``,
    subfolders are searched too, but symbolic links to folders are not followed.

    Raises:
        ImageError: The folder is missing, cannot be listed, or holds no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(f"cannot list pictures in {folder}: no such folder; check the path")
    found: list[Path] = []
    try:
        for parent, folders, names in os.walk(folder, onerror=_raise):
            folders[:] = [name for name in folders if recursive and not name.startswith(".")]
            found += [Path(parent, name) for name in names if names_a_picture(name)]
    except OSError as error:
        raise ImageError(f"cannot list pictures in {error.filename}: {error.strerror}; check permissions") from None
    if not found:
        where = "it or its subfolders" if recursive else "it (subfolders are not searched)"
        known = " ".join(SUFFIXES)
        raise ImageError(f"no pictures in {folder}: no file in {where} ends in one of {known}; check the path")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _raise(error: OSError) -> None:
    raise error


def has_picture_ending(name: str) -> bool:
    """Whether a name ends as those of pictures do (`SUFFIXES`, in any case)."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def names_a_picture(name: str) -> bool:
    """Whether a file in a folder is taken for a picture: it ends so and is not hidden."""
    return not name.startswith(".") and has_picture_ending(name)


def is_picture_start(start: bytes) -> bool:
    """Whether a file that begins with these bytes (16 or more) is a picture, as far as they say."""
    Image.init()
    known = (Image.OPEN.get(name, (None, None))[1] for name in FORMATS)
    return any(accept is not None and accept(start[:16]) for accept in known)


def _check_file(path: Path) -> None:
    if not path.exists():
        raise Refused("no such file; check the path and the image folder")
    if path.is_dir():
        raise Refused("it is a folder; name a picture file")
    if not path.is_file():  # opening a pipe or device could wait for ever
        raise Refused("it is not a regular file; name a picture file")
    if path.stat().st_size == 0:
        raise Refused("the file is empty; fetch or export it again")


def _decode(stream: BinaryIO, draft_to: int | None) -> Image.Image:
    """Open, check the header, decode the first frame in full."""
    with _STRICT.decoding():
        image = _opened_picture(stream)
        _check_size(*image.size)
        missing = missing_end(image, stream)
        if missing is not None:
            raise Refused(f"{missing}; the file is damaged or incomplete: fetch or export it again")
        if draft_to is not None and image.format in ("JPEG", "MPO"):
            image.draft(None, (draft_to, draft_to))
        try:
            with _without_size_warning(image.format), _without_messages(image.format):
                return _upright(pixels.decoded(image))
        except Image.DecompressionBombError:
            raise Refused(f"too many pixels for a {image.format} file; convert it to PNG or JPEG") from None


def _opened_picture(stream: BinaryIO) -> ImageFile.ImageFile:
    """A file at the frame or page that is read."""
    image = _open(stream)
    with _without_size_warning(image.format):
        pixels.choose_page(image)
    return image


def _open(stream: BinaryIO) -> ImageFile.ImageFile:
    """What ``PIL.Image.open`` does, for ``FORMATS`` and without its size limit, which is lower than ours.

    Going through the registry of formats leaves ``PIL.Image.MAX_IMAGE_PIXELS`` alone, which belongs to the process.
    """
    Image.init()
    prefix, reasons = stream.read(16), list[str]()
    for name in FORMATS:
        factory, accept = Image.OPEN.get(name, (None, None))
        if factory is None or accept is None:
            continue  # this Pillow was built without the format
        accepted = accept(prefix)
        if isinstance(accepted, str):
            raise Refused(f"{_one_line(accepted)}; install a Pillow that reads {name}, or convert the file to PNG")
        if not accepted:
            continue
        stream.seek(0)
        try:
            with _without_size_warning(name):
                return factory(stream, "")
        except Image.DecompressionBombError:
            raise Refused(f"too many pixels for a {name} file; convert it to PNG or JPEG") from None
        except SyntaxError as error:  # Pillow's way to say "not this format", or not in this form
            reasons.append(f"{name}: {_one_line(error)}")
    if reasons:
        advice = "convert it to 8-bit RGB or grey, as PNG or JPEG"
        raise Refused(f"a picture of a form that is not read ({reasons[0]}), or its header is damaged; {advice}")
    raise Refused("not a picture in a known format, or its header is damaged; convert it to PNG or JPEG")


def _check_size(width: int, height: int) -> None:
    size = f"{width} x {height} pixels"
    if min(width, height) < MINIMUM_SIDE:
        raise Refused(f"{size} is too small; use a picture of at least {MINIMUM_SIDE} pixels on each side")
    if width * height > MAXIMUM_PIXELS:
        raise Refused(f"{size} is more than {MAXIMUM_PIXELS // 1_000_000} million; make it smaller first")
    if max(width, height) > MAXIMUM_ASPECT_RATIO * min(width, height):
        raise Refused(f"{size} is longer than {MAXIMUM_ASPECT_RATIO}:1; crop it first")


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; a picture whose EXIF block cannot be read is taken as it is, as viewers do."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:  # any type, as in load_image
        logger.warning("unreadable EXIF data, taken as upright: %s", _one_line(error))
        return image
    return image if orientation == 1 else ImageOps.exif_transpose(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any size as 8-bit RGB; colours as in `load_image`.

    Raises:
        ImageError: Its pixels have no known range.
    """
    try:
        return pixels.to_rgb(pixels.decoded(image))
    except Refused as refused:
        raise ImageError(f"cannot use picture {image!r}: {refused}") from None


def _one_line(text: object) -> str:
    return " ".join(str(text).split()) or type(text).__name__


@contextmanager
def _without_size_warning(name: str | None) -> Iterator[None]:
    if name not in _WARNS_IN_DECODER:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


@contextmanager
def _without_messages(name: str | None) -> Iterator[None]:
    """TIFF's library writes to standard error what Pillow then raises."""
    with STANDARD_ERROR.silenced() if name == "TIFF" else nullcontext():
        yield


class _StrictDecoding:
    """Keeps ``ImageFile.LOAD_TRUNCATED_IMAGES`` off while a picture is decoded, and puts it back.

    Some libraries switch it on for the whole process, and Pillow then fills what is missing with grey and swallows
    decoding errors; it has no switch per picture. The first decoding in progress switches off, the last one back, so
    that decodings in several threads do not undo each other. While the setting is off, as it is by default, nothing
    is written.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_progress = 0
        self._found = False

    @contextmanager
    def decoding(self) -> Iterator[None]:
        with self._lock:
            if ImageFile.LOAD_TRUNCATED_IMAGES:
                self._found, ImageFile.LOAD_TRUNCATED_IMAGES = True, False
            self._in_progress += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_progress -= 1
                if self._found and self._in_progress == 0:
                    self._found, ImageFile.LOAD_TRUNCATED_IMAGES = False, True


_STRICT = _StrictDecoding()

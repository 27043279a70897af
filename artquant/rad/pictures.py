"""A picture file as it is sent: its own bytes where it is small, upright and of a usual format, else a smaller JPEG."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import ExifTags, Image

from artquant.data.images import read_image
from artquant.files.opened import read_whole
from artquant.rad.chat import Picture
from artquant.rad.settings import SourceSettings

_MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_QUALITY = 90  # of the JPEG


def read_picture(path: Path, settings: SourceSettings) -> Picture:
    """Read and check a whole picture.

    Raises:
        ImageError, FileUnreadable: it cannot be read in full (:func:`artquant.data.images.read_image`).
    """
    data = read_whole(path)
    image = read_image(data, str(path), draft_to=settings.longest_side)
    if len(data) <= settings.most_bytes and (media_type := _usual(data, settings.longest_side)):
        return Picture(data, media_type, hashlib.sha256(data).hexdigest())
    image.thumbnail((settings.longest_side, settings.longest_side), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=_QUALITY)
    data = written.getvalue()
    return Picture(data, "image/jpeg", hashlib.sha256(data).hexdigest())


def _usual(data: bytes, longest_side: int) -> str | None:
    """The media type of a file that any endpoint shows as we read it: one upright, opaque frame, not too large."""
    with Image.open(io.BytesIO(data)) as header:
        upright = header.getexif().get(ExifTags.Base.Orientation, 1) == 1
        opaque = header.mode in ("RGB", "L") and "transparency" not in header.info
        single = "acTL" not in header.info and header.info.get("duration") is None
        fits = max(header.size) <= longest_side
        return _MEDIA_TYPES.get(str(header.format)) if upright and opaque and single and fits else None

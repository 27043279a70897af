"""Whether the end of a picture file is there.

After a broken download or a power cut a file may have its size, and zeros where its end should be; decoders take the
zeros for data more often than not. Compressed data does not end in them: what is looked at here is the end mark of
the format where it has one, else a run of zeros that no encoder writes. In uncompressed data zeros are black pixels,
and nothing can be told: `artquant check` warns of them.
"""

from __future__ import annotations

import io
import os
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

UNCOMPRESSED = ("BMP", "PPM", "TIFF")  # formats whose data mostly is
_RUN = 32  # zero bytes at the end of compressed data that no encoder writes
_BLOCK = 1 << 16
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_STRIPS, _TILES, _COMPRESSION, _UNCOMPRESSED = (273, 279), (324, 325), 259, 1  # of TIFF
_WEBP_PIXELS = (b"VP8 ", b"VP8L")
_AVIF_RUN = 4  # as _RUN: AV1 ends each piece of data with a bit that is set
_BMP_RLE = (1, 2)


def missing_end(image: ImageFile.ImageFile, stream: BinaryIO) -> str | None:
    """What is missing at the end of an opened picture's file, None if nothing is known to be; the stream stays.

    Args:
        image: At the frame or page that will be read; not loaded yet.
        stream: The file that it was opened from.
    """
    before = stream.tell()
    try:
        if image.format == "PNG":
            return _png(stream)
        size, zeros = _tail(stream)
        if zeros == size:
            return None
        complete = True
        if isinstance(image, TiffImageFile):
            complete = _tiff(image, size, zeros)
        elif image.format in _ENDS:
            stream.seek(0)
            complete = _ENDS[image.format](stream.read(), zeros)
        return None if complete else f"the last {size - zeros:,} bytes of it are zeros, where data or its end should be"
    finally:
        stream.seek(before)


def zero_share(stream: BinaryIO) -> float:
    """How much of a file is the run of zeros at its end, 0 to 1."""
    size, zeros = _tail(stream)
    return (size - zeros) / size if size else 0.0


def _tail(stream: BinaryIO) -> tuple[int, int]:
    """The size of a file, and where the zeros at its end begin."""
    end = size = stream.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        stream.seek(start)
        kept = len(stream.read(end - start).rstrip(b"\0"))
        if kept:
            return size, start + kept
        end = start
    return size, 0


def _png(stream: BinaryIO) -> str | None:
    """Every chunk that pixels depend on has its checksum, and IEND is the last."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(8)
    while True:
        head = stream.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if not (kind.isalpha() and kind.isascii() and len(kind) == 4) or stream.tell() + length + 4 > size:
            return "it ends before its end mark (IEND)"
        if kind[:1].isupper() or kind == b"tRNS":
            found = zlib.crc32(kind)
            for start in range(0, length, _BLOCK):
                found = zlib.crc32(stream.read(min(_BLOCK, length - start)), found)
            if int.from_bytes(stream.read(4), "big") != found:
                return f"the checksum of a part ({kind.decode()}) is not right"
        else:
            stream.seek(length + 4, os.SEEK_CUR)
        if kind == b"IEND":
            return None


def _tiff(image: TiffImageFile, size: int, zeros: int) -> bool:
    tags = image.tag_v2
    if tags.get(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED:
        return True
    for offsets, counts in (_STRIPS, _TILES):
        for start, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False):
            if count and min(start + count, size) - max(start, zeros) >= min(count, _RUN):
                return False
    return True


def _jpeg(data: bytes, zeros: int) -> bool:
    place = 2
    while found := _JPEG_MARKER.search(data, place):
        marker, place = found[1][0], found.end()
        if marker == 0xD9:
            return True
        if not 0xD0 <= marker <= 0xD8 and marker != 1:
            place += int.from_bytes(data[place : place + 2], "big")
    return False


def _gif(data: bytes, zeros: int) -> bool:
    def table(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    place = 13 + table(data[10])
    while place < zeros:
        block = data[place]
        if block == 0x3B:
            return True
        if block == 0x2C and place + 10 < zeros:
            place += 11 + table(data[place + 9])
        elif block == 0x21:
            place += 2
        else:
            return False
        while place < zeros and data[place]:
            place += 1 + data[place]
        place += 1
    return False


def _webp(data: bytes, zeros: int) -> bool:
    """Neither are the pixels' zeros too many, nor is a part behind them missing."""
    place, end = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while place + 8 <= end:
        kind, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8
        last = min(place + length, end)
        run = last - max(place, zeros)
        if kind == b"\0\0\0\0" or (kind in _WEBP_PIXELS and run >= _RUN and _more_than_needed(data, kind, last, run)):
            return False
        place += length + length % 2
    return True


def _more_than_needed(data: bytes, kind: bytes, end: int, run: int) -> bool:
    """Whether a WebP's run of zeros is longer than what an encoder writes: it ends an even area in zeros."""
    with Image.open(io.BytesIO(data)) as image:
        if kind == b"VP8L":  # even areas take far fewer bits than others
            values = np.asarray(image.convert("RGBA")).view(np.uint32).ravel()
            other = np.flatnonzero(values != values[-1])
            even = values.size - (other[-1] + 1 if other.size else 0)
            return len(data) * 8 > values.size and even * len(data) < 4 * run * values.size
        start = data.index(kind, 12) + 8
    shorter = data[start : end - run // 2]  # where all are needed, the decoder misses the half of them
    whole = b"WEBPVP8 " + len(shorter).to_bytes(4, "little") + shorter + b"\0" * (len(shorter) % 2)
    try:
        Image.open(io.BytesIO(b"RIFF" + len(whole).to_bytes(4, "little") + whole)).load()
    except Exception:  # as in load_image
        return False
    return True


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of the boxes of an ISO media file."""
    place = 0
    while place + 8 <= len(data):
        length, kind, head = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8], 8
        if length == 1:
            length, head = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        end = place + length if length >= head else len(data)
        yield kind, place + head, min(end, len(data))
        place = end


def _avif(data: bytes, zeros: int) -> bool:
    return not any(
        kind == b"\0\0\0\0" or (kind == b"mdat" and end - max(start, zeros) >= _AVIF_RUN)
        for kind, start, end in _boxes(data)
    )


def _jpeg_2000(data: bytes, zeros: int) -> bool:
    if data.startswith(b"\xff\x4f"):
        return data.rstrip(b"\0").endswith(b"\xff\xd9")
    return any(
        kind == b"jp2c" and (end - max(start, zeros) < _RUN or data[start:end].rstrip(b"\0").endswith(b"\xff\xd9"))
        for kind, start, end in _boxes(data)
    )


def _bmp(data: bytes, zeros: int) -> bool:
    return int.from_bytes(data[30:34], "little") not in _BMP_RLE or data[:zeros].endswith(b"\0\1")


_ENDS = {
    **{"JPEG": _jpeg, "MPO": _jpeg, "GIF": _gif, "WEBP": _webp},
    **{"AVIF": _avif, "JPEG2000": _jpeg_2000, "BMP": _bmp},
}

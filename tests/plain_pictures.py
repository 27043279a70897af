"""PNG and TIFF files of any form, and a second reader of them: numpy and the two standards alone.

Colours are given as RGB [H, W, 3], floating-point, 0 to 255, laid on white.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
TIFF_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 7: "B", 11: "f"}
REDUCED, MASK = 1, 4  # bits of NewSubfileType


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(samples: np.ndarray, bits: int) -> np.ndarray:
    """Rows of samples [H, N], first bits highest -> bytes [H, B]."""
    places = np.arange(bits)[::-1]
    spread = (samples[..., None].astype(np.int64) >> places & 1).astype(np.uint8)
    return np.packbits(spread.reshape(len(samples), -1), axis=1)


def unpacked(rows: np.ndarray, count: int, bits: int) -> np.ndarray:
    """Bytes [H, B] -> samples [H, count]."""
    spread = np.unpackbits(rows, axis=1)[:, : count * bits].reshape(len(rows), count, bits)
    return spread.astype(np.int64) @ (1 << np.arange(bits)[::-1])


def png(samples: np.ndarray, bits: int, colour: int, *before: bytes, interlaced: bool = False) -> bytes:
    """A PNG file of samples [H, W, S] as they are; `before` are chunks that come before the picture's data."""
    height, width, _ = samples.shape
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    body = b""
    for top, left, down, right in passes:
        part = samples[top::down, left::right]
        if part.size:
            rows = packed(part.reshape(len(part), -1), bits)
            body += np.pad(rows, ((0, 0), (1, 0))).tobytes()
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    parts = (chunk(b"IHDR", header), *before, chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b""))
    return SIGNATURE + b"".join(parts)


def tiff(*pages: tuple[np.ndarray, int, dict[int, Any]], order: str = "<") -> bytes:
    """A TIFF file of pages: samples [H, W, S] as they are, bits of each (-32: floating-point), further tags.

    Rows are in one strip, in planes where tag 284 is 2, compressed where tag 259 is 8, lowest bit first where 266 is 2.
    """
    data = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 0)
    link = 4  # where the place of the next page is written
    for samples, bits, tags in pages:
        height, width, count = samples.shape
        planes = [samples[..., [band]] for band in range(count)] if tags.get(284) == 2 else [samples]
        strips = [_strip(plane, bits, order, tags) for plane in planes]
        offsets = [len(data) + sum(map(len, strips[:number])) for number in range(len(strips))]
        data += b"".join(strips)
        entries: dict[int, Any] = {
            **{256: width, 257: height, 258: [abs(bits)] * count, 259: 1, 262: 1, 273: offsets, 277: count},
            **{278: height, 279: [len(strip) for strip in strips]},
            **tags,
        }
        data += b"\0" * (len(data) % 2)
        data = data[:link] + struct.pack(order + "I", len(data)) + data[link + 4 :]
        directory, link = _directory(entries, len(data), order)
        data += directory
    return data


def _strip(plane: np.ndarray, bits: int, order: str, tags: dict[int, Any]) -> bytes:
    if bits in (16, 32, -32):
        found = plane.astype(order + {16: "u2", 32: "u4", -32: "f4"}[bits]).tobytes()
    else:
        rows = packed(plane.reshape(len(plane), -1), bits)
        found = (np.packbits(np.unpackbits(rows), bitorder="little") if tags.get(266) == 2 else rows).tobytes()
    return zlib.compress(found) if tags.get(259) == 8 else found


def _directory(entries: dict[int, Any], start: int, order: str) -> tuple[bytes, int]:
    """A page's tags, and where in the file the place of the next one goes."""
    link = start + 2 + 12 * len(entries)
    table, beyond = struct.pack(order + "H", len(entries)), b""
    for tag, value in sorted(entries.items()):
        values = value if isinstance(value, list) else [value]
        kind = 4 if tag in (273, 279) else 3
        content = struct.pack(f"{order}{len(values)}{TIFF_TYPES[kind]}", *values)
        if len(content) > 4:
            content, beyond = struct.pack(order + "I", link + 4 + len(beyond)), beyond + content
        table += struct.pack(order + "HHI", tag, kind, len(values)) + content.ljust(4, b"\0")
    return table + b"\0" * 4 + beyond, link


def read(data: bytes) -> np.ndarray:
    """The picture of a PNG or TIFF file, upright."""
    return _read_png(data) if data.startswith(SIGNATURE) else _read_tiff(data)


def _read_png(data: bytes) -> np.ndarray:
    chunks: dict[bytes, bytes] = {}
    place = len(SIGNATURE)
    while place < len(data):
        (length,), kind = struct.unpack_from(">I", data, place), data[place + 4 : place + 8]
        chunks[kind] = chunks.get(kind, b"") + data[place + 8 : place + 8 + length]
        place += 12 + length
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    count, body, place = PNG_SAMPLES[colour], zlib.decompress(chunks[b"IDAT"]), 0
    samples = np.zeros((height, width, count), np.int64)
    for top, left, down, right in ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = samples[top::down, left::right]
        if part.size:
            step = 1 + (part.shape[1] * count * bits + 7) // 8
            rows = _unfiltered(body[place : place + step * len(part)], step, max(1, count * bits // 8))
            part[:] = unpacked(rows, part.shape[1] * count, bits).reshape(part.shape)
            place += step * len(part)
    highest, alpha = 2**bits - 1, np.ones((height, width, 1))
    clear = chunks.get(b"tRNS")
    if colour == 3:
        table = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
        opacity = np.full(len(table), 255)
        opacity[: len(clear or b"")] = list(clear or b"")
        colours, alpha = table[samples[..., 0]] * 1.0, opacity[samples] / 255
    else:
        colours = samples[..., : 3 if colour & 2 else 1] * 255 / highest
        if colour & 4:
            alpha = samples[..., -1:] / highest
        elif clear is not None:
            alpha = 1.0 - (samples == struct.unpack(f">{count}H", clear)).all(-1, keepdims=True)
    exif = chunks.get(b"eXIf")
    orientation = 1 if exif is None else _pages(exif)[0].get(274, [1])[0]
    return _turned(_on_white(colours, alpha), orientation)


def _unfiltered(body: bytes, step: int, pixel: int) -> np.ndarray:
    rows = np.frombuffer(body, np.uint8).reshape(-1, step)
    done = np.zeros((len(rows), step - 1 + pixel), np.int64)  # zeros stand left of each row
    above = done[0] * 0
    for row, (kind, *values) in zip(done, rows.tolist(), strict=True):
        for place, value in enumerate(values, start=pixel):
            left, up, corner = int(row[place - pixel]), int(above[place]), int(above[place - pixel])
            near = min((left, up, corner), key=lambda one: abs(left + up - corner - one))
            row[place] = value + (0, left, up, (left + up) // 2, near)[kind] & 255
        above = row
    return done[:, pixel:].astype(np.uint8)


def _pages(data: bytes) -> list[dict[int, list[Any]]]:
    """The tags of each page."""
    order = "<" if data[:2] == b"II" else ">"
    (place,), pages = struct.unpack_from(order + "I", data, 4), list[dict[int, list[Any]]]()
    while place:
        (count,) = struct.unpack_from(order + "H", data, place)
        page: dict[int, list[Any]] = {}
        for start in range(place + 2, place + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", data, start)
            if kind in TIFF_TYPES:
                form = f"{order}{number}{TIFF_TYPES[kind]}"
                inline = struct.calcsize(form) <= 4
                at = start + 8 if inline else struct.unpack_from(order + "I", data, start + 8)[0]
                page[tag] = list(struct.unpack_from(form, data, at))
        pages.append(page)
        (place,) = struct.unpack_from(order + "I", data, place + 2 + 12 * count)
    return pages


def _read_tiff(data: bytes) -> np.ndarray:
    page = next(page for page in _pages(data) if not page.get(254, [0])[0] & (REDUCED | MASK))
    (width,), (height,), bits, photometric = page[256], page[257], page[258][0], page[262][0]
    count, order = page.get(277, [1])[0], ("<" if data[:2] == b"II" else ">")
    planes = count if page.get(284, [1])[0] == 2 else 1
    body = b""
    for place, length in zip(page[273], page[279], strict=True):
        strip = data[place : place + length]
        body += zlib.decompress(strip) if page[259][0] in (8, 32946) else strip
    if bits == 16:
        samples = np.frombuffer(body, order + "u2").astype(np.int64)
    else:
        stored = np.frombuffer(body, np.uint8)
        if page.get(266, [1])[0] == 2:
            stored = np.packbits(np.unpackbits(stored, bitorder="little"))
        samples = unpacked(stored.reshape(planes * height, -1), width * count // planes, bits)
    if planes > 1:
        samples = samples.reshape(planes, height, width).transpose(1, 2, 0)
    samples = samples.reshape(height, width, count)
    if photometric == 3:
        colours, bands = np.array(page[320]).reshape(3, -1).T[samples[..., 0]] * 255 / 65535, 1
    else:
        bands = {0: 1, 1: 1, 2: 3, 5: 4}[photometric]
        colours = samples[..., :bands] * 255 / (2**bits - 1)
        colours = 255 - colours if photometric in (0, 5) else colours
        colours = colours[..., :3] * colours[..., 3:] / 255 if photometric == 5 else colours
    alpha, extra = np.ones((height, width, 1)), page.get(338, [0])[0]
    if extra:
        alpha = samples[..., bands : bands + 1] / (2**bits - 1)
    if extra == 1:  # colours are multiplied with it already
        return _turned(colours + 255 * (1 - alpha), page.get(274, [1])[0])
    return _turned(_on_white(colours, alpha), page.get(274, [1])[0])


def _on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return colours * alpha + 255 * (1 - alpha)


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """A picture as it is to be seen: top left corner and axes of the EXIF orientation; grey becomes RGB."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.broadcast_to(image, (*image.shape[:2], 3))

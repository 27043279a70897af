"""Zeros inside the compressed data of a JPEG, as a disk or a broken download leaves them; decoders take them for data.

Zero bits are decoded as the symbol whose code is all zeros. Encoders write long runs of them only where that says
"nothing changes": in sequential files if it is so of every component, as in drawings with even areas, and in the bits
that refine DC coefficients. Elsewhere a run is damage.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

_RUN = re.compile(rb"\x00{12,}")
_LONG = 64  # bytes of zeros that refinements of AC coefficients do not reach
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_SCAN_END = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
_PROGRESSIVE, _TABLES, _SCAN, _END = (0xC2, 0xC6), 0xC4, 0xDA, 0xD9


@dataclass
class _Scan:
    """Compressed data, from byte to byte."""

    start: int
    end: int
    run: int | None  # bytes of zeros from which on they are damage; None: any number may be meant


@dataclass
class _Tables:
    """What was said before a scan."""

    progressive: bool = False
    zero_symbols: dict[int, int] = field(default_factory=dict)  # by table (class and number): of the code of zeros

    def read(self, segment: bytes) -> None:
        """Take Huffman tables."""
        while len(segment) >= 17:
            counts, place = segment[1:17], 17
            if sum(counts) and place < len(segment):
                self.zero_symbols[segment[0]] = segment[place]  # the first code is zeros, whatever its length
            segment = segment[place + sum(counts) :]

    def run(self, header: bytes) -> int | None:
        """Of the scan with this header, as in `_Scan`."""
        count = header[0] if header else 0
        if len(header) < 4 + 2 * count:
            return None
        tables = header[2 : 2 + 2 * count : 2]
        dc = [self.zero_symbols.get(table >> 4, 0) for table in tables]
        ac = [self.zero_symbols.get(0x10 | table & 15, 0) for table in tables]
        first, refines = header[1 + 2 * count], header[3 + 2 * count] >> 4
        if not self.progressive:
            return 12 if any(dc) or any(ac) else None
        if first == 0:
            return 12 if any(dc) and not refines else None
        return _LONG if refines else 12


def zeros_in_jpeg(data: bytes) -> tuple[int, int] | None:
    """Where zeros that no encoder writes begin in a JPEG file's compressed data, and how many; None: nowhere."""
    runs = [found.span() for found in _RUN.finditer(data)]
    if not runs:
        return None
    ends = [end for _, end in runs]
    for scan in _scans(data):
        for place in range(bisect_right(ends, scan.start), bisect_left(runs, (scan.end, 0))):
            start, end = runs[place]
            start, end = max(start, scan.start), min(end, scan.end)
            if scan.run is not None and end - start >= scan.run:
                return start, end - start
    return None


def _scans(data: bytes) -> Iterator[_Scan]:
    tables, place = _Tables(), 2
    while found := _MARKER.search(data, place):
        marker, place = found[1][0], found.end()
        if marker == _END:
            return
        if 0xD0 <= marker <= 0xD8 or marker == 1:
            continue
        length = int.from_bytes(data[place : place + 2], "big")
        segment, place = data[place + 2 : place + length], place + max(2, length)
        if marker in _PROGRESSIVE:
            tables.progressive = True
        elif marker == _TABLES:
            tables.read(segment)
        elif marker == _SCAN:
            ends = _SCAN_END.search(data, place)
            end = len(data) if ends is None else ends.start()
            yield _Scan(place, end, tables.run(segment))
            place = end

"""The headers of tar archives, told from other files and read one after the other."""

from __future__ import annotations

BLOCK = 512  # bytes


def is_tar(start: bytes) -> bool:
    """Whether a file that begins with these bytes is a tar archive: its first header's checksum is right."""
    if len(start) < BLOCK or not start[0]:
        return False
    told = start[148:156].strip(b" \0")
    header = start[:148] + b" " * 8 + start[156:BLOCK]
    return told.isdigit() and int(told, 8) == sum(header) if not told.strip(b"01234567") else False

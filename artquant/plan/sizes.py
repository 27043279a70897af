"""Amounts of memory, read and written."""

from __future__ import annotations

import re

from artquant.errors import ArtQuantError

GIB = 2**30
_UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": GIB, "TiB": 2**40, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_MOST = 1 << 50
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def parse_memory(text: str) -> int:
    """An amount such as 24GiB, 80GB or 512MiB, in bytes.

    Raises:
        ArtQuantError: not an amount, an unknown unit, or nothing.
    """
    match = _AMOUNT.fullmatch(text.strip())
    units = {unit.lower(): factor for unit, factor in _UNITS.items()}
    if match is None or match[2].lower() not in units or not match[2]:
        raise ArtQuantError(f"--memory {text[:40]!r}: write a number with GiB, MiB, GB or MB, such as 24GiB")
    amount = float(match[1]) * units[match[2].lower()]
    if not 1 <= amount <= _MOST:
        raise ArtQuantError(f"--memory {text[:40]!r}: must be above 0 and at most {_MOST >> 40} TiB")
    return int(amount)


def shown(size: float) -> str:
    """Bytes for people: GiB with two digits, or MiB below one tenth of a GiB."""
    if abs(size) < GIB / 10:
        return f"{size / 2**20:.1f} MiB"
    return f"{size / GIB:.2f} GiB"

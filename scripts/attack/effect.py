"""Whether options that a command took have changed anything that it makes."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path

from artquant.errors import ArtQuantError

from . import bench
from .bench import Around, Outcome
from .ground import Ground, working

# Options that may change nothing: how it is computed, not what; and leave for what does not occur here.
NEUTRAL = frozenset(
    (
        *("quiet", "workers", "batch_size", "device", "attention"),
        *("untested", "anyway", "allow_other_base", "allow_missing", "allow_extra", "strict"),
        *("skip_unreadable", "skip_missing", "overwrite", "clamp", "all", "clean_names", "ignore_split", "ignore_std"),
    )
)
# Values that are the usual ones, given in words.
USUAL = {"dtype": "float32", "to": "merged", "format": "safetensors", "method": "gaussian", "readout": "rating_levels"}
_ABOUT = re.compile(rb'"command[^\n]*|\d{4}-\d\d-\d\d[T ][\d:.+]+')  # what was typed, and when


def made(outcome: Outcome, folder: Path) -> dict[str, bytes]:
    """All that a command has said and written, but for times and the folder's name."""
    parts = {"said": outcome.output.encode("utf-8", "surrogateescape")}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
            parts[str(file.relative_to(folder))] = file.read_bytes()
    return {name: _ABOUT.sub(b"", part.replace(str(folder).encode(), b"")) for name, part in parts.items()}


@cache
def usually_made(ground: Ground, name: str) -> dict[str, bytes]:
    """The same of a working command line as it is."""
    with tempfile.TemporaryDirectory(prefix="attack-") as new:
        folder = Path(new)
        return made(bench.run(["--quiet", *working(ground, folder)[name]], Around(folder=folder, limit=60)), folder)


def may_be_idle(option: argparse.Action, value: str | None, basis: Iterable[str]) -> bool:
    """Whether an option with this value (None: a flag) may change nothing: neutral, or what holds without it."""
    if option.dest in NEUTRAL:
        return True
    if value is None:
        return any(flag in basis for flag in option.option_strings)
    basis = list(basis)
    if value == USUAL.get(option.dest) or any((flag, value) in pairwise(basis) for flag in option.option_strings):
        return True
    try:
        return (option.type or str)(value) == option.default  # type: ignore[operator]
    except (ArtQuantError, argparse.ArgumentTypeError, ValueError):
        return False

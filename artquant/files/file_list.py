"""Which files a folder holds, with sizes and SHA-256: written down when it is made, compared when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

SMALL = 64 << 20  # bytes; files up to this are read in a moment
_BLOCK = 1 << 20
_SEAL = "sha256"


def list_files(folder: Path, without: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Every file below a folder: its name from there -> `size` in bytes and `sha256`.

    Raises:
        OSError: a file cannot be read.
    """
    files = {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}
    return {name: describe_file(file) for name, file in files.items() if name not in without}


def describe_file(file: Path) -> dict[str, Any]:
    """A file's `size` in bytes and `sha256`. Raises OSError: it cannot be read."""
    return {"size": file.stat().st_size, "sha256": file_sha256(file)}


def file_faults(folder: Path, listed: Mapping[str, Any], largest: int | None = None) -> Iterator[str]:
    """What is not as it was written down: files that are gone, of another size, or of another content.

    Args:
        listed: as `list_files` gives it; sizes alone, as earlier versions wrote them, are compared as such. What is
            `optional` may be gone, unless everything is compared.
        largest: bytes up to which a file's content is compared; None: everything is.

    Raises:
        TypeError, KeyError, AttributeError: it is no such list.
        OSError: a file cannot be read.
    """
    for name, said in listed.items():
        file, facts = folder / name, {"size": said} if isinstance(said, int) else said
        if not file.is_file():
            if largest is None or not facts.get("optional"):
                yield f"{name} is missing"
        elif file.stat().st_size != facts["size"]:
            yield f"{name} has {file.stat().st_size} bytes instead of {facts['size']}"
        elif facts is said and (largest is None or facts["size"] <= largest) and file_sha256(file) != facts["sha256"]:
            yield f"{name} is not as it was written (another SHA-256)"


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values with a SHA-256 over all others beside them."""
    own = {name: value for name, value in values.items() if name != _SEAL}
    return {**own, _SEAL: _digest_of(own)}


def is_unbroken(values: Mapping[str, Any]) -> bool:
    """Whether sealed values are as they were written."""
    return values.get(_SEAL) == _digest_of({name: value for name, value in values.items() if name != _SEAL})


def _digest_of(values: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(values))  # as a file gives them back
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits. Raises OSError: it cannot be read."""
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            found.update(block)
    return found.hexdigest()

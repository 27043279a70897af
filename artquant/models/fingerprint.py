"""What a model folder computes with - weights, settings, tokenizer, preprocessor - told in seconds however large."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

_WHOLE = 64 << 20  # files up to this many bytes are read whole
_BLOCK = 1 << 20
_BLOCKS = 32  # read of a larger file, evenly from its first byte (where safetensors says what it holds) to its last

WEIGHT_SUFFIXES = (".safetensors", ".bin")
_SETTINGS = ("config.json", "adapter_config.json")
# Files beside them that a score depends on too. Cards are not among them: what they say is compared by itself.
_PROCESSOR = (
    *("generation_config.json", "preprocessor_config.json"),
    *("processor_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "chat_template.json", "chat_template.jinja"),
)


def fingerprint(folder: Path | str) -> str:
    """SHA-256 over name, size and content of the settings and the weights.

    Of files above 64 MiB 32 blocks of 1 MiB are read, so two bases that differ only between those would be taken for
    one; bases that were trained differ everywhere.

    Raises:
        OSError: a file cannot be read.
    """
    folder = Path(folder)
    weights = sorted(file for file in folder.glob("*") if file.suffix in WEIGHT_SUFFIXES)
    return _digest([*(folder / name for name in _SETTINGS), *weights])


def processor_fingerprint(folder: Path | str) -> str:
    """The same over tokenizer and preprocessor, which of a base do not count: an adapter has its own."""
    return _digest([Path(folder) / name for name in _PROCESSOR])


def _digest(files: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for file in files:
        if file.is_file():
            found.update(f"{file.name} {file.stat().st_size}\n".encode())
            _add(found, file)
    return found.hexdigest()


def _add(found: hashlib._Hash, file: Path) -> None:
    size = file.stat().st_size
    with file.open("rb") as stream:
        if size <= _WHOLE:
            while block := stream.read(_BLOCK):
                found.update(block)
            return
        for number in range(_BLOCKS):
            stream.seek((size - _BLOCK) * number // (_BLOCKS - 1))
            found.update(stream.read(_BLOCK))

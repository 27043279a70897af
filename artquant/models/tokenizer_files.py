"""Which file of a tokenizer or preprocessor is at fault where a library's reader fails.

Libraries try other readers then, and report what those would need.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from artquant.errors import ArtQuantError, one_line
from artquant.files.json_files import read_json
from artquant.models.family import CheckpointError

_SETTINGS = (
    *("preprocessor_config.json", "processor_config.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "chat_template.json"),
)


def unreadable_processor(folder: Path, error: Exception) -> CheckpointError:
    """The error for a folder whose tokenizer or processor cannot be read."""
    if isinstance(error, ArtQuantError):
        return CheckpointError(f"{folder}: {error}")
    fault = next(_faults(folder), None)
    if fault is not None:
        return CheckpointError(f"{fault}; copy the file again")
    return CheckpointError(f"{folder}: tokenizer or processor cannot be read: {one_line(error)}")


def _faults(folder: Path) -> Iterator[str]:
    """Files that are not what their name says."""
    for name in _SETTINGS:
        if (folder / name).is_file():
            try:
                settings = read_json(folder / name)
            except ArtQuantError as error:
                yield str(error)
            else:
                if not isinstance(settings, dict):
                    yield f"{folder / name}: not a JSON object"
    for name, read in (("tokenizer.json", Tokenizer.from_file), ("tokenizer.model", SentencePieceProcessor)):
        if (folder / name).is_file():
            try:
                read(str(folder / name))
            except Exception as error:  # of Rust and of C++, without a kind of their own
                yield f"{folder / name}: not a tokenizer ({one_line(error)})"

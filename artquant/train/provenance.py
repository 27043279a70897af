"""What a run says of itself in its checkpoints and its model: what was trained, on what, with which versions."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from artquant import __version__
from artquant.config.schema import RunConfig, StageConfig
from artquant.data.prepared import DATA_CARD
from artquant.data.record_file import RecordFile
from artquant.files.file_list import file_sha256

_PACKAGES = ("torch", "transformers", "accelerate", "peft", "deepspeed")


def describe_data(files: Sequence[RecordFile]) -> list[dict[str, Any]]:
    """Of each record file its name, its number of records and the hash of its content; and of its data card's, if any.

    The data card is the `dataset.json` that `artquant prepare` writes beside the records.
    """
    described = []
    for records in files:
        entry = {"records": str(records.path), "count": len(records), "sha256": file_sha256(records.path)}
        card = records.path.parent / DATA_CARD
        described.append(entry | ({"card_sha256": file_sha256(card)} if card.is_file() else {}))
    return described


def describe_stage(config: RunConfig, stage: StageConfig, files: Sequence[RecordFile]) -> dict[str, Any]:
    """Run, stage, base, prompt, rating scale, data and versions, as plain values."""
    return {
        "run": config.run,
        "stage": stage.name,
        "base": str(config.base),
        "prompt": config.prompt,
        "subject": config.subject,
        "levels": {"words": list(config.levels.words), "weights": list(config.levels.weights)},
        "data": describe_data(files),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of this package, Python and what training rests on; packages that are not installed are absent."""
    found = {"artquant": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found

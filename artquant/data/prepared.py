"""Record files that `artquant prepare` wrote: whether they are still those of the card beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artquant.errors import ArtQuantError
from artquant.files.file_list import file_sha256
from artquant.files.json_files import read_json
from artquant.files.whole_files import require_settled

DATA_CARD = "dataset.json"
_LARGEST_CARD = 1 << 24  # bytes; a file of this name that is larger is something else


def require_as_prepared(file: Path | str) -> None:
    """Refuse a record file that its data card lists with another content: lists of two draws mix test and training.

    Files that no card of ours lists may hold anything.

    Raises:
        ArtQuantError: it is not as it was prepared, or it is just being replaced.
    """
    file = Path(file)
    require_settled(file)
    listed = _listed(file.parent / DATA_CARD).get(file.name)
    if not isinstance(listed, dict) or "sha256" not in listed or not file.is_file():
        return
    if file_sha256(file) != listed["sha256"]:
        raise ArtQuantError(
            f"{file}: is not the file that {DATA_CARD} beside it lists; prepare it again, or, if it was changed "
            "on purpose, give it another name"
        )


def _listed(card: Path) -> dict[str, Any]:
    """What a card of ours says of its folder's files; empty where there is none."""
    try:
        values = read_json(card) if card.is_file() and card.stat().st_size <= _LARGEST_CARD else None
    except ArtQuantError:  # another program's
        values = None
    if not isinstance(values, dict) or "artquant" not in values or not isinstance(values.get("files"), dict):
        return {}
    return values["files"]

"""Model folders of ours that a test changes: as an earlier version wrote them, without a list of their files."""

import json
from pathlib import Path
from typing import Any

from artquant.models.model_card import CARD, CARD_MARK


def unlisted(folder: Path, **changes: Any) -> Path:
    """Take the list of files out of a folder's card, and out of `config.json` that there is one; change the card."""
    card, config = folder / CARD, folder / "config.json"
    values = json.loads(card.read_text(encoding="utf-8"))
    kept = {name: value for name, value in (values | changes).items() if name not in ("files", "sha256")}
    card.write_text(json.dumps(kept), encoding="utf-8")
    if config.is_file():
        without_mark(config, folder)
    return folder


def without_mark(config: Path, folder: Path) -> None:
    """Copy a configuration into a folder that other code writes, where no card belongs."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings.pop(CARD_MARK, None)
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")

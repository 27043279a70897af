"""Record files that `artquant prepare` wrote: whether they are those of the card beside them, and for which levels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artquant.errors import ArtQuantError
from artquant.files.file_list import file_sha256
from artquant.files.json_files import read_json
from artquant.files.whole_files import require_settled
from artquant.labels.rating_scale import RatingScale

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
    listed = _card(file)["files"].get(file.name)
    if not isinstance(listed, dict) or "sha256" not in listed or not file.is_file():
        return
    if file_sha256(file) != listed["sha256"]:
        raise ArtQuantError(
            f"{file}: is not the file that {DATA_CARD} beside it lists; prepare it again, or, if it was changed "
            "on purpose, give it another name"
        )


def require_levels(file: Path | str, scale: RatingScale) -> None:
    """Refuse a record file that its data card says was made for other rating words or scores: its shares mean others.

    Of a readout over score tokens, which takes no words, the lowest and highest score have to agree.

    Raises:
        ArtQuantError: they differ from those of the run's scale.
    """
    file = Path(file)
    card = _card(file)
    said = card.get("scale")
    if file.name not in card["files"] or not isinstance(said, dict) or not isinstance(said.get("values"), list):
        return
    words, values = said.get("words"), said["values"]
    if "readout" in card:
        fits = values[:1] == [scale.high] and values[-1:] == [scale.low]
    else:
        fits = words == [*scale.words] and values == [*scale.values]
    if not fits:
        weights = ", ".join(f"{value:g}" for value in scale.values)
        raise ArtQuantError(
            f"{file}: was prepared for other levels than the configuration's ({', '.join(scale.words)}: {weights}); "
            f"write levels: {{words: {words}, weights: {values}}} there, or prepare it anew (--words, --levels)"
        )


def card_of(file: Path | str) -> dict[str, Any]:
    """The data card of ours that lists this record file; empty where there is none."""
    file = Path(file)
    card = _card(file)
    return card if file.name in card["files"] else {}


def _card(file: Path) -> dict[str, Any]:
    """A card of ours beside a record file; one that lists no files where there is none."""
    card = file.parent / DATA_CARD
    try:
        values = read_json(card) if card.is_file() and card.stat().st_size <= _LARGEST_CARD else None
    except ArtQuantError:  # another program's
        values = None
    if not isinstance(values, dict) or "artquant" not in values or not isinstance(values.get("files"), dict):
        return {"files": {}}
    return values

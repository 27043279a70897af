"""The card of a model that we trained: `artquant.json` in its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artquant import __version__
from artquant.errors import ArtQuantError
from artquant.jsonio import read_json, write_json
from artquant.models.adapters import CheckpointError
from artquant.models.fingerprint import fingerprint
from artquant.prompts import Prompt
from artquant.readouts import READOUTS, Readout

CARD = "artquant.json"


@dataclass(frozen=True)
class Card:
    """How a model is asked, how its answer is read, and where it comes from.

    attributes: that it was trained to score. history: run, stage, data, versions, as plain values. base: of an adapter,
    the folder of the model that it lies over, as it was configured, with that model's fingerprint.
    """

    prompt: Prompt
    readout: Readout
    attributes: tuple[str, ...] = ()
    history: dict[str, Any] = field(default_factory=dict)
    base: Path | None = None
    base_fingerprint: str | None = None

    def write(self, folder: Path) -> None:
        """Put the card into a model folder."""
        values = {
            "artquant": __version__,
            "prompt": self.prompt.to_dict(),
            "readout": self.readout.to_dict(),
            "attributes": list(self.attributes),
            "history": self.history,
        }
        if self.base is not None:
            values["base"] = {"folder": str(self.base), "fingerprint": self.base_fingerprint}
        write_json(folder / CARD, values)

    @classmethod
    def read(cls, folder: Path) -> Card | None:
        """A folder's card, or None where it has none.

        Raises:
            CheckpointError: it is not a card of this version.
        """
        file = folder / CARD
        if not file.is_file():
            return None
        values = read_json(file)
        try:
            base = values.get("base")
            return cls(
                prompt=Prompt.from_dict(values["prompt"]),
                readout=READOUTS[values["readout"]["kind"]].from_dict(values["readout"]),
                attributes=tuple(values["attributes"]),
                history=dict(values["history"]),
                base=None if base is None else Path(base["folder"]),
                base_fingerprint=None if base is None else base["fingerprint"],
            )
        except (KeyError, TypeError, ValueError, AttributeError, ArtQuantError) as error:
            raise CheckpointError(
                f"{file}: not a model card of this version ({error!r}); save the model again"
            ) from error


def base_of(folder: Path, base: Path | None, allow_other_base: bool = False) -> Path:
    """The base that an adapter is to be put over: the one named, else its card's.

    Raises:
        CheckpointError: none is known, it is not there, or it is another one than the adapter was trained over.
    """
    card = Card.read(folder)
    recorded = None if card is None else card.base
    chosen = base or recorded
    if chosen is None:
        raise CheckpointError(
            f"{folder}: holds a LoRA run over a base model; name the base model's folder (--base DIR)"
        )
    if not (chosen / "config.json").is_file():
        raise CheckpointError(
            f"{folder}: lies over the base model {chosen}, which is not there; name its folder (--base DIR)"
        )
    if card is None or card.base_fingerprint is None or allow_other_base:
        return chosen
    found = fingerprint(chosen)
    if found != card.base_fingerprint:
        raise CheckpointError(
            f"{folder}: was trained over another base than {chosen} holds (SHA-256 {card.base_fingerprint[:16]}..., "
            f"found {found[:16]}...); name the right one (--base DIR), or go on all the same (--allow-other-base)"
        )
    return chosen


def has_base(folder: Path) -> bool:
    """Whether a model folder says by itself which base it lies over."""
    card = Card.read(folder)
    return card is not None and card.base is not None

"""The card of a model that we trained: `artquant.json` in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artquant import __version__
from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json, write_json
from artquant.models.adapters import CheckpointError, is_adapter
from artquant.models.fingerprint import fingerprint
from artquant.readouts import READOUTS, Readout
from artquant.texts.prompt import Prompt

CARD = "artquant.json"


@dataclass(frozen=True)
class Base:
    """The model that an adapter lies over.

    folder: as it was configured. fingerprint: of what it holds. base: what it lies over itself, if it is an adapter.
    """

    folder: Path
    fingerprint: str
    base: Base | None = None

    @classmethod
    def of(cls, folders: Sequence[Path]) -> Base | None:
        """From the model folders below an adapter, the nearest first; None where there are none."""
        if not folders:
            return None
        return cls(folders[0], fingerprint(folders[0]), cls.of(folders[1:]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the card."""
        below = {} if self.base is None else {"base": self.base.to_dict()}
        return {"folder": str(self.folder), "fingerprint": self.fingerprint, **below}

    @classmethod
    def from_dict(cls, values: dict[str, Any] | None) -> Base | None:
        """From a card's values; None where it has none."""
        if values is None:
            return None
        return cls(Path(values["folder"]), values["fingerprint"], cls.from_dict(values.get("base")))


@dataclass(frozen=True)
class Card:
    """How a model is asked, how its answer is read, and where it comes from.

    attributes: that it was trained to score. history: run, stage, data, versions, as plain values. base: of an adapter.
    """

    prompt: Prompt
    readout: Readout
    attributes: tuple[str, ...] = ()
    history: dict[str, Any] = field(default_factory=dict)
    base: Base | None = None

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
            values["base"] = self.base.to_dict()
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
            return cls(
                prompt=Prompt.from_dict(values["prompt"]),
                readout=READOUTS[values["readout"]["kind"]].from_dict(values["readout"]),
                attributes=tuple(values["attributes"]),
                history=dict(values["history"]),
                base=Base.from_dict(values.get("base")),
            )
        except (KeyError, TypeError, ValueError, AttributeError, ArtQuantError) as error:
            raise CheckpointError(
                f"{file}: not a model card of this version ({error!r}); save the model again"
            ) from error


def adapter_chain(folder: Path, base: Path | None = None, allow_other_base: bool = False) -> list[Path]:
    """The folders that a model's weights are put together from: an adapter, what it lies over, ..., a whole model.

    Args:
        base: where the base is, if not where the card says. Where an adapter lies over others, of the one that it fits:
            by its fingerprint, else of the lowest.
        allow_other_base: put an adapter over a base that it was not trained over.

    Raises:
        CheckpointError: a base is not known, is not there, or is another one than the adapter was trained over.
    """
    folders = [folder]
    known = None
    while is_adapter(folders[-1]):
        top = folders[-1]
        card = Card.read(top)
        known = known if card is None or card.base is None else card.base
        if base is not None and _fits_here(base, known):
            chosen, base = base, None
        elif known is not None:
            chosen = known.folder
        else:
            raise CheckpointError(
                f"{top}: holds a LoRA run over a base model; name the base model's folder (--base DIR)"
            )
        _require_base(top, chosen, None if allow_other_base else known)
        folders.append(chosen)
        known = None if known is None else known.base
    return folders


def _fits_here(named: Path, known: Base | None) -> bool:
    """Whether a named base is meant for this adapter, not for one that it lies over."""
    return known is None or not is_adapter(known.folder) or fingerprint(named) == known.fingerprint


def _require_base(folder: Path, base: Path, known: Base | None) -> None:
    if not (base / "config.json").is_file():
        raise CheckpointError(
            f"{folder}: lies over the base model {base}, which is not there; name its folder (--base DIR)"
        )
    if known is None:
        return
    found = fingerprint(base)
    if found != known.fingerprint:
        raise CheckpointError(
            f"{folder}: was trained over another base than {base} holds (SHA-256 {known.fingerprint[:16]}..., "
            f"found {found[:16]}...); name the right one (--base DIR), or go on all the same (--allow-other-base)"
        )


def has_base(folder: Path) -> bool:
    """Whether a model folder says by itself which base it lies over."""
    card = Card.read(folder)
    return card is not None and card.base is not None

"""The card of a model that we trained: `artquant.json` in its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artquant import __version__
from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json, write_json
from artquant.models.family import CheckpointError
from artquant.readouts import Readout, stored_readout
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

    attributes: that it was trained to score; one_text: whether in one answer. history: run, stage, data, versions, as
    plain values. base: of an adapter. learned: tasks that it was trained on here, "score" and "description", in any
    stage; None: not known.
    """

    prompt: Prompt
    readout: Readout
    attributes: tuple[str, ...] = ()
    history: dict[str, Any] = field(default_factory=dict)
    base: Base | None = None
    one_text: bool = False
    learned: tuple[str, ...] | None = None

    def write(self, folder: Path) -> None:
        """Put the card into a model folder."""
        values = {
            "artquant": __version__,
            "prompt": self.prompt.to_dict(),
            "readout": self.readout.to_dict(),
            "attributes": list(self.attributes),
            "one_text": self.one_text,
            "history": self.history,
        }
        if self.learned is not None:
            values["learned"] = list(self.learned)
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
                readout=stored_readout(values["readout"]),
                attributes=tuple(values["attributes"]),
                history=dict(values["history"]),
                base=Base.from_dict(values.get("base")),
                one_text=values.get("one_text", False),
                learned=None if values.get("learned") is None else tuple(values["learned"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, ArtQuantError) as error:
            raise CheckpointError(
                f"{file}: not a model card of this version ({error!r}); save the model again"
            ) from error

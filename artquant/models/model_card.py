"""The card of a model that we trained: `artquant.json` in its folder.

It holds sizes and SHA-256 of the folder's files, and the folder's `config.json` says that a card belongs there. So what
is half copied, cut or changed is refused: sizes of all files and the contents of small ones are compared whenever a
folder is opened, all contents by `artquant check`. Cards of earlier versions list no files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artquant import __version__
from artquant.errors import ArtQuantError
from artquant.files.file_list import SMALL, describe_file, file_faults, is_unbroken, list_files, sealed
from artquant.files.json_files import read_json, write_json, write_text
from artquant.models.family import CheckpointError
from artquant.readouts import Readout, stored_readout
from artquant.texts.prompt import Prompt

CARD = "artquant.json"
CARD_MARK = "artquant_card"  # in `config.json`: whether a card that lists files belongs beside it


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
        if not isinstance(values["fingerprint"], str):
            raise TypeError(f"base: fingerprint is {values['fingerprint']!r}")
        return cls(Path(values["folder"]), values["fingerprint"], cls.from_dict(values.get("base")))


@dataclass(frozen=True)
class Card:
    """How a model is asked, how its answer is read, and where it comes from.

    attributes: that it was trained to score; one_text: whether in one answer. history: run, stage, data, versions, as
    plain values. base: of an adapter. learned: tasks that it was trained on here, "score" and "description", in any
    stage; None: not known. files: of its folder, as `list_files` gives them; None: not listed.
    """

    prompt: Prompt
    readout: Readout
    attributes: tuple[str, ...] = ()
    history: dict[str, Any] = field(default_factory=dict)
    base: Base | None = None
    one_text: bool = False
    learned: tuple[str, ...] | None = None
    files: Mapping[str, Any] | None = field(default=None, compare=False)

    def write(self, folder: Path) -> None:
        """Put the card into a model folder, in which everything else lies."""
        _mark(folder / "config.json")
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
        values["files"] = list_files(folder, without=(CARD,))
        write_json(folder / CARD, sealed(values))

    @classmethod
    def read(cls, folder: Path) -> Card | None:
        """A folder's card, or None where it has none.

        Raises:
            CheckpointError: it is not a card of this version, or a file of the folder is not as it says (of large files
                sizes alone are compared).
        """
        file = folder / CARD
        if not file.is_file():
            return None
        values = read_json(file)
        fault = next(_faults(folder, values, SMALL), None)
        if fault is not None:
            raise CheckpointError(f"{folder}: {fault}; copy the folder again")
        try:
            for name, kind in (("attributes", list), ("history", dict), ("one_text", bool), ("learned", list)):
                if values.get(name) is not None and not isinstance(values[name], kind):
                    raise TypeError(f"{name} is {values[name]!r}")
            if not all(isinstance(one, str) for one in (*values["attributes"], *(values.get("learned") or ()))):
                raise TypeError("a name that is no text")
            return cls(
                prompt=Prompt.from_dict(values["prompt"]),
                readout=stored_readout(values["readout"]),
                attributes=tuple(values["attributes"]),
                history=dict(values["history"]),
                base=Base.from_dict(values.get("base")),
                one_text=values.get("one_text", False),
                learned=None if values.get("learned") is None else tuple(values["learned"]),
                files=values.get("files"),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, ArtQuantError) as error:
            raise CheckpointError(
                f"{file}: not a model card of this version ({error!r}); save the model again"
            ) from error


def card_faults(folder: Path) -> Iterator[str]:
    """Everything in a folder with a card that is not as the card says, contents of large files among it.

    Raises:
        JsonError: the card cannot be read.
    """
    return _faults(folder, read_json(folder / CARD), None)


def add_file(folder: Path, name: str) -> None:
    """Let a folder's card know a file that was put there later, and may go again; nothing where no card lists files."""
    file = folder / CARD
    values = read_json(file) if file.is_file() else {}
    if "files" in values:
        files = {**values["files"], name: describe_file(folder / name) | {"optional": True}}
        write_json(file, sealed({**values, "files": files}))


def _faults(folder: Path, values: Any, largest: int | None) -> Iterator[str]:
    """largest: bytes up to which a file's content is compared; None: of every file."""
    if not isinstance(values, dict) or "files" not in values:
        return
    if not is_unbroken(values):
        yield f"{CARD} is not as it was written (another SHA-256)"
        return
    try:
        yield from file_faults(folder, values["files"], largest)
    except (TypeError, KeyError, AttributeError) as error:
        yield f"{CARD} lists no files ({error!r})"


def _mark(file: Path) -> None:
    """Say in a folder's `config.json` that a card belongs beside it."""
    if file.is_file():
        values = read_json(file) | {CARD_MARK: True}
        write_text(file, json.dumps(values, indent=2, sort_keys=True) + "\n")

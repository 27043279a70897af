"""What each role is told: text files with `$name` places, which a person reads and edits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from artquant.errors import ArtQuantError
from artquant.files.json_files import read_text

# By file: the places that are filled. Facts, texts and reasons are a JSON object on a line of its own.
PLACES: Mapping[str, tuple[str, ...]] = {
    "writer": ("facts", "language", "words", "parts"),
    "rewriter": ("facts", "language", "words", "parts", "kept", "texts", "reasons"),
    "judge": ("facts", "texts", "parts"),
    "reader": ("data_set", "texts"),
    "witness": ("texts",),
    "leaks": ("texts",),
}
_NEEDED = ("facts", "texts", "reasons")  # without which a prompt asks for nothing
_LARGEST = 100_000  # bytes of a file


class Prompts:
    """The prompts of a collection: a folder's files in the places of the built-in ones.

    Raises:
        ArtQuantError: a file of the folder is no prompt, names a place that is not filled, or lacks one it needs.
    """

    def __init__(self, folder: Path | None = None) -> None:
        built_in = files("artquant.rad") / "prompts"
        self.texts = {name: (built_in / f"{name}.txt").read_text(encoding="utf-8") for name in PLACES}
        if folder is not None:
            self._replace(folder)

    def _replace(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ArtQuantError(f"{folder}: is no folder; name one with prompts such as judge.txt")
        found = {file.stem: file for file in sorted(folder.glob("*.txt"))}
        for name, file in found.items():
            if name not in PLACES:
                raise ArtQuantError(f"{file}: no prompt has this name; there are {', '.join(PLACES)}")
            text = read_text(file, _LARGEST)
            places = list(Template.pattern.finditer(text))
            if any(place["invalid"] is not None for place in places):
                raise ArtQuantError(f"{file}: a $ stands alone; write $$ for the sign itself")
            named = {place["named"] or place["braced"] for place in places} - {None}
            if unknown := sorted(named - set(PLACES[name])):
                known = ", ".join(f"${place}" for place in PLACES[name])
                raise ArtQuantError(f"{file}: ${unknown[0]} is not filled in; use {known}")
            if missing := [place for place in PLACES[name] if place in _NEEDED and place not in named]:
                raise ArtQuantError(f"{file}: ${missing[0]} is missing; add it, on a line of its own")
            self.texts[name] = text
        if not found:
            raise ArtQuantError(f"{folder}: no prompts in it; name a folder with files such as judge.txt")

    def filled(self, name: str, **values: Any) -> str:
        """A prompt with its places filled; values that are no text become JSON on one line."""
        told = {
            key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key, value in values.items()
        }
        return Template(self.texts[name]).substitute(told)

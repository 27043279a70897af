"""A collection's folder: `runs/RUN/rad.sqlite`, opened by one writer, with what it was begun with."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant.config.load import resolve
from artquant.data.picture_names import PictureNames
from artquant.errors import ArtQuantError
from artquant.files.file_list import file_sha256
from artquant.files.only_writer import only_writer
from artquant.rad.loop import Task
from artquant.rad.outcome import Entry
from artquant.rad.prompts import Prompts
from artquant.rad.settings import RadConfig
from artquant.rad.source import drawn, read_entries, statistics
from artquant.rad.store import Store, open_store

STORE = "rad.sqlite"
_MAY_CHANGE = ("endpoints", "budget", "confirm", "durable", "output", "prompts")  # between runs of one collection
_LOOKED_FOR = 50  # pictures, before a run
_END, _MOST_ENDS = 0.1, 50  # share of the pictures at each end of the scores, and how many at most


@dataclass(frozen=True)
class Collection:
    """An opened collection, with all that its loops need."""

    task: Task
    store: Store
    names: PictureNames
    ends: tuple[list[Entry], list[Entry]]  # pictures of the lowest and highest scores, for trying judges

    def far_from(self, entry: Entry) -> Entry:
        """A picture of the other end of the scores, drawn by the name."""
        lowest, highest = self.ends
        are_low = abs(entry.score - lowest[0].score) > abs(entry.score - highest[0].score)
        among = lowest if are_low else highest
        return among[random.Random(f"{self.config.seed} {entry.image}").randrange(len(among))]

    @property
    def config(self) -> RadConfig:
        """What it collects, and how."""
        return self.task.config

    def picture_path(self, entry: Entry) -> Path:
        """Where a picture lies."""
        return self.names.path(self.config.source.images, entry.image)


def store_path(config: RadConfig) -> Path:
    """Where a collection lies."""
    return config.output / config.run / STORE


@contextmanager
def open_collection(config: RadConfig) -> Iterator[Collection]:
    """Open a collection to go on with, or begin it.

    Raises:
        ArtQuantError: another process writes it, it was begun with other settings, prompts or records, none of the
            first pictures is there, or it cannot be written.
    """
    path = store_path(config)
    prompts = Prompts(config.prompts)
    made_with = _made_with(config, prompts)
    with only_writer(path.parent):
        found = None if path.exists() else _read(config)  # a source that is wrong leaves no file
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_store(path, config.durable) as store:
            if store.about("made_with") is None:
                entries, told = found or _read(config)  # there and empty: its process was killed in the first moments
                store.begin(entries, made_with=made_with, statistics=told, config=resolve(config))
            _require_same(path, store.about("made_with"), made_with)
            ends = store.ends(_END, _MOST_ENDS)
            yield Collection(Task(config, prompts, store.about("statistics")), store, PictureNames(), ends)


def _made_with(config: RadConfig, prompts: Prompts) -> dict[str, str]:
    """What a collection cannot change halfway, by dotted name."""
    settings = {key: value for key, value in resolve(config).items() if key not in _MAY_CHANGE}
    found = {key: str(value) for key, value in _flat(settings, "")}
    del found["source.images"]  # a folder may be moved; the pictures' bytes are part of what is asked
    found["source.records"] = file_sha256(config.source.records)
    if config.source.comments is not None:
        found["source.comments"] = file_sha256(config.source.comments)
    return found | {f"prompt {name}": text for name, text in prompts.texts.items()}


def _flat(values: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, value


def _require_same(path: Path, before: dict[str, str], now: dict[str, str]) -> None:
    for key in sorted(before.keys() | now.keys()):
        one, other = (values.get(key, str(None)) for values in (before, now))  # a role that is null has no settings
        if one != other:
            what = (
                f"{key} was {one[:60]!r} and is {other[:60]!r}" if "\n" not in one + other else f"the {key} was another"
            )
            raise ArtQuantError(f"{path}: was begun with other settings: {what}; set it back, or name another run")


def _read(config: RadConfig) -> tuple[list[Entry], dict[str, Any]]:
    """The pictures to describe, and the statistics of all.

    A wrong folder is said here, before anything is asked; single pictures that are missing are said one by one.
    """
    every = read_entries(config.source)
    entries = drawn(every, config.source.limit, config.seed)
    folder, names = config.source.images, PictureNames()
    if not folder.is_dir():
        raise ArtQuantError(f"{folder}: is no folder; name that of the pictures in source.images")
    if not any(names.path(folder, entry.image).is_file() for entry in entries[:_LOOKED_FOR]):
        raise ArtQuantError(
            f"{folder}: holds none of the first pictures of {config.source.records}, such as {entries[0].image!r}; "
            "correct source.images"
        )
    return entries, statistics(every)

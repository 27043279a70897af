"""A model folder, opened once: its family, its card, and what it lies over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json
from artquant.models.families import family_of
from artquant.models.family import CheckpointError, Family
from artquant.models.fingerprint import fingerprint
from artquant.models.hub import Place, known_base, locate
from artquant.models.model_card import Base, Card
from artquant.readouts import published_words

ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class ModelFolder:
    """What a folder is, known without reading its weights.

    name: what a card calls it: the folder, or the hub's repository with its commit. below: the model that an adapter (a
    LoRA run) lies over; None: a whole model, or it was not looked for. named_base: the folder that its user named as
    base; of a whole model it may hold the processor.
    """

    path: Path
    name: Path
    family: Family
    card: Card | None
    is_adapter: bool
    below: ModelFolder | None = None
    named_base: Path | None = None

    @classmethod
    def open(
        cls,
        path: Path | str,
        base: Path | str | None = None,
        fallback: Path | None = None,
        allow_other_base: bool = False,
        alone: bool = False,
    ) -> ModelFolder:
        """Open a folder and, of an adapter, what it lies over; each may be named as on the hub (`artquant.models.hub`).

        Args:
            base: where the base is, if not where the card says. Where an adapter lies over others, of the one that it
                fits: by its fingerprint, else of the lowest.
            fallback: where the base is, if neither `base` nor the card says.
            allow_other_base: put an adapter over a base that it was not trained over.
            alone: do not look for what lies below.

        Raises:
            CheckpointError: not a model folder; or a base is not known, is not there, or is another one than the
                adapter was trained over.
        """
        opened = cls._read(locate(path))
        if base is None and (opened.card is None or opened.card.base is None):
            base = known_base(path) or fallback
        opened = replace(opened, named_base=None if base is None else Path(base))
        if not opened.is_adapter or alone:
            return opened
        known = None if opened.card is None else opened.card.base
        return opened._over(None if base is None else locate(base), known, allow_other_base)

    @classmethod
    def _read(cls, place: Place) -> ModelFolder:
        path = place.folder
        config_file = path / "config.json"
        if not config_file.is_file():
            raise CheckpointError(
                f"{path}: not a model folder (no config.json); name a folder with config.json and weights"
            )
        try:
            model_type = read_json(config_file).get("model_type")
        except (ArtQuantError, AttributeError) as error:
            raise CheckpointError(f"{config_file}: not a JSON object ({error}); copy the file again") from error
        is_adapter = (path / ADAPTER_CONFIG).is_file()
        return cls(path, place.name, family_of(str(model_type)), Card.read(path), is_adapter)

    def _over(self, base: Place | None, known: Base | None, allow_other: bool) -> ModelFolder:
        """This adapter with what it lies over. known: what a card says of that."""
        if base is not None and _fits_here(base.folder, known):
            chosen, base = base, None
        elif known is not None:
            # A card names a repository with its commit; anything else is a folder, there or not.
            chosen = locate(known.folder) if "@" in known.folder.name else Place(known.folder, known.folder)
        else:
            raise CheckpointError(
                f"{self.path}: holds a LoRA run over a base model; name the base model's folder (--base DIR)"
            )
        if not (chosen.folder / "config.json").is_file():
            raise CheckpointError(
                f"{self.path}: lies over the base model {chosen.folder}, which is not there; name its folder (--base "
                "DIR)"
            )
        below = ModelFolder._read(chosen)
        if known is not None and not allow_other and below.fingerprint != known.fingerprint:
            raise CheckpointError(
                f"{self.path}: was trained over another base than {chosen.folder} holds (SHA-256 "
                f"{known.fingerprint[:16]}..., found {below.fingerprint[:16]}...); name the right one (--base DIR), or "
                "go on all the same (--allow-other-base)"
            )
        if below.is_adapter:
            deeper = known.base if known is not None else None
            own = None if below.card is None else below.card.base
            below = below._over(base, own or deeper, allow_other)
        return replace(self, below=below)

    @cached_property
    def fingerprint(self) -> str:
        """Which weights it holds; see `artquant.models.fingerprint`."""
        return fingerprint(self.path)

    @cached_property
    def new_words(self) -> tuple[str, ...]:
        """Words that its readout has added to the vocabulary; of a published folder by its `config.json`.

        Raises:
            CheckpointError: that says something impossible.
        """
        if self.card is not None:
            return self.card.readout.new_words
        file = self.path / "config.json"
        try:
            return published_words(read_json(file))
        except ArtQuantError as error:
            raise CheckpointError(f"{file}: {error}") from error

    def chain(self) -> tuple[ModelFolder, ...]:
        """The folders that the weights are put together from: this one, what it lies over, ..., a whole model."""
        return (self,) if self.below is None else (self, *self.below.chain())

    @property
    def adapters(self) -> Iterator[ModelFolder]:
        """The adapters among them, the lowest first."""
        return reversed([folder for folder in self.chain() if folder.is_adapter])

    @property
    def whole(self) -> ModelFolder:
        """The whole model at the bottom."""
        return self.chain()[-1]

    def as_base(self) -> Base:
        """As an adapter's card names what the adapter lies over."""
        return Base(self.name, self.fingerprint, None if self.below is None else self.below.as_base())


def _fits_here(named: Path, known: Base | None) -> bool:
    """Whether a named base is meant for this adapter, not for one that it lies over."""
    if known is None or not (known.folder / ADAPTER_CONFIG).is_file():
        return True
    return fingerprint(named) == known.fingerprint

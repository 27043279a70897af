"""A model folder, opened once: its family, its card, and what it lies over."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json
from artquant.models.adapter_config import ADAPTER_CONFIG, named_base
from artquant.models.adapters import TRAINABLE_WEIGHTS
from artquant.models.families import family_of
from artquant.models.family import CheckpointError, Family
from artquant.models.fingerprint import fingerprint
from artquant.models.hub import Place, known_base, known_models, locate
from artquant.models.model_card import CARD, CARD_MARK, Base, Card
from artquant.readouts import published_words


@dataclass(frozen=True)
class ModelFolder:
    """What a folder is, known without reading its weights.

    name: what a card calls it: the folder, or the hub's repository with its commit.
    card: of an adapter without a `config.json` (as peft writes it) that of what it lies over, whose words it goes by.
    is_adapter: it holds a LoRA run, trained or in the middle of training.
    below: the model that an adapter or a checkpoint lies over; None: a whole model, or it was not looked for.
    named_base: what its user named as base; of a whole model it may hold the processor.
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
        try:
            place = locate(path)
            card = Card.read(place.folder)
            known = None if card is None else card.base
            if base is None and known is None:
                base = known_base(path) or fallback
            opened = cls._read(place, card, None if base is None else Path(base), known)
            if alone or not opened.is_partial:
                return opened
            return opened._over(None if base is None else locate(base), known, allow_other_base)
        except OSError as error:
            raise CheckpointError(
                f"{error.filename or path}: cannot be read: {error.strerror}; let yourself read the model's folder and "
                "files, or name another"
            ) from error

    @classmethod
    def _read(cls, place: Place, card: Card | None, base: Path | None, known: Base | None) -> ModelFolder:
        """A folder by itself. card: its own. base, known: what its user and a card say of what it lies over."""
        path = place.folder
        config_file, is_adapter = path / "config.json", (path / ADAPTER_CONFIG).is_file()
        if not config_file.is_file():
            if not is_adapter:
                raise _no_model(path)
            below = base or (None if known is None else known.folder)
            if below is None:
                said = named_base(path)
                raise CheckpointError(
                    f"{path}: holds an adapter alone (no config.json)"
                    + (f", trained over what was {said}" if said else "")
                    + "; name the base model's folder (--base DIR)"
                )
            lowest = _place(below) if base is None else locate(below)
            over, deeper = Card.read(lowest.folder), None if known is None else known.base
            family = cls._read(lowest, over, None, deeper).family
            return cls(path, place.name, family, None, True, None, base)
        try:
            config = read_json(config_file)
            model_type, listed = config.get("model_type"), config.get(CARD_MARK)
        except (ArtQuantError, AttributeError) as error:
            raise CheckpointError(f"{config_file}: not a JSON object ({error}); copy the file again") from error
        if listed and (card is None or card.files is None):
            raise CheckpointError(
                f"{path}: was written with a card that says how it is asked and lists its files, but {CARD} "
                f"{'is missing' if card is None else 'lists none'}; copy the folder again (or delete {CARD_MARK} from "
                "config.json, if another program wrote the folder)"
            )
        return cls(path, place.name, family_of(str(model_type)), card, is_adapter, None, base)

    def _over(self, base: Place | None, known: Base | None, allow_other: bool) -> ModelFolder:
        """This adapter or checkpoint with what it lies over. known: what a card says of that."""
        if base is not None and _fits_here(base.folder, known):
            chosen, base = base, None
        elif known is not None:
            chosen = _place(known.folder)
        else:
            raise CheckpointError(
                f"{self.path}: holds a LoRA run over a base model; name the base model's folder (--base DIR)"
            )
        if not any((chosen.folder / name).is_file() for name in ("config.json", ADAPTER_CONFIG)):
            raise CheckpointError(
                f"{self.path}: lies over the base model {chosen.folder}, which is not there; name its folder (--base "
                "DIR)"
            )
        deeper = None if known is None else known.base
        below = ModelFolder._read(chosen, Card.read(chosen.folder), None if base is None else base.name, deeper)
        if known is not None and not allow_other and below.fingerprint != known.fingerprint:
            raise CheckpointError(
                f"{self.path}: was trained over another base than {chosen.folder} holds (SHA-256 "
                f"{known.fingerprint[:16]}..., found {below.fingerprint[:16]}...); name the right one (--base DIR), or "
                "go on all the same (--allow-other-base)"
            )
        if below.is_partial:
            own = None if below.card is None else below.card.base
            below = below._over(base, own or deeper, allow_other)
        card = self.card
        if self.is_bare and below.card is not None:
            card = replace(below.card, history={}, base=None)
        return replace(self, card=card, below=below)

    @property
    def is_partial(self) -> bool:
        """Whether it is an adapter or a checkpoint of training: all other weights lie below it."""
        return self.is_adapter or self.is_checkpoint

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is a checkpoint of training."""
        return (self.path / TRAINABLE_WEIGHTS).is_file()

    @property
    def is_bare(self) -> bool:
        """Whether it is an adapter that says nothing of the network that it belongs to."""
        return not (self.path / "config.json").is_file()

    @property
    def spoken_for(self) -> Path:
        """The folder that says how it is asked and read: itself, or what a bare adapter lies over."""
        return self.below.spoken_for if self.is_bare and self.below is not None else self.path

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
        file = self.spoken_for / "config.json"
        try:
            return published_words(read_json(file))
        except ArtQuantError as error:
            raise CheckpointError(f"{file}: {error}") from error

    def chain(self) -> tuple[ModelFolder, ...]:
        """The folders that the weights are put together from: this one, what it lies over, ..., a whole model."""
        return (self,) if self.below is None else (self, *self.below.chain())

    @property
    def adapters(self) -> Iterator[ModelFolder]:
        """The adapters and checkpoints among them, the lowest first."""
        return reversed([folder for folder in self.chain() if folder.is_partial])

    @property
    def whole(self) -> ModelFolder:
        """The whole model at the bottom."""
        return self.chain()[-1]

    def as_base(self) -> Base:
        """As an adapter's card names what the adapter lies over."""
        return Base(self.name, self.fingerprint, None if self.below is None else self.below.as_base())


def _place(known: Path) -> Place:
    """Where a card's base lies: it names a repository with its commit; anything else is a folder, there or not."""
    return locate(known) if "@" in known.name else Place(known, known)


def _fits_here(named: Path, known: Base | None) -> bool:
    """Whether a named base is meant for this adapter, not for one that it lies over."""
    if known is None or (known.base is None and not (known.folder / ADAPTER_CONFIG).is_file()):
        return True
    return fingerprint(named) == known.fingerprint


def _no_model(path: Path) -> CheckpointError:
    if (path / TRAINABLE_WEIGHTS).is_file():
        return CheckpointError(
            f"{path}: a checkpoint of an earlier version, which does not say its network; go on with its run, whose "
            "next checkpoint does"
        )
    if path.exists():
        inside = [found.parent for pattern in ("model", "*/model") for found in path.glob(f"{pattern}/config.json")]
        what, similar = "no config.json", [str(folder) for folder in sorted(inside)]  # a run's folder, or a stage's
        kinds = "a folder with config.json and weights"
    else:
        what, similar = "there is none", difflib.get_close_matches(str(path), known_models(), n=1)
        kinds = f"a folder with config.json and weights, OWNER/NAME on the hub, or one of {', '.join(known_models())}"
    hint = f"did you mean {' or '.join(similar)}? Or " if similar else ""
    return CheckpointError(f"{path}: not a model folder ({what}); {hint}name {kinds}")

"""Which files are to be checked, and as what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from artquant.check.findings import Finding
from artquant.config.schema import RunConfig
from artquant.data.prepared import DATA_CARD, card_of
from artquant.data.records import ImageRecord, TrainingRecord
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE, RatingScale
from artquant.models.family import CheckpointError
from artquant.models.hub import is_fetched, locate
from artquant.texts.prompt import Prompt, get_prompt

Split = Literal["training", "validation", "test", "to score"]
HELD_OUT = ("validation", "test")  # splits that must not share pictures with training


@dataclass(frozen=True)
class Source:
    """A file of records, or a folder of pictures to score."""

    path: Path
    images: Path | None  # what picture names are relative to; None: the file's own folder
    split: Split
    conversations: bool  # training records; otherwise pictures to be scored
    max_lengths: tuple[tuple[str, int], ...] = ()  # stages that train on it, with their limits in tokens
    score_range: tuple[float, float] | None = None  # of its scores, where it is not the scale's
    attributes: bool = False  # whether its records' attributes are learned beside their scores

    @cached_property
    def vote_values(self) -> tuple[float, ...]:
        """Of each entry of "votes", as the card beside the file says; none where there is no card."""
        made = card_of(self.path).get("distributions")
        values = made.get("vote_values") if isinstance(made, dict) else None
        return tuple(values) if isinstance(values, list) else ()


@dataclass(frozen=True)
class Inputs:
    """Everything that a check looks at."""

    name: str  # for the heading
    sources: tuple[Source, ...]
    scale: RatingScale
    prompt: Prompt
    base: Path | None = None  # folder of the base model, for its tokenizer and picture size
    readout: Mapping[str, Any] = field(default_factory=dict)  # how scores are read, as configured
    untested: bool = False  # whether networks that no test covers are wanted
    findings: tuple[Finding, ...] = field(default=())  # of the configuration itself


class Place(NamedTuple):
    """Where something was said."""

    file: str
    record: int
    id: str

    def __str__(self) -> str:
        return f"{self.file} record {self.record}"


@dataclass(frozen=True)
class Entry:
    """A record that is as the format says."""

    source: Source
    place: Place
    item: dict[str, Any]  # as it stands in the file; empty for a picture of a folder
    record: TrainingRecord | ImageRecord
    picture: str  # path, normalised

    def finding(self, kind: str, message: str) -> Finding:
        """A finding about this record."""
        return Finding(kind, message, *self.place, picture=self.picture)


def inputs_from_config(name: str, config: RunConfig) -> Inputs:
    """What a run's configuration trains on, scores and evaluates with."""
    merged: dict[tuple, Source] = {}

    def add(source: Source) -> None:
        key = (source.path, source.images, source.split, source.conversations)
        before = merged.get(key)
        if before is not None:
            lengths = before.max_lengths + source.max_lengths
            source = replace(source, max_lengths=lengths, attributes=before.attributes or source.attributes)
        merged[key] = source

    for stage in config.stages:
        for data in stage.data:
            limits = ((stage.name, stage.max_length),)
            add(Source(data.records, data.images, "training", True, limits, attributes=data.attributes))
        if stage.validation is not None:
            for data in stage.validation.losses:
                limits = ((stage.name, stage.max_length),)
                add(Source(data.records, data.images, "validation", True, limits, attributes=data.attributes))
            if stage.validation.records is not None:
                add(Source(stage.validation.records, stage.validation.images, "validation", False))
    truth = config.evaluate.truth
    own_range = config.infer.score_range
    split: Split = "test" if truth is None else "to score"
    add(Source(config.infer.records, config.infer.images, split, False, score_range=own_range))
    if truth is not None:
        listed = config.infer.records  # the truth is of these pictures, wherever its own file lies
        folder = listed if listed.is_dir() else config.infer.images or listed.parent
        add(Source(truth, folder, "test", False, score_range=own_range))
    sources, prompt = tuple(merged.values()), get_prompt(config.prompt, config.subject)
    findings, untested = tuple(_missing_files(config)), config.model.untested
    try:
        base = locate(config.base, weights=False).folder
    except CheckpointError:  # what needs it is said to be unchecked
        base = config.base
    return Inputs(name, sources, config.levels.scale, prompt, base, config.readout, untested, findings)


def inputs_from_files(
    training: Sequence[Path], test: Sequence[Path], images: Path | None, scale: RatingScale | None = None
) -> Inputs:
    """Training records and lists of held-out pictures, without a configuration.

    Levels, prompt and readout are those of the card beside the files, where `artquant prepare` made them.

    Args:
        training, test: The files.
        images: What picture names are relative to; None: each file's own folder.
        scale: None: the card's, or APDDv2's where there is no card.

    Raises:
        ArtQuantError: The cards of two files say different things.
    """
    sources = [Source(path, images, "training", True) for path in dict.fromkeys(training)]
    sources += [Source(path, images, "test", False) for path in dict.fromkeys(test)]
    name = ", ".join(str(source.path) for source in sources) if len(sources) < 3 else f"{len(sources)} files"
    cards = {source.path: card for source in sources if (card := card_of(source.path))}
    said = {path: _as_prepared(path, card) for path, card in cards.items()}
    first = next(iter(said.items()), None)
    for path, settings in said.items():
        if first is not None and settings != first[1]:
            raise ArtQuantError(
                f"{path}: was prepared for other levels, prompt or readout than {first[0]}; check it alone"
            )
    made, prompt, readout = (APDD_SCALE, get_prompt("artquant"), {}) if first is None else first[1]
    return Inputs(name, tuple(sources), scale or made, prompt, readout=readout)


def _as_prepared(path: Path, card: Mapping[str, Any]) -> tuple[RatingScale, Prompt, dict[str, Any]]:
    """Scale, prompt and readout as a card says."""
    try:
        scale = RatingScale(tuple(card["scale"]["words"]), tuple(card["scale"]["values"]))
        prompt = get_prompt(card.get("prompt", RunConfig.prompt), card["subject"])
        return scale, prompt, dict(card.get("readout", {}))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtQuantError(
            f"{path.parent / DATA_CARD}: {error!r} is not as artquant prepare writes it; prepare again"
        ) from None


def _missing_files(config: RunConfig) -> list[Finding]:
    """Files beside the records that stages name and that are not there."""
    found = []
    for stage in config.stages:
        if stage.deepspeed is not None and not stage.deepspeed.is_file():
            message = f"stage {stage.name}: no such DeepSpeed file; correct the path"
            found.append(Finding("file", message, str(stage.deepspeed)))
        if stage.start is not None and not (stage.start.is_dir() or is_fetched(stage.start)):
            message = f"stage {stage.name} starts from this folder, which is not there; train that model first"
            found.append(Finding("start", message, str(stage.start)))
    return found

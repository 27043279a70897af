"""What a server is given, and what it takes at most."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artquant import __version__
from artquant.config.requirements import USUAL_BATCH


@dataclass(frozen=True)
class Limits:
    """What is taken at most; beyond it a request is refused, whatever else is served."""

    images: int = 64  # of a request
    body: int = 128 << 20  # bytes of a request
    held: int = 1 << 29  # bytes of all requests that are held
    waiting: int = 1024  # pictures that wait
    describing: int = 32  # descriptions that wait or are written
    pixels: int = 300_000_000  # of the pictures of these, 3 bytes each
    silence: float = 10.0  # seconds that a sender may be silent
    sending: float = 120.0  # seconds that a request may take to arrive
    draining: float = 30.0  # seconds in which what was accepted is finished
    connections: int = 4096


@dataclass(frozen=True)
class Settings:
    """How a server works.

    collect: seconds in which pictures of a batch are collected. threads: that read pictures. root: folder whose
    pictures may be named by paths; None: none may.
    """

    token: str | None = field(default=None, repr=False)
    root: Path | None = None
    collect: float = 0.015
    threads: int = 4
    limits: Limits = Limits()


@dataclass(frozen=True)
class Identity:
    """What every answer says of its model.

    fingerprint: SHA-256 of its weights. prompt: the name of its prompt. version: of artquant.
    """

    name: str
    fingerprint: str
    prompt: str
    version: str = __version__


@dataclass(frozen=True)
class Tested:
    """What is known of a model on its test pictures; None: not known.

    percentiles: of its scores, 0 to 100. attribute_means, attribute_errors: mean score and mean absolute error of each.
    """

    percentiles: tuple[float, ...] | None = None
    attribute_means: dict[str, float] | None = None
    attribute_errors: dict[str, float] | None = None
    srcc: float | None = None


@dataclass(frozen=True)
class Facts:
    """What a loaded model is, as plain values.

    words, values: of its scale, best first; None: it has none. can: of "score", "attributes" and "describe". levels: of
    its descriptions. several: whether its answers hold scores. trained_on, licence: what its card says. warning: what
    it lacks.
    """

    identity: Identity
    low: float
    high: float
    words: tuple[str, ...] | None
    values: tuple[float, ...] | None
    attributes: tuple[str, ...]
    can: tuple[str, ...]
    levels: tuple[int, ...]
    several: bool = False
    trained_on: str | None = None
    licence: str | None = None
    warning: str | None = None
    test: Tested = Tested()


@dataclass(frozen=True)
class Chosen:
    """Which models are served and how they are loaded (`artquant.config.schema.Loading`)."""

    model: Path
    base: Path | None = None
    allow_other_base: bool = False
    describing: Path | None = None  # another model that describes
    tested: tuple[Path, Path] | None = None  # its predictions of test pictures, and records of their true scores
    loading: dict[str, Any] = field(default_factory=dict)
    tokens: int = 512  # of a description
    batch: int = USUAL_BATCH  # pictures that are scored together

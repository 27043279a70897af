"""What the server and the engine that computes say to each other, in one process or in two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from artquant.data.predictions import Prediction
from artquant.serve.settings import Facts


@dataclass(frozen=True)
class ScoreThese:
    """Score prepared pictures; attributes: also all that the model was trained on."""

    number: int
    pictures: tuple[Any, ...]
    attributes: bool


@dataclass(frozen=True)
class Describe:
    """Write about a picture; level None: the answer to the question of scoring, with its comment."""

    number: int
    image: Image.Image
    level: int | None


@dataclass(frozen=True)
class NoLonger:
    """Nobody reads the description of this number any more."""

    number: int


Asked = ScoreThese | Describe | NoLonger


class Preparing(Protocol):
    """What makes a network's input of a picture: its processor."""

    def picture(self, image: Image.Image) -> Any:
        """A prepared picture."""


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""

    facts: Facts
    processor: Preparing


@dataclass(frozen=True)
class Failed:
    """A request, or loading (number None), came to nothing. The message is one line."""

    number: int | None
    message: str


@dataclass(frozen=True)
class Judged:
    """One picture's score; how unlike the training ones it is, above 1: unlike; None: not known."""

    prediction: Prediction
    unlike: float | None


@dataclass(frozen=True)
class Scored:
    """Of each picture its score, or in one line why there is none."""

    number: int
    outcomes: tuple[Judged | str, ...]


@dataclass(frozen=True)
class Written:
    """A piece of a description."""

    number: int
    text: str


@dataclass(frozen=True)
class Done:
    """A whole description; score: that the text holds, if it does."""

    number: int
    text: str
    score: float | None = None


Said = Ready | Failed | Scored | Written | Done

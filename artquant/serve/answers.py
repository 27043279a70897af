"""The JSON of our own routes: what they take and what they answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from artquant.serve.messages import Judged
from artquant.serve.refusals import Code, Refused
from artquant.serve.settings import Facts, Identity
from artquant.serve.uploads import Upload


class PicturesSent(BaseModel):
    """Pictures in base64 with names of one's own, or paths under the server's folder."""

    images: list[str] | None = None
    paths: list[str] | None = None
    ids: list[str] | None = None


class PictureSent(BaseModel):
    """One picture in base64."""

    image: str


class RewardsAsked(PicturesSent):
    """Pictures; prompts and metadata are taken and do nothing. unit: 0 to 1 instead of the model's scale."""

    prompts: list[Any] | None = None
    metadata: Any = None
    unit: bool = True


class Error(BaseModel):
    """A word for programs, a line for people."""

    code: Code
    message: str


class ErrorAnswer(BaseModel):
    """Why there is no answer."""

    error: Error


class Model(BaseModel):
    """Which model an answer is of: SHA-256 of its weights, name of its prompt, version of artquant."""

    name: str
    fingerprint: str
    prompt: str
    version: str

    @staticmethod
    def of(identity: Identity) -> Model:
        """From what is served."""
        return Model(**vars(identity))


class PictureResult(BaseModel):
    """One picture's score on the model's scale (or 0 to 1), or why it has none.

    std: how undecided the model is. probs: share of each word. unfamiliar: whether it is unlike the training pictures.
    """

    id: str
    score: float | None = None
    std: float | None = None
    probs: dict[str, float] | None = None
    attributes: dict[str, float] | None = None
    unfamiliar: bool | None = None
    error: Error | None = None


class ScoreAnswer(BaseModel):
    """Results in the order of the pictures."""

    results: list[PictureResult]
    model: Model


class RewardAnswer(BaseModel):
    """Scores in the order of the pictures."""

    scores: list[float]
    model: Model


class Health(BaseModel):
    """queue: pictures that wait."""

    status: Literal["loading", "ready", "draining"]
    queue: Annotated[int, Field(ge=0)]


class Scale(BaseModel):
    """Lowest and highest score; words and what each stands for, best first, where the model has words."""

    low: float
    high: float
    words: tuple[str, ...] | None
    values: tuple[float, ...] | None


class TestFigures(BaseModel):
    """What is known of the model on its test pictures; null: not known."""

    percentiles: tuple[float, ...] | None = None
    attribute_means: dict[str, float] | None = None
    attribute_errors: dict[str, float] | None = None
    srcc: float | None = None


class ModelAnswer(Model):
    """What is served."""

    scale: Scale
    attributes: list[str]
    can: list[str]
    levels: list[int]
    trained_on: str | None
    licence: str | None
    warning: str | None
    test: TestFigures

    @staticmethod
    def about(facts: Facts) -> ModelAnswer:
        """From what is served."""
        return ModelAnswer(
            **vars(facts.identity),
            scale=Scale(low=facts.low, high=facts.high, words=facts.words, values=facts.values),
            attributes=list(facts.attributes),
            can=list(facts.can),
            levels=list(facts.levels),
            trained_on=facts.trained_on,
            licence=facts.licence,
            warning=facts.warning,
            test=TestFigures(**vars(facts.test)),
        )


def picture_result(upload: Upload, outcome: Judged | Refused, facts: Facts, unit: bool) -> PictureResult:
    """One picture's result."""
    if isinstance(outcome, Refused):
        return PictureResult(id=upload.name, error=Error(code=outcome.code, message=outcome.message))
    one = outcome.prediction
    if unit:
        one = one.mapped((facts.low, facts.high), (0.0, 1.0))
    return PictureResult(
        id=upload.name,
        score=one.score,
        std=one.std,
        probs=_shares(one.columns),
        attributes={name: each.score for name, each in one.attributes.items()} or None,
        unfamiliar=None if outcome.unlike is None else outcome.unlike > 1,
    )


def _shares(columns: Mapping[str, Any]) -> dict[str, float] | None:
    """Shares of words, where the model says any; such as are no numbers are not said."""
    shares = columns.get("probs")
    return shares if shares and all(math.isfinite(share) for share in shares.values()) else None


def reward_values(
    outcomes: Sequence[Judged | Refused], uploads: Sequence[Upload], low: float, high: float
) -> list[float]:
    """Scores from `low` (0) to `high` (1), for clients that want a number for every picture.

    Raises:
        Refused: a picture has none; it is named by its place.
    """
    values = []
    for upload, outcome in zip(uploads, outcomes, strict=True):
        if isinstance(outcome, Refused):
            raise Refused(outcome.status, outcome.code, f"picture {upload.name}: {outcome.message}", outcome.after)
        values.append((outcome.prediction.score - low) / (high - low))
    return values

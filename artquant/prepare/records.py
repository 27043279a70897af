"""Annotations -> the records of training and test files (dataset/README.md)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from artquant.errors import ArtQuantError
from artquant.files.progress_bar import progress_bar
from artquant.labels.rating_scale import RatingScale
from artquant.labels.soft_labels import soft_labels
from artquant.prepare.annotation import Annotation, PrepareError
from artquant.texts.descriptions import comment_record
from artquant.texts.prompt import IMAGE_TOKEN, SCORE_QUESTIONS, Prompt, get_prompt
from artquant.texts.questions import drawn_question

if TYPE_CHECKING:
    from artquant.readouts import Readout  # needs torch; given where it is wanted

_CHUNK = 1024  # scores labelled together between two looks of the progress bar
_APDD_WIDTH = 9.0  # of the scale on which ArtQuant's sigma is 1


@dataclass(frozen=True)
class Labelling:
    """How scores become distributions, and how questions and answers are worded."""

    levels: RatingScale
    method: str = "gaussian"  # of artquant.labels.soft_labels.METHODS
    sigma: float | None = None  # of the Gaussians, in score units; None: a ninth of the scale (APDDv2: 1)
    vote_values: tuple[float, ...] | None = None  # on the levels' scale
    subject: str = "painting"
    seed: int = 0  # of the questions
    progress: bool = False
    prompt_name: str = "artquant"
    readout: Readout | None = None  # what the records are for; None: the rating words
    readout_settings: Mapping[str, Any] = field(default_factory=dict)  # of it, as a configuration says them
    keep_targets: bool = False  # shares that records bring stay, where they are as many as `values`

    def __post_init__(self) -> None:
        if self.sigma is not None and not (math.isfinite(self.sigma) and self.sigma > 0):
            raise ArtQuantError(f"sigma must be a finite number above 0, got {self.sigma:g}")
        taken = (IMAGE_TOKEN, *(() if self.readout is None else self.readout.new_words))
        if not self.subject.strip() or any(word in self.subject for word in taken):
            raise ArtQuantError(f"the subject must be a noun such as painting or image, got {self.subject!r}")
        if self.seed < 0:
            raise ArtQuantError(f"the seed must be 0 or more, got {self.seed}")

    @property
    def places(self) -> Readout | None:
        """The readout whose word stands for each score, several in an answer; None: answers say rating words."""
        return self.readout if self.readout is not None and self.readout.several else None

    @property
    def values(self) -> tuple[float, ...]:
        """What shares are of: the rating words' values, or ("target") as many as the readout has, evenly spaced."""
        if self.places is None:
            return self.levels.values
        return tuple(np.linspace(self.places.low, self.places.high, self.places.width).tolist())

    @property
    def used_sigma(self) -> float | None:
        """The sigma of the Gaussians; None with the methods that take none.

        Raises:
            ArtQuantError: A sigma was given to such a method.
        """
        if self.method == "gaussian":
            return (self.levels.high - self.levels.low) / _APDD_WIDTH if self.sigma is None else self.sigma
        if self.sigma is not None:
            raise ArtQuantError(f"the method {self.method!r} takes no sigma; leave it out, or use gaussian")
        return None

    @property
    def attribute_method(self) -> str:
        """Of attributes only a mean is known: gaussian stands in for methods that need more."""
        return "gaussian" if self.method in ("votes", "known-std") else self.method

    def score_probs(self, annotations: Sequence[Annotation]) -> Iterator[list[float]]:
        """The distribution of each annotation's score, made when it is asked for.

        Raises:
            ArtQuantError: An annotation lacks what the method needs; names its record.
        """
        with self._bar("scores", len(annotations)) as bar:
            for start in range(0, len(annotations), _CHUNK):
                chunk = annotations[start : start + _CHUNK]
                yield from self._score_probs(chunk)
                bar.update(len(chunk))

    def _score_probs(self, annotations: Sequence[Annotation]) -> list[list[float]]:
        if self.method == "votes":
            counts = [self._needed(annotation, annotation.votes, "votes") for annotation in annotations]
            if self.vote_values is None:
                raise ArtQuantError("the values of the votes are not known; list them with --vote-values")
            return soft_labels(None, self.values, "votes", votes=counts, vote_values=self.vote_values).tolist()
        scores = [annotation.score for annotation in annotations]
        if self.method != "known-std":
            return self._probs(scores, self.method)
        std = [self._needed(annotation, annotation.std, "standard deviation") for annotation in annotations]
        return soft_labels(scores, self.values, "known-std", std=std).tolist()

    def attribute_probs(self, scores: Sequence[float]) -> Iterator[list[float]]:
        """The distribution of each attribute score, made when it is asked for."""
        with self._bar("attributes", len(scores)) as bar:
            for start in range(0, len(scores), _CHUNK):
                chunk = scores[start : start + _CHUNK]
                yield from self._probs(chunk, self.attribute_method)
                bar.update(len(chunk))

    def _bar(self, what: str, total: int) -> AbstractContextManager[Any]:
        return progress_bar(f"distributions of {what}", "it", self.progress, total, delay=1)

    def _needed(self, annotation: Annotation, value: Any, what: str) -> Any:
        if value is None:
            raise PrepareError(
                f"{annotation.source}: no {what} for the method {self.method!r}; name its column or another method"
            )
        return value

    def _probs(self, scores: Sequence[float], method: str) -> list[list[float]]:
        sigma = self.used_sigma if method == self.method else (self.levels.high - self.levels.low) / _APDD_WIDTH
        return soft_labels(np.array(scores), self.values, method, sigma=sigma).tolist()

    def prompt(self) -> Prompt:
        """What words the answers; training words them again with its own prompt."""
        return get_prompt(self.prompt_name, self.subject)

    def question(self, image: str) -> str:
        """One of the ten published questions, drawn from the seed and the picture's name alone, or the prompt's own.

        The latter with places for scores, and where it is none of the ten.
        """
        own = self.prompt().score_question
        wordings = SCORE_QUESTIONS if self.places is None and own in SCORE_QUESTIONS else (own,)
        return drawn_question(wordings, "score", image, self.seed, self.subject)


def score_records(annotations: Sequence[Annotation], labelling: Labelling) -> Iterator[dict[str, Any]]:
    """Training records of the scores, one by one. Of records that were one already, fields and the question stay."""
    prompt = labelling.prompt()
    for annotation, probs in zip(annotations, labelling.score_probs(annotations), strict=True):
        answer = prompt.rating_answer(labelling.levels.word(annotation.score))
        turns = conversation(human_turn(annotation) or _new_turn(annotation, labelling), answer)
        rest = {"level_probs": probs, "task_type": "score", "conversations": turns}
        record = head(annotation) | votes(annotation) | known(annotation) | rest
        record.pop("target", None)  # of a kept record: of other values, and no record has both
        yield record


def attribute_records(annotations: Sequence[Annotation], labelling: Labelling) -> Iterator[dict[str, Any]]:
    """Training records of the attributes that are there; the question is the picture's own of the whole."""
    prompt = labelling.prompt()
    pairs = [(found, name, score) for found in annotations for name, score in found.attributes.items()]
    probs = labelling.attribute_probs([score for _, _, score in pairs])
    return (
        {
            "id": f"{annotation.image}->{name}->{score:.10g}",
            "image": annotation.image,
            "gt_score": score,
            "level_probs": shares,
            "attribute": name,
            "task_type": "score",
            "conversations": conversation(
                human_turn(annotation) or _new_turn(annotation, labelling),
                prompt.rating_answer(labelling.levels.word(score), name),
            ),
        }
        for (annotation, name, score), shares in zip(pairs, probs, strict=True)
    )


def comment_records(annotations: Sequence[Annotation], labelling: Labelling) -> Iterator[dict[str, Any]]:
    """Description records of the comments that are there.

    Raises:
        PrepareError: A comment holds the image token.
    """
    for annotation in annotations:
        if annotation.comment is None:
            continue
        try:
            yield comment_record(annotation.image, annotation.comment, labelling.seed, labelling.subject)
        except ArtQuantError as error:
            raise PrepareError(f"{annotation.source}: {error}") from None


def image_records(annotations: Iterable[Annotation]) -> Iterator[dict[str, Any]]:
    """Records of pictures to be scored and evaluated."""
    return (head(annotation) | known(annotation) for annotation in annotations)


def head(annotation: Annotation) -> dict[str, Any]:
    """What a record begins with: id, picture, score, and all that was kept."""
    identity = {"id": f"{annotation.image}->{annotation.score:.10g}", "image": annotation.image}
    std = {} if annotation.std is None else {"std": annotation.std}
    return identity | {"gt_score": annotation.score} | std | dict(annotation.kept)


def known(annotation: Annotation) -> dict[str, Any]:
    """Attributes and categories, where there are any."""
    optional = {"attributes": dict(annotation.attributes), "categories": dict(annotation.categories)}
    return {key: value for key, value in optional.items() if value}


def votes(annotation: Annotation) -> dict[str, Any]:
    """The votes, where they are known."""
    return {} if annotation.votes is None else {"votes": list(annotation.votes)}


def human_turn(annotation: Annotation) -> str | None:
    """The turn that a kept conversation begins with; None: there is none.

    Raises:
        PrepareError: It is no human turn, or does not hold the image token once.
    """
    turns = annotation.kept.get("conversations")
    if turns is None:
        return None
    usable = isinstance(turns, list) and turns and isinstance(turns[0], dict) and turns[0].get("from") == "human"
    if not usable or not isinstance(turns[0].get("value"), str) or turns[0]["value"].count(IMAGE_TOKEN) != 1:
        raise PrepareError(
            f'{annotation.source}: "conversations" does not begin with a human turn that holds {IMAGE_TOKEN} once; '
            "correct it or take it out"
        )
    return turns[0]["value"]


def _new_turn(annotation: Annotation, labelling: Labelling) -> str:
    return f"{labelling.question(annotation.image)}\n{IMAGE_TOKEN}"


def conversation(question: str, answer: str) -> list[dict[str, str]]:
    """One round."""
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]

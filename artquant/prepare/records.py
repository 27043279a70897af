"""Annotations -> the records of training and test files (dataset/README.md)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from artquant.errors import ArtQuantError
from artquant.files.progress_bar import progress_bar
from artquant.labels.rating_scale import WORD_RULES, RatingScale
from artquant.labels.soft_labels import soft_labels, usual_sigma
from artquant.prepare.annotation import Annotation, PrepareError
from artquant.texts.descriptions import comment_record
from artquant.texts.prompt import IMAGE_TOKEN, SCORE_QUESTIONS, Prompt, get_prompt
from artquant.texts.questions import drawn_question

if TYPE_CHECKING:
    from artquant.readouts import Readout  # needs torch; given where it is wanted

_One = TypeVar("_One")
_CHUNK = 1024  # scores labelled together between two looks of the progress bar


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
    word: str = "likeliest"  # rule for the answer's rating word, of WORD_RULES
    keep_targets: bool = False  # shares that records bring stay, where they are as many as `values`

    def __post_init__(self) -> None:
        if self.sigma is not None and not (math.isfinite(self.sigma) and self.sigma > 0):
            raise ArtQuantError(f"sigma must be a finite number above 0, got {self.sigma:g}")
        if self.word not in WORD_RULES:
            raise ArtQuantError(f"word rule {self.word!r} is unknown; choose one of {', '.join(WORD_RULES)}")
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
            return usual_sigma(self.levels.values) if self.sigma is None else self.sigma
        if self.sigma is not None:
            raise ArtQuantError(f"the method {self.method!r} takes no sigma; leave it out, or use gaussian")
        return None

    @property
    def attribute_method(self) -> str:
        """Of attributes only a mean is known: gaussian stands in for methods that need more."""
        return "gaussian" if self.method in ("votes", "known-std") else self.method

    def score_probs(self, annotations: Sequence[Annotation]) -> np.ndarray:
        """The distributions of annotations' scores, [M, K].

        Raises:
            ArtQuantError: An annotation lacks what the method needs; names its record.
        """
        return self._in_chunks(annotations, self._score_probs, "scores")

    def _score_probs(self, annotations: Sequence[Annotation]) -> np.ndarray:
        if self.method == "votes":
            counts = [self._needed(annotation, annotation.votes, "votes") for annotation in annotations]
            if self.vote_values is None:
                raise ArtQuantError("the values of the votes are not known; list them with --vote-values")
            return soft_labels(None, self.values, "votes", votes=counts, vote_values=self.vote_values)
        scores = [annotation.score for annotation in annotations]
        if self.method != "known-std":
            return self._probs(scores, self.method)
        std = [self._needed(annotation, annotation.std, "standard deviation") for annotation in annotations]
        return soft_labels(scores, self.values, "known-std", std=std)

    def attribute_probs(self, scores: Sequence[float]) -> np.ndarray:
        """The distributions of attribute scores, [M, K]."""
        return self._in_chunks(scores, lambda chunk: self._probs(chunk, self.attribute_method), "attributes")

    def _in_chunks(self, given: Sequence[_One], made: Callable[[Sequence[_One]], np.ndarray], what: str) -> np.ndarray:
        found = np.empty((len(given), len(self.values)))
        with progress_bar(f"distributions of {what}", "it", self.progress, len(given), delay=1) as bar:
            for start in range(0, len(given), _CHUNK):
                chunk = given[start : start + _CHUNK]
                found[start : start + len(chunk)] = made(chunk)
                bar.update(len(chunk))
        return found

    def words(self, scores: Sequence[float], probs: np.ndarray) -> list[str]:
        """The rating word that the answer about each of M scores says; probs: their shares of the words, [M, K]."""
        if self.word == "published" or not scores:
            return [self.levels.word(score) for score in scores]
        return self.levels.likeliest(probs)

    def _needed(self, annotation: Annotation, value: Any, what: str) -> Any:
        if value is None:
            raise PrepareError(
                f"{annotation.source}: no {what} for the method {self.method!r}; name its column or another method"
            )
        return value

    def _probs(self, scores: Sequence[float], method: str) -> np.ndarray:
        sigma = self.used_sigma if method == self.method else usual_sigma(self.levels.values)
        return soft_labels(np.array(scores), self.values, method, sigma=sigma)

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


def score_records(
    annotations: Sequence[Annotation], labelling: Labelling, probs: np.ndarray | None = None
) -> Iterator[dict[str, Any]]:
    """Training records of the scores, one by one. Of records that were one already, fields and the question stay.

    Args:
        annotations: M of them.
        labelling: How they are labelled.
        probs: Their distributions [M, K]; None: to be made.
    """
    prompt, probs = labelling.prompt(), labelling.score_probs(annotations) if probs is None else probs
    words = labelling.words([annotation.score for annotation in annotations], probs)
    for annotation, shares, word in zip(annotations, probs, words, strict=True):
        answer = prompt.rating_answer(word)
        turns = conversation(human_turn(annotation) or _new_turn(annotation, labelling), answer)
        rest = {"level_probs": shares.tolist(), "task_type": "score", "conversations": turns}
        record = head(annotation) | votes(annotation) | known(annotation) | rest
        record.pop("target", None)  # of a kept record: of other values, and no record has both
        yield record


def picture_words(annotations: Sequence[Annotation], labelling: Labelling, probs: np.ndarray | None) -> list[str]:
    """The rating word of each picture; probs: of the training pictures, in order. Without, it is a Gaussian's word."""
    words, known = list[str](), iter(()) if probs is None else iter(probs)
    for start in range(0, len(annotations), _CHUNK):
        chunk = annotations[start : start + _CHUNK]
        scores = [found.score for found in chunk]
        shares = soft_labels(scores, labelling.levels.values)
        for row, found in enumerate(chunk):
            if probs is not None and found.split == "train":
                shares[row] = next(known)
        words += labelling.words(scores, shares)
    return words


def attribute_records(annotations: Sequence[Annotation], labelling: Labelling) -> Iterator[dict[str, Any]]:
    """Training records of the attributes that are there; the question is the picture's own of the whole."""
    prompt = labelling.prompt()
    pairs = [(found, name, score) for found in annotations for name, score in found.attributes.items()]
    scores = [score for _, _, score in pairs]
    probs = labelling.attribute_probs(scores)
    words = labelling.words(scores, probs)
    return (
        {
            "id": f"{annotation.image}->{name}->{score:.10g}",
            "image": annotation.image,
            "gt_score": score,
            "level_probs": shares.tolist(),
            "attribute": name,
            "task_type": "score",
            "conversations": conversation(
                human_turn(annotation) or _new_turn(annotation, labelling),
                prompt.rating_answer(word, name),
            ),
        }
        for (annotation, name, score), shares, word in zip(pairs, probs, words, strict=True)
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
    return (head(annotation) | votes(annotation) | known(annotation) for annotation in annotations)


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

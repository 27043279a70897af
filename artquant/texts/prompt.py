"""The prompt: one object for training and scoring, stored with the checkpoint.

A prompt that the model is trained with and another that it is scored with is the published code's costliest slip; here
both come from the same object, and token positions are found by encoding, never by searching for a pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from artquant.errors import ArtQuantError
from artquant.texts.attributes import attribute_phrase

IMAGE_TOKEN = "<|image|>"
END_TOKEN = "</s>"
SUBJECT = "{subject}"
ATTRIBUTE = "{attribute}"

PUBLISHED_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)

# The ten questions of the published training data.
SCORE_QUESTIONS = (
    "Rate the quality of this {subject}.",
    "How would you rate the quality of this {subject}?",
    "How would you judge the quality of this {subject}?",
    "How do you assess the quality of this {subject}?",
    "Could you evaluate the quality of this {subject}?",
    "What is your quality rating for this {subject}?",
    "Can you rate the quality of this {subject}?",
    "What do you think about the quality of this {subject}?",
    "Can you judge the quality of this {subject}?",
    "What's your opinion on the quality of this {subject}?",
)


class TextEncoder(Protocol):
    """What a prompt needs of a processor."""

    def tokenize(self, prompt: str) -> list[int]:
        """Token ids of a prompt; an image token is one id."""


@dataclass(frozen=True)
class EncodedConversation:
    """One question with its answer as token ids, image token not yet expanded.

    token_ids[answer_start:] is what is learned; token_ids[rating_index] is the rating word (None: a description).
    """

    token_ids: list[int]
    answer_start: int
    rating_index: int | None = None


@dataclass(frozen=True)
class Exchange:
    """One question about one picture with its answer, or the answer's beginning."""

    question: str
    answer: str = ""  # "": the answer is yet to come
    complete: bool = False  # the answer ends here; otherwise it goes on
    system: str = ""  # sentences before the conversation; "": none
    picture_first: bool = True  # the picture before the question, or after it


@dataclass(frozen=True)
class Prompt:
    """How a question about a picture is put and how the answer begins.

    The text is `SYSTEM USER: <|image|>\\nQUESTION ASSISTANT: ANSWER</s>`, or with the picture after the question
    `SYSTEM USER: QUESTION\\n<|image|> ASSISTANT: ANSWER</s>`.
    """

    name: str
    system: str = ""  # sentences before the conversation; empty for none
    image_first: bool = True  # the picture before the question, or after it
    subject: str = "painting"  # the noun in the questions and the answer
    score_question: str = "How would you rate the quality of this {subject}?"  # the question when scoring
    answer_prefix: str = "The quality of the {subject} is"  # what stands before the rating word
    # The same of an attribute. The question is the total's, so that picture and question are read once for all of them.
    attribute_prefix: str = "The {attribute} of the {subject} is"
    description_questions: tuple[str, ...] = (  # the questions when describing: levels 1, 2 and 3
        "Describe what you perceive in this {subject}.",
        "Describe this {subject} and what it says.",
        "Describe this {subject}, its idea and its mood.",
    )

    def __post_init__(self):
        object.__setattr__(self, "description_questions", tuple(self.description_questions))
        for field in fields(self):
            value = getattr(self, field.name)
            if IMAGE_TOKEN in str(value):
                raise ArtQuantError(f"prompt {self.name!r}: {field.name} must not hold {IMAGE_TOKEN}")

    def context(self, question: str) -> str:
        """Everything before the answer."""
        user = f"{IMAGE_TOKEN}\n{question}" if self.image_first else f"{question}\n{IMAGE_TOKEN}"
        system = f"{self.system} " if self.system else ""
        return f"{system}USER: {user} ASSISTANT:"

    def rating_prefix(self, attribute: str | None = None) -> str:
        """The answer up to the rating word, about the whole or about an attribute (by the data set's name for it)."""
        if attribute is None:
            return self.answer_prefix.replace(SUBJECT, self.subject)
        return self.attribute_prefix.replace(ATTRIBUTE, attribute_phrase(attribute)).replace(SUBJECT, self.subject)

    def rating_answer(self, word: str, attribute: str | None = None) -> str:
        """The whole answer to a scoring question."""
        return f"{self.rating_prefix(attribute)} {word}."

    def score_context(self, attribute: str | None = None) -> str:
        """The scoring prompt: the next token is the rating word."""
        question = self.score_question.replace(SUBJECT, self.subject)
        return f"{self.context(question)} {self.rating_prefix(attribute)}"

    def description_context(self, level: int) -> str:
        """The prompt for a description of level 1 (perception), 2 (+ cognition) or 3 (+ emotion)."""
        if not 1 <= level <= len(self.description_questions):
            raise ArtQuantError(f"description levels are 1 to {len(self.description_questions)}, got {level}")
        return self.context(self.description_questions[level - 1].replace(SUBJECT, self.subject))

    def encode_description(self, encoder: TextEncoder, question: str, answer: str) -> EncodedConversation:
        """Token ids of a description; raises ArtQuantError if question and answer share a token."""
        context = encoder.tokenize(self.context(question))
        token_ids = encoder.tokenize(f"{self.context(question)} {answer}{END_TOKEN}")
        self._check_prefix(token_ids, context, "the answer")
        return EncodedConversation(token_ids, answer_start=len(context))

    def encode_rating(
        self, encoder: TextEncoder, question: str, word: str, rating_ids: Sequence[int], attribute: str | None = None
    ) -> EncodedConversation:
        """Token ids of a scoring conversation; raises ArtQuantError if the rating word is not where it should be."""
        encoded = self.encode_description(encoder, question, self.rating_answer(word, attribute))
        before_rating = encoder.tokenize(f"{self.context(question)} {self.rating_prefix(attribute)}")
        self._check_prefix(encoded.token_ids, before_rating, "the rating word")
        rating_index = len(before_rating)
        if encoded.token_ids[rating_index] not in rating_ids:
            raise ArtQuantError(
                f"prompt {self.name!r} does not line up: token {rating_index} should be the rating word {word!r}, but "
                f"is id {encoded.token_ids[rating_index]}; the rating words have ids {list(rating_ids)}"
            )
        return EncodedConversation(encoded.token_ids, encoded.answer_start, rating_index)

    def _check_prefix(self, token_ids: list[int], prefix: list[int], what: str) -> None:
        if token_ids[: len(prefix)] != prefix or len(token_ids) <= len(prefix):
            raise ArtQuantError(
                f"prompt {self.name!r} does not line up: {what} has no token of its own to begin with "
                f"(token {len(prefix)})"
            )

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Prompt:
        """The reverse of `to_dict`; unknown or missing keys raise ArtQuantError."""
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise ArtQuantError(f"stored prompt: expected the keys {sorted(names)}, found {sorted(values)}")
        return cls(**values)


# `artquant` is ours; the published code trains with one of the others and scores with the other.
PROMPTS = {
    "artquant": Prompt("artquant"),
    "published-train": Prompt("published-train", system=PUBLISHED_SYSTEM),
    "published-score": Prompt("published-score", image_first=False),
}


def get_prompt(name: str, subject: str = "painting") -> Prompt:
    """The prompt of that name, about that subject ("painting", or "image" as DeQA-Score says)."""
    if name not in PROMPTS:
        raise ArtQuantError(f"unknown prompt {name!r}; known are {', '.join(PROMPTS)}")
    return Prompt.from_dict(PROMPTS[name].to_dict() | {"subject": subject})

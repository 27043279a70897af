"""The prompt: one object for training and scoring, stored with the checkpoint.

A prompt that the model is trained with and another that it is scored with is the published code's costliest slip; here
both come from the same object. What it gives are sentences; each family of networks has its own chat form for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from artquant.data.turns import IMAGE_TOKEN
from artquant.errors import ArtQuantError
from artquant.texts.attributes import APDD_ATTRIBUTES, attribute_phrase

SUBJECT = "{subject}"
ATTRIBUTE = "{attribute}"
QUESTION = "{question}"

PUBLISHED_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)

# InternVL's sentence for all conversations, with which it is trained.
CHAT_SYSTEM = (
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"  # noqa: RUF001
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


_LATER = frozenset(
    {"whole", "several_question", "comment_question", "answer_end", "adjoining", "own_system"}
    | {"aspects", "aspect_question"}
)  # that cards of the first versions do not say
_CLAUSE = r"(?:the |its )?(.+?) is"  # what a score is said of, in any other words


@dataclass(frozen=True)
class Exchange:
    """One question about one picture with its answer, or the answer's beginning."""

    question: str
    answer: str = ""  # "": the answer is yet to come
    complete: bool = False  # the answer ends here; otherwise it goes on
    system: str = ""  # sentences before the conversation; "": none
    picture_first: bool = True  # the picture before the question, or after it
    adjoining: bool = False  # no line break between picture and question
    earlier: tuple[
        tuple[str, str], ...
    ] = ()  # rounds of question and whole answer before it; the picture is in the first


@dataclass(frozen=True)
class Prompt:
    """How a question about a picture is put and how the answer begins."""

    name: str
    system: str = ""  # sentences before the conversation; empty for none
    image_first: bool = True  # the picture before the question, or after it
    subject: str = "painting"  # the noun in the questions and the answer
    score_question: str = "How would you rate the quality of this {subject}?"  # the question when scoring
    answer_prefix: str = "The quality of the {subject} is"  # what stands before the rating word
    # The same of an attribute. The question is the total's, so that picture and question are read once for all of them.
    attribute_prefix: str = "The {attribute} of the {subject} is"
    answer_end: str = "."  # what stands behind the rating word
    adjoining: bool = False  # the scoring question follows the picture without a line break
    own_system: bool = False  # with published models: the system sentences that the model's folder says
    whole: str = "quality"  # the noun for the total where attributes stand beside it
    several_question: str = "How would you rate the {attributes} of this {subject}?"  # all in one answer
    comment_question: str = "How would you rate the quality of this {subject}, and what do you say of it?"
    aspects: tuple[str, ...] = ()  # what an analysis is about, text by text
    aspect_question: str = ""  # of one of them
    description_questions: tuple[str, ...] = (  # the questions when describing: levels 1, 2 and 3
        "Describe what you perceive in this {subject}.",
        "Describe this {subject} and what it says.",
        "Describe this {subject}, its idea and its mood.",
    )

    def __post_init__(self) -> None:
        for name in ("description_questions", "aspects"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for field in fields(self):
            value = getattr(self, field.name)
            if IMAGE_TOKEN in str(value):
                raise ArtQuantError(f"prompt {self.name!r}: {field.name} must not hold {IMAGE_TOKEN}")

    def exchange(
        self, question: str, answer: str = "", complete: bool = False, earlier: Sequence[tuple[str, str]] = ()
    ) -> Exchange:
        """A question put as this prompt puts it, with its answer or the answer's beginning."""
        adjoining = self.adjoining and question == self.scored_question
        return Exchange(question, answer, complete, self.system, self.image_first, adjoining, tuple(earlier))

    @property
    def scored_question(self) -> str:
        """The question when scoring, about this subject."""
        return self.score_question.replace(SUBJECT, self.subject)

    def rating_prefix(self, attribute: str | None = None) -> str:
        """The answer up to the rating word, about the whole or about an attribute (by the data set's name for it)."""
        if attribute is None:
            return self.answer_prefix.replace(SUBJECT, self.subject)
        return self.attribute_prefix.replace(ATTRIBUTE, attribute_phrase(attribute)).replace(SUBJECT, self.subject)

    def saying(self, word: str, attribute: str | None = None) -> str:
        """The answer to a scoring question up to its word."""
        return f"{self.rating_prefix(attribute)} {word}".lstrip()

    def rating_answer(self, word: str, attribute: str | None = None) -> str:
        """The whole answer to a scoring question."""
        return f"{self.saying(word, attribute)}{self.answer_end}"

    def scoring(self, attribute: str | None = None) -> Exchange:
        """The scoring prompt: what comes next is what stands for the score."""
        return self.exchange(self.scored_question, self.rating_prefix(attribute))

    def several_rating_answer(self, word: str, attributes: Sequence[str]) -> str:
        """One answer about the whole, then each attribute (ROC4MLLM, figure 3)."""
        first, *others = (f"{self.rating_prefix(attribute)} {word}" for attribute in (None, *attributes))
        return ", ".join([first, *(f"{other[:1].lower()}{other[1:]}" for other in others)]) + "."

    def rating_several(self, attributes: Sequence[str]) -> str:
        """The question that such an answer answers."""
        *names, last = (self.whole, *map(attribute_phrase, attributes))
        listed = f"{', '.join(names)} and {last}" if names else last
        return self.several_question.replace("{attributes}", listed).replace(SUBJECT, self.subject)

    def score_name(self, before: str) -> str:
        """What a score in an answer is of, told by what stands before it: "composition"; "" where nothing does."""
        clause = re.split(r"[.,;:!?]\s|\n", before.rstrip(" :-"))[-1].strip(" ,.;").removeprefix("and ")
        if clause.lower().removeprefix("the ") == self.rating_prefix().lower().removeprefix("the "):
            return self.whole
        form = self.attribute_prefix.replace(SUBJECT, self.subject).removeprefix("The ")
        own = "(?:the )?" + re.escape(form).replace(re.escape(ATTRIBUTE), "(.+)")
        found = next(filter(None, (re.fullmatch(form, clause, re.IGNORECASE) for form in (own, _CLAUSE))), None)
        return clause if found is None else found[1]

    def describing(self, level: int | None = None) -> Exchange:
        """The prompt for a description of level 1 (perception), 2 (+ cognition) or 3 (+ emotion); None: the fullest."""
        level = len(self.description_questions) if level is None else level
        if level not in range(1, len(self.description_questions) + 1):
            raise ArtQuantError(
                f"prompt {self.name!r}: description levels are 1 to {len(self.description_questions)}, got {level!r}"
            )
        return self.exchange(self.description_questions[level - 1].replace(SUBJECT, self.subject))

    def analysing(self) -> dict[str, Exchange]:
        """The question about each aspect, by its name. Raises ArtQuantError: it has none."""
        if not self.aspects:
            raise ArtQuantError(
                f"prompt {self.name!r} has no aspects to write about; analyse with another model or prompt"
            )
        asked = self.aspect_question.replace(SUBJECT, self.subject)
        return {name: self.exchange(asked.replace(ATTRIBUTE, name)) for name in self.aspects}

    def choosing(self, question: str) -> Exchange:
        """A question with its choices A to D in it, as UniPercept's benchmark puts it: behind the picture."""
        return replace(self.exchange(CHOICES_QUESTION.replace(QUESTION, question)), picture_first=True)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Prompt:
        """The reverse of `to_dict`; unknown or missing keys raise ArtQuantError, those of older cards do not."""
        names = {field.name for field in fields(cls)}
        if not names - _LATER <= set(values) <= names:
            raise ArtQuantError(f"stored prompt: expected the keys {sorted(names)}, found {sorted(values)}")
        for name, usual in vars(cls("")).items():
            value = values.get(name, usual)
            several = isinstance(usual, tuple)
            fits = isinstance(value, (list, tuple)) if several else isinstance(value, type(usual))
            if not fits or (several and not all(isinstance(one, str) for one in value)):
                raise ArtQuantError(f"stored prompt: {name} is {value!r}, of another kind than {usual!r}")
        return cls(**values)


# ArtiMuse's question; its blanks are part of it. UniPercept's has two slips (73-ec, 74-ed), with which it was trained.
_ARTIMUSE = """
        Rate the aesthetics score of the {subject} in 0-100.{blank}
        In the output format, numbers are replaced by 2 corresponding letters,{blank}
        and the mapping relationship is:{blank}
        score 0 to 25: 0-aa, 1-ab, 2-ac, 3-ad, ... , 25-az,
        score 26 to 50: 26-ca, 27-cb, 28-cc, 29-cd, ..., 50-cy,
        score 51 to 75: 51-da, 52-db, 53-dc, 54-dd, ..., 75-dy,
        score 76 to 100: 76-ea, 77-eb, 78-ec, 79-ed, ..., 100-ey.

        The answer only outputs 2 corresponding letters.
        """.replace("{blank}", " ")
_UNIPERCEPT = (
    "Rate the DESCRIPTION score of the {subject} in 0-100. In the output format, numbers are replaced by 2 "
    "corresponding letters, and the mapping relationship is: score 0 to 25: 0-aa, 1-ab, 2-ac, 3-ad, ... , 25-az, \n"
    "score 26 to 50: 26-ca, 27-cb, 28-cc, 29-cd, ..., 50-cy, \n"
    "score 51 to 75: 51-da, 52-db, 53-dc, 54-dd, ..., 75-dy, \n"
    "score 76 to 100: 76-ea, 77-eb, 73-ec, 74-ed, ..., 100-ey. \n"
    "The answer only outputs 2 corresponding letters."
)

CHOICES_QUESTION = (  # of UniPercept's benchmark, verbatim
    "Given the image and the following multiple-choice question, choose the best answer. "
    "Only reply with the letter (A, B, C, or D).\n\nQuestion:\n\n{question}"
)

_ASPECT = "Please evaluate the aesthetic quality of this {subject} from the aspect of {attribute}."
_ASPECTS = (
    *("Composition & Design", "Visual Elements & Structure", "Technical Execution", "Originality & Creativity"),
    *("Theme & Communication", "Emotion & Viewer Response", "Overall Gestalt"),
)

UNIPERCEPT_TASKS = {"iaa": "aesthetics", "iqa": "quality", "ista": "structure and texture richness"}

# The first two are ours, the second with a text on each of APDD's attributes; the published code trains with the third
# and scores with the fourth. ROC4MLLM's does both alike.
PROMPTS = {
    "artquant": Prompt("artquant"),
    "artquant-aspects": Prompt(
        "artquant-aspects",
        aspects=tuple(attribute.phrase for attribute in APDD_ATTRIBUTES),
        aspect_question="What do you say of the {attribute} of this {subject}?",
    ),
    "published-train": Prompt("published-train", system=PUBLISHED_SYSTEM),
    "published-score": Prompt("published-score", image_first=False),
    "artimuse": Prompt(
        "artimuse",
        system=CHAT_SYSTEM,
        subject="image",
        score_question=_ARTIMUSE,
        answer_prefix="",
        attribute_prefix="",
        answer_end="",
        own_system=True,
        whole="aesthetics",
        aspects=(*_ASPECTS, "Comprehensive Evaluation"),
        aspect_question=_ASPECT,
        description_questions=(_ASPECT.replace(ATTRIBUTE, "Comprehensive Evaluation"),),
    ),
    **{
        f"unipercept-{task}": Prompt(
            f"unipercept-{task}",
            system=CHAT_SYSTEM,
            subject="image",
            score_question=_UNIPERCEPT.replace("DESCRIPTION", description),
            answer_prefix="",
            attribute_prefix="",
            answer_end="",
            adjoining=True,
            own_system=True,
            whole=description,
            aspects=_ASPECTS if task == "iaa" else (),
            aspect_question=_ASPECT.replace("aspect", "attribute"),
        )
        for task, description in UNIPERCEPT_TASKS.items()
    },
    "roc4mllm": Prompt(
        "roc4mllm",
        system=PUBLISHED_SYSTEM,
        subject="image",
        score_question="Please rate the aesthetics of the {subject}.",
        answer_prefix="The aesthetic rate of the {subject} is",
        attribute_prefix="The {attribute} rate of the {subject} is",
        whole="aesthetics",
        several_question="Rate the {attributes} of the {subject}.",
        comment_question="Please rate the aesthetics of the {subject} and provide some comments.",
        description_questions=("Please rate the aesthetics of the {subject} and provide some comments.",),
    ),
}
SMALL_PROMPTS = ("artquant", "published-train", "published-score")  # whose words small drawn tokenizers know


def other_prompt(name: str, than: Prompt) -> Prompt:
    """The prompt of that name about another's subject, with its system sentences if it leaves them to the model.

    Raises:
        ArtQuantError: there is none of that name, or it leaves them to a model that has none of its own.
    """
    prompt = get_prompt(name, than.subject)
    if prompt.own_system and not than.own_system:
        raise ArtQuantError(f"prompt {name!r} is for models of its kind, this one is asked with {than.name!r}")
    return replace(prompt, system=than.system) if prompt.own_system else prompt


def get_prompt(name: str, subject: str = "painting") -> Prompt:
    """The prompt of that name, about that subject ("painting", or "image" as DeQA-Score says)."""
    if name not in PROMPTS:
        raise ArtQuantError(f"unknown prompt {name!r}; known are {', '.join(PROMPTS)}")
    return Prompt.from_dict(PROMPTS[name].to_dict() | {"subject": subject})

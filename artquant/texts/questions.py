"""The questions that descriptions and human comments answer, and which record gets which of them.

Wordings hold `{subject}` ("painting"). A question is drawn from the seed, the picture's name and what is asked, so it
depends neither on the order of the records nor on how many there are.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

from artquant.errors import ArtQuantError
from artquant.texts.prompt import IMAGE_TOKEN, SUBJECT

LEVELS = (1, 2, 3)  # perception, + cognition, + emotion


@dataclass(frozen=True)
class Questions:
    """Wordings by what is asked for; each has one at least."""

    level_1: tuple[str, ...] = (  # perception
        "What can be seen in this {subject}?",
        "Describe what you perceive in this {subject}.",
        "Describe the layout, light, colour and texture of this {subject}.",
        "How is this {subject} made?",
    )
    level_2: tuple[str, ...] = (  # perception and cognition
        "Describe this {subject} and what it says.",
        "What can be seen in this {subject}, and what does it mean?",
        "Describe the perception and the idea of this {subject}.",
        "Describe how this {subject} is made and how its parts fit together.",
    )
    level_3: tuple[str, ...] = (  # perception, cognition and emotion
        "Describe this {subject}, its idea and its mood.",
        "What do you see, understand and feel in this {subject}?",
        "Describe perception, idea and emotion of this {subject}.",
        "Give a full analysis of this {subject}, from what is seen to what is felt.",
    )
    comment: tuple[str, ...] = (  # a person's remarks
        "Comment on this {subject}.",
        "What would you tell the artist about this {subject}?",
        "Write a short comment on this {subject}.",
        "What is done well in this {subject}, and what is not?",
        "What strikes you about this {subject}?",
    )

    def __post_init__(self) -> None:
        for field in fields(self):
            wordings = getattr(self, field.name)
            if not wordings:
                raise ArtQuantError(f'questions "{field.name}": there is no wording; give at least one')
            for wording in wordings:
                if not wording.strip():
                    raise ArtQuantError(f'questions "{field.name}": a wording is empty; write it or take it out')
                if IMAGE_TOKEN in wording:
                    raise ArtQuantError(f'questions "{field.name}": {IMAGE_TOKEN} is added later; take it out')

    def for_level(self, level: int, image: str, seed: int = 0, subject: str = "painting") -> str:
        """The question of a picture's description of level 1, 2 or 3."""
        return drawn_question(
            (self.level_1, self.level_2, self.level_3)[level - 1], f"level {level}", image, seed, subject
        )

    def for_comment(self, image: str, seed: int = 0, subject: str = "painting") -> str:
        """The question of a picture's comment."""
        return drawn_question(self.comment, "comment", image, seed, subject)


def read_questions(path: Path | str) -> Questions:
    """Read own wordings: YAML or JSON with the keys level_1, level_2, level_3, comment (lists; those left out stay).

    Raises:
        ArtQuantError: The file cannot be read, has other keys, or wordings that are empty or hold the image token.
    """
    from artquant.config.load import load_config

    try:
        return load_config(path, schema=Questions)
    except ArtQuantError as error:
        raise error if str(path) in str(error) else ArtQuantError(f"{path}: {error}") from None


def drawn_question(wordings: tuple[str, ...], purpose: str, image: str, seed: int, subject: str) -> str:
    """One of the wordings, by the seed, the picture's name and what is asked alone."""
    digest = hashlib.sha256(f"{seed}\n{purpose}\n{image}".encode("utf-8", "surrogatepass")).digest()
    return wordings[int.from_bytes(digest[:8], "big") % len(wordings)].replace(SUBJECT, subject)

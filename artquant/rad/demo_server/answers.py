"""What the server answers in each role, as the reply's schema wants it."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from artquant.errors import ArtQuantError
from artquant.rad.demo_server import judges
from artquant.rad.demo_server.pictures import DemoPictures, Drawn
from artquant.rad.demo_server.refusal import Refusal
from artquant.rad.demo_server.request import Asked, Facts
from artquant.rad.demo_server.writer import Subject, is_mistaken, with_mistake
from artquant.texts.descriptions import PARTS


@dataclass(frozen=True)
class Answers:
    """A writer and judges who know the demo's pictures; the same question has the same answer."""

    pictures: DemoPictures
    seed: int = 0
    mistakes: float = 0.3  # share of parts that are written with a mistake, and half of it when written again
    judge_errors: float = 0.0  # share of judgements that say the opposite

    def __post_init__(self) -> None:
        for name, share in (("mistakes", self.mistakes), ("judge errors", self.judge_errors)):
            if not 0 <= share <= 1:
                raise ArtQuantError(f"{name}: must be a share of 0 to 1, got {share:g}")

    def answer(self, asked: Asked, drawn: Drawn | None, wrong: bool = False) -> dict[str, Any]:
        """The reply.

        Args:
            asked: The question.
            drawn: The picture that is shown; None: none.
            wrong: Whether a text is mistaken and a judgement the opposite, whatever the shares say.

        Raises:
            Refusal: Something is missing in the question.
        """
        if asked.role == "writer":
            return self._written(asked, _shown(drawn, asked), wrong)
        if not asked.given:
            raise Refusal(400, f'the prompt gives the {asked.role} no texts: a line {{"perception": "...", ...}}')
        texts = asked.given[0]
        wrong = wrong or self._draw(asked.digest, drawn and drawn.index).random() < self.judge_errors
        if asked.role == "judge":
            return {part: _mark(texts, asked.facts, part, wrong) for part in asked.parts}
        if asked.role == "reader":
            low, high = asked.facts.scale
            score = judges.read_score(texts, asked.facts)
            return {"score": round(low + high - score, 2) if wrong else score}
        if asked.role == "witness":
            return {"claims": _found(judges.unseen_claims(texts, _shown(drawn, asked)), texts, wrong)}
        return {"quotes": _found(judges.leaks(texts), texts, wrong)}

    def _written(self, asked: Asked, drawn: Drawn, wrong: bool) -> dict[str, str]:
        values = asked.facts.values()
        total = asked.facts.score if asked.facts.score is not None else asked.facts.said(values["The overall"])
        leaked = f"I would rate it {total:.0f} out of {asked.facts.scale[1]:.0f}."
        draw = self._draw(drawn.index, json.dumps(asked.given))
        subject = Subject(drawn.plan, values, draw.getrandbits(64), leaked)
        texts = subject.write()
        mistaken = [part for part in PARTS if is_mistaken(self.mistakes, bool(asked.given), draw) or wrong]
        return {
            part: with_mistake(texts[part], subject, part, draw) if part in mistaken else texts[part]
            for part in asked.parts
        }

    def _draw(self, *about: object) -> random.Random:
        return random.Random(f"{self.seed} {about}")


def _shown(drawn: Drawn | None, asked: Asked) -> Drawn:
    if drawn is None:
        raise Refusal(400, f"the {asked.role} is shown no picture; send it as an image_url of the message")
    return drawn


def _mark(texts: dict[str, str], facts: Facts, part: str, wrong: bool) -> dict[str, Any]:
    if part not in texts:
        raise Refusal(400, f"a mark of {part} is asked for, and no such text is given")
    mark, reason = judges.mark_text(texts[part], facts)
    if wrong:
        return {"mark": round(10 - mark, 1), "reason": "It fits." if mark < 5 else "It does not fit."}
    return {"mark": mark, "reason": reason}


def _found(places: list[str], texts: dict[str, str], wrong: bool) -> list[str]:
    """What was found, or where it is to be wrong: nothing, or the first sentence of texts without a fault."""
    first = next(iter(texts.values())).partition(".")[0]
    return ([] if places else [f"{first}."]) if wrong else places[:50]

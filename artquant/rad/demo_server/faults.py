"""How the server misbehaves on request: as endpoints do, and by draws that can be repeated."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any, Literal

from artquant.errors import ArtQuantError

# What becomes of a request; also what the log says of it, beside `ANSWERED` and `REFUSED`.
FAULTS = ("wrong_marks", "broken_json", "refused_429", "error_5xx", "slow", "dropped", "cut_off")
ANSWERED, REFUSED = "answered", "refused"  # refused: an answer of 400 to 499 that asking again does not change
BREAKAGES = ("half", "prose", "another schema", "no values", "no content", "refusal")

RetryAfter = Literal["seconds", "date", "none", "mixed"]  # what a 429 says of when to come again; mixed: one of these


@dataclass(frozen=True)
class Faults:
    """Which faults there are, and how many."""

    share: float = 0.0  # of all requests, of each kind
    kinds: tuple[str, ...] = FAULTS
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in FAULTS]
        if unknown or not self.kinds or len(set(self.kinds)) < len(self.kinds):
            said = ", ".join(self.kinds) or "none"
            raise ArtQuantError(f"faults: name some of {', '.join(FAULTS)}, each once; got {said}")
        if not 0 <= self.share * len(self.kinds) <= 1:
            most = 1 / len(self.kinds)
            raise ArtQuantError(f"faults: {len(self.kinds)} kinds can have 0 to {most:.3g} each, got {self.share:g}")

    def draw(self, number: int) -> tuple[str | None, random.Random]:
        """The fault of the request of this number, None: it has none; and what else of it is to be drawn."""
        draw = random.Random(f"{self.seed} {number}")
        place = draw.random()
        hit = int(place / self.share) if self.share else len(self.kinds)
        return (self.kinds[hit] if hit < len(self.kinds) else None), draw


def broken(content: str, draw: random.Random) -> dict[str, Any]:
    """A message whose content does not fit the schema that it was asked for."""
    kind = draw.choice(BREAKAGES)
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if kind == "half":
        message["content"] = content[: len(content) // 2]
    elif kind == "prose":
        message["content"] = "I have looked at the picture closely. Shall I go on?"
    elif kind == "another schema":
        message["content"] = '{"answer": "A picture.", "confidence": 0.5}'
    elif kind == "no values":
        message["content"] = json.dumps(dict.fromkeys(json.loads(content)))
    else:
        message["content"] = None
    if kind == "refusal":
        message["refusal"] = "I cannot help with that."
    return message


def parse_faults(text: str, seed: int) -> Faults:
    """SHARE[,KIND,...] as it is written on the command line. Raises ArtQuantError: it is none."""
    share, *kinds = text.split(",")
    try:
        return Faults(float(share), tuple(kinds) or FAULTS, seed)
    except ValueError:
        raise ArtQuantError(f"faults: begin with a share of 0 to 1, got {share[:40]!r}") from None

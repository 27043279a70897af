"""The loop of one picture: written, judged, written anew where it was rejected (ArtQuant, section 3.1).

    round 1          writer: picture, statistics, scores, comment  ->  perception, cognition, emotion
    every round      rules, then the judge, on what is new; once all three agree with the scores: reader, witness, leaks
    next round       what was objected to goes back with the reasons, and nothing else
    in the end       a part is kept if nobody objects to it any more, and all parts before it are kept

Given the replies, it is a function: a process that goes on with a picture comes to the same calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from artquant.rad.chat import Picture, Request
from artquant.rad.outcome import Canary, Draft, Entry, Outcome
from artquant.rad.prompts import Prompts
from artquant.rad.replies import LeaksFound, Mark, ScoreRead, UnseenClaims, descriptions_of, marks_of
from artquant.rad.rules import rule_faults
from artquant.rad.settings import RadConfig
from artquant.rad.source import facts_of
from artquant.texts.descriptions import PARTS

Answer = TypeVar("Answer", bound=BaseModel)
Ask = Callable[[str, int, Request], Awaitable[Any]]  # role, round, request -> reply of the request's schema
_CANARY_ROUND = 0


@dataclass
class _Part:
    """A description as it stands."""

    text: str
    round: int
    mark: float | None
    objections: list[tuple[str, str]]


@dataclass(frozen=True)
class Task:
    """All that the loop of one picture needs beside the picture."""

    config: RadConfig
    prompts: Prompts
    statistics: dict[str, Any]

    def facts(self, entry: Entry, hidden: bool = False) -> dict[str, Any]:
        """What is told of a picture."""
        return facts_of(entry, self.statistics, self.config.source, hidden)

    def request(self, role: str, schema: type[BaseModel], picture: Picture | None = None, **told: Any) -> Request:
        """A question to a role; a writer who has texts to mend is asked in other words."""
        name = "rewriter" if role == "writer" and "reasons" in told else role
        text = self.prompts.filled(name, **told)
        return Request(self.config.roles.chosen()[role], text, picture, schema)


async def describe_picture(task: Task, entry: Entry, picture: Picture, ask: Ask) -> Outcome:
    """Go through the rounds of one picture.

    Raises:
        CallRefused: a call has no reply, or none of the wanted form.
    """
    parts: dict[str, _Part] = {}
    drafts: list[Draft] = []
    score_read: float | None = None
    for round_ in range(1, task.config.loop.rounds + 1):
        wanted = tuple(part for part in PARTS if part not in parts or parts[part].objections)
        if not wanted:
            break
        drafts += [_draft(name, parts[name], kept=False) for name in wanted if name in parts]
        parts |= await _written(task, entry, picture, ask, round_, wanted, parts)
        await _judged(task, entry, ask, round_, wanted, parts)
        if not any(part.objections for part in parts.values()):
            score_read = await _examined(task, entry, picture, ask, round_, parts)
    kept = 0
    while kept < len(PARTS) and not parts[PARTS[kept]].objections:
        kept += 1
    drafts += [_draft(name, parts[name], kept=place < kept) for place, name in enumerate(PARTS)]
    state, reason = {len(PARTS): "kept", 0: "dropped"}.get(kept, "partly"), ""
    if kept < len(PARTS):
        who, why = parts[PARTS[kept]].objections[0]
        reason = f"{PARTS[kept]}, {who}: {why}"
    return Outcome(entry.image, state, reason, tuple(drafts), (), score_read)


def _draft(name: str, part: _Part, kept: bool) -> Draft:
    return Draft(name, part.round, part.text, part.mark, tuple(part.objections), kept)


async def _written(
    task: Task, entry: Entry, picture: Picture, ask: Ask, round_: int, wanted: tuple[str, ...], parts: dict[str, _Part]
) -> dict[str, _Part]:
    """New texts of the wanted parts."""
    loop = task.config.loop
    told: dict[str, Any] = {
        "facts": task.facts(entry, loop.hidden_score),
        "language": loop.language,
        "words": {part: limits for part, limits in zip(PARTS, loop.words, strict=True) if part in wanted},
        "parts": ", ".join(wanted),
    }
    if parts:
        told["kept"] = {name: part.text for name, part in parts.items() if name not in wanted}
        told["texts"] = {name: parts[name].text for name in wanted}
        told["reasons"] = {name: " ".join(why for _, why in parts[name].objections) for name in wanted}
    reply = await ask("writer", round_, task.request("writer", descriptions_of(wanted), picture, **told))
    return {name: _Part(text.strip(), round_, None, []) for name, text in reply.model_dump().items()}


async def _judged(
    task: Task, entry: Entry, ask: Ask, round_: int, wanted: Sequence[str], parts: Mapping[str, _Part]
) -> None:
    """Rules on all parts that are new, the judge on those that they let pass."""
    faults = rule_faults({name: part.text for name, part in parts.items()}, task.config.loop.words)
    for name in wanted:
        if name in faults:
            parts[name].objections.append(("rule", faults[name]))
    asked = tuple(name for name in wanted if name not in faults)
    if not asked:
        return
    texts = {name: parts[name].text for name in asked}
    marks = await ask("judge", round_, _judging(task, entry, texts))
    for name, mark in marks_by_part(marks).items():
        parts[name].mark = mark.mark
        if mark.mark < task.config.loop.threshold:
            parts[name].objections.append(("judge", mark.reason or "It does not agree with the scores."))


def _judging(task: Task, entry: Entry, texts: Mapping[str, str]) -> Request:
    asked = tuple(texts)
    return task.request("judge", marks_of(asked), facts=task.facts(entry), texts=texts, parts=", ".join(asked))


def marks_by_part(reply: BaseModel) -> dict[str, Mark]:
    """The marks of a judge's reply (`marks_of`)."""
    return {name: Mark.model_validate(value) for name, value in reply.model_dump().items()}


async def _examined(
    task: Task, entry: Entry, picture: Picture, ask: Ask, round_: int, parts: Mapping[str, _Part]
) -> float | None:
    """The other judges, on texts that agree with the scores; their objections; the score that the reader read."""
    roles, loop = task.config.roles, task.config.loop
    texts = {name: part.text for name, part in parts.items()}
    read: float | None = None
    if roles.leaks is not None:
        leaks: LeaksFound = await ask("leaks", round_, task.request("leaks", LeaksFound, texts=texts))
        _object(parts, "leaks", leaks.quotes, "It gives the score away: {}. Leave that out.")
    if roles.witness is not None:
        claims = await _unseen(task, picture, ask, round_, texts)
        if loop.unseen_claims is not None and len(claims) > loop.unseen_claims:
            _object(parts, "witness", claims, "The picture does not show this: {}. Leave it out or correct it.")
    if roles.reader is not None:
        data_set = {key: value for key, value in task.facts(entry).items() if key in ("scale", "statistics")}
        reply: ScoreRead = await ask(
            "reader", round_, task.request("reader", ScoreRead, data_set=data_set, texts=texts)
        )
        low, high = task.config.source.range
        read = min(max(reply.score, low), high)
        if loop.reading_error is not None and abs(read - entry.score) > loop.reading_error * (high - low):
            strength = "much" if read > entry.score else "little"
            for part in parts.values():
                part.objections.append(("reader", f"Read by themselves, the texts praise too {strength}."))
    return read


async def _unseen(task: Task, picture: Picture, ask: Ask, round_: int, texts: Mapping[str, str]) -> list[str]:
    reply: UnseenClaims = await ask("witness", round_, task.request("witness", UnseenClaims, picture, texts=texts))
    return reply.claims


def _object(parts: Mapping[str, _Part], who: str, quotes: Sequence[str], reason: str) -> None:
    """Object to the parts that a quotation is of; to all of them where it is of none word by word."""
    for quote in quotes:
        holding = [part for part in parts.values() if quote.strip(" .\"'").casefold() in part.text.casefold()]
        for part in holding or parts.values():
            part.objections.append((who, reason.format(repr(quote))))


def is_canary(task: Task, image: str) -> bool:
    """Whether a picture's judges are tried: a share of the pictures, by seed and name."""
    drawn = hashlib.sha256(f"{task.config.seed}\n{image}".encode("utf-8", "backslashreplace")).digest()
    return int.from_bytes(drawn[:8], "big") < task.config.loop.canaries * 2**64


async def try_judges(
    task: Task, texts: Mapping[str, str], other: Entry, picture: Picture | None, ask: Ask
) -> tuple[Canary, ...]:
    """Show good texts to the judges with the scores of another picture, and with that picture.

    Args:
        texts: kept descriptions, by part.
        other: a picture whose score is far away. picture: its file; None: it cannot be read.
    """
    marks = await ask("judge", _CANARY_ROUND, _judging(task, other, texts))
    rejected = any(mark.mark < task.config.loop.threshold for mark in marks_by_part(marks).values())
    found = [Canary("judge", other.image, rejected)]
    if task.config.roles.witness is not None and picture is not None:
        claims = await _unseen(task, picture, ask, _CANARY_ROUND, texts)
        found.append(Canary("witness", other.image, len(claims) > (task.config.loop.unseen_claims or 0)))
    return tuple(found)

"""Every setting of a collection, with its meaning, default and allowed values (configs/demo/rad.yaml)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from artquant.config.requirements import (
    LARGEST,
    LARGEST_SEED,
    ConfigError,
    require,
    require_at_least,
    require_not_negative,
    require_positive,
)

Structure = Literal["json_schema", "json_object", "text"]  # how an endpoint is asked for JSON, strictest first
STRUCTURES: tuple[Structure, ...] = get_args(Structure)
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")  # in capitals, as few keys are


@dataclass(frozen=True)
class EndpointSettings:
    """An OpenAI-compatible chat endpoint: what `POST URL/chat/completions` answers."""

    url: str  # with the version: http://127.0.0.1:8000/v1
    key: str | None = None  # NAME of the environment variable that holds the key; null: none is sent
    in_flight: int = 32  # calls at a time, at most
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None  # prompt and reply
    timeout: float = 120.0  # seconds for one reply
    attempts: int = 6  # to send a call, the first among them
    input_price: float = 0.0  # of a million tokens, in one currency for all endpoints
    output_price: float = 0.0
    batch_price: float = 0.5  # share of the prices that requests of a batch file cost
    structure: Structure = "json_schema"  # the strictest that is tried

    def __post_init__(self) -> None:
        known = re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", self.url) is not None
        require(known, "url", "must be http(s)://HOST[:PORT]/PATH, without user, query or blanks")
        if self.key is not None and not _VARIABLE.fullmatch(self.key):
            reason = (
                "is the NAME of an environment variable (capitals, digits, _) that holds the key, never the key itself"
            )
            raise ConfigError("key", reason, hidden=True)
        require_at_least(1, most=4096, in_flight=self.in_flight)
        require_at_least(1, most=100, attempts=self.attempts)
        require_positive(
            requests_per_minute=self.requests_per_minute, tokens_per_minute=self.tokens_per_minute, timeout=self.timeout
        )
        require_not_negative(input_price=self.input_price, output_price=self.output_price)
        require_not_negative(batch_price=self.batch_price)


@dataclass(frozen=True)
class RoleSettings:
    """A model in one role, and what it is told."""

    endpoint: str  # of `endpoints`
    model: str
    temperature: float = 0.0
    max_tokens: int = 1024  # of a reply

    def __post_init__(self) -> None:
        require(bool(self.model.strip()), "model", "is empty; name the endpoint's model")
        require(0 <= self.temperature <= 2, "temperature", f"must be 0 to 2, got {self.temperature:g}")
        require_at_least(16, most=1_000_000, max_tokens=self.max_tokens)


@dataclass(frozen=True)
class RolesSettings:
    """Who writes and who judges; those that are null are not asked."""

    writer: RoleSettings  # the paper's generator: picture, statistics, scores, comment -> three descriptions
    judge: RoleSettings  # the paper's discriminator: text, statistics, scores -> marks out of ten, with reasons
    reader: RoleSettings | None = None  # sees the text alone: which score does it tell of?
    witness: RoleSettings | None = None  # sees text and picture: which claims cannot be seen?
    leaks: RoleSettings | None = None  # does a text give the score away? (the rule is always asked)

    def chosen(self) -> dict[str, RoleSettings]:
        """Those that are asked, by name."""
        roles = {"writer": self.writer, "judge": self.judge}
        others = {"reader": self.reader, "witness": self.witness, "leaks": self.leaks}
        return roles | {name: role for name, role in others.items() if role is not None}


@dataclass(frozen=True)
class SourceSettings:
    """The scored pictures."""

    records: Path  # JSON list or lines: "image", "gt_score", optional "attributes", "categories"
    images: Path  # folder that picture names are relative to
    range: tuple[float, float] = (1.0, 10.0)  # lowest and highest score of the data set
    comments: Path | None = None  # what people wrote: description records, such as the comments.json of `prepare`
    category: str | None = None  # kind of category (of "categories", or a key); statistics are given for each
    limit: int | None = None  # pictures, drawn by the seed; null: all
    longest_side: int = 1024  # pixels; larger pictures are sent smaller
    most_bytes: int = 2_000_000  # larger files are sent as JPEG

    def __post_init__(self) -> None:
        low, high = self.range
        require(-LARGEST <= low < high <= LARGEST, "range", f"must be lowest, highest, got {low:g}, {high:g}")
        require_at_least(1, limit=1 if self.limit is None else self.limit)
        require_at_least(32, most=65_536, longest_side=self.longest_side)
        require_at_least(1_000, most=100_000_000, most_bytes=self.most_bytes)


@dataclass(frozen=True)
class LoopSettings:
    """When a description is kept."""

    threshold: float = 7.0  # mark out of ten from which a description agrees with the people's score
    rounds: int = 3  # of writing, the first among them
    language: str = "English"
    hidden_score: bool = (
        False  # the writer is told one of three tones instead of the scores (Aes-R1: below .4, above .7)
    )
    words: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] = ((15, 150), (15, 150), (10, 150))  # least, most
    reading_error: float | None = None  # share of the range that the reader may be off; null: measured only
    unseen_claims: int | None = 0  # most claims the witness may not see; null: measured only
    canaries: float = 0.02  # share of pictures whose judges are tried with another picture's score or the wrong picture

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 10, "threshold", f"must be a mark of 0 to 10, got {self.threshold:g}")
        require_at_least(1, most=20, rounds=self.rounds)
        require(bool(self.language.strip()), "language", "is empty")
        for least, most in self.words:
            require(1 <= least <= most <= 10_000, "words", f"must be least, most of each level, got {least}, {most}")
        require(
            self.reading_error is None or 0 < self.reading_error <= 1, "reading_error", "must be above 0, at most 1"
        )
        require_at_least(0, most=1000, unseen_claims=self.unseen_claims or 0)
        require(0 <= self.canaries <= 1, "canaries", f"must be a share of 0 to 1, got {self.canaries:g}")


@dataclass(frozen=True)
class RadConfig:
    """One collection."""

    run: str  # its folder under `output`
    source: SourceSettings
    endpoints: dict[str, EndpointSettings]
    roles: RolesSettings
    loop: LoopSettings = field(default_factory=LoopSettings)
    output: Path = Path("runs")
    prompts: Path | None = None  # folder whose files replace those of their names in artquant/rad/prompts
    seed: int = 0  # of the pictures drawn and of the canaries
    budget: float | None = None  # money, in the prices' currency: no call is sent that could exceed it
    confirm: float = 10.0  # money: a run that is estimated to cost more begins only with --yes
    durable: bool = False  # every reply is forced to the disk: a power cut loses nothing, and it is far slower

    def __post_init__(self) -> None:
        require(
            re.fullmatch(r"\w[\w.+=-]{0,99}", self.run) is not None, "run", f"names a folder, got {self.run[:60]!r}"
        )
        require_at_least(0, most=LARGEST_SEED, seed=self.seed)
        require(self.budget is None or 0 < self.budget <= LARGEST, "budget", "must be above 0, or null for no limit")
        require_not_negative(confirm=self.confirm)
        for name, role in self.roles.chosen().items():
            known = ", ".join(self.endpoints) or "none"
            require(role.endpoint in self.endpoints, f"roles.{name}.endpoint", f"no such endpoint; there are: {known}")

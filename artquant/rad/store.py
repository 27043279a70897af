"""A collection's SQLite file: pictures and their states, and every call with its reply, one commit each.

A call is written down before it is sent and its reply as soon as it is there, so a process that is killed loses at most
the replies of the calls in flight. The unique key of a call - picture, round, role, and the SHA-256 of all that it
asks - lets the next process find the reply instead of asking again. One process writes (`only_writer`); any may read.

Write-ahead log, synchronous NORMAL: the death of the process loses nothing, a power cut may lose the last moments;
with `durable` (FULL) it does not either.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from artquant.errors import ArtQuantError, one_line
from artquant.rad.chat import Reply, Usage
from artquant.rad.outcome import Canary, Draft, Entry, Outcome

EDITION = 1  # of the tables
WAITING = "waiting"
_NOTHING = Usage(0, 0)
_SAME = "image = ? AND round = ? AND role = ? AND key = ?"  # `Call.values`
_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE picture (
    number INTEGER PRIMARY KEY, image TEXT NOT NULL UNIQUE, score REAL NOT NULL, entry TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'kept', 'partly', 'dropped', 'unreadable', 'failed')),
    reason TEXT NOT NULL DEFAULT '', score_read REAL
);
CREATE INDEX picture_state ON picture (state);
CREATE TABLE draft (
    image TEXT NOT NULL, part TEXT NOT NULL, round INTEGER NOT NULL, text TEXT NOT NULL, mark REAL,
    objections TEXT NOT NULL, kept INTEGER NOT NULL, PRIMARY KEY (image, part, round)
) WITHOUT ROWID;
CREATE TABLE canary (
    image TEXT NOT NULL, role TEXT NOT NULL, other TEXT NOT NULL, caught INTEGER NOT NULL, PRIMARY KEY (image, role)
) WITHOUT ROWID;
CREATE TABLE call (
    number INTEGER PRIMARY KEY, image TEXT NOT NULL, round INTEGER NOT NULL, role TEXT NOT NULL, key TEXT NOT NULL,
    endpoint TEXT NOT NULL, model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sent', 'batched', 'answered', 'refused')),
    attempts INTEGER NOT NULL, text TEXT, input INTEGER NOT NULL DEFAULT 0, output INTEGER NOT NULL DEFAULT 0,
    cost REAL NOT NULL DEFAULT 0, request_id TEXT NOT NULL DEFAULT '', begun REAL NOT NULL, ended REAL,
    UNIQUE (image, round, role, key)
);
"""


@dataclass(frozen=True)
class Call:
    """What makes a call the same one."""

    image: str
    round: int
    role: str
    key: str  # `Request.key`

    @property
    def values(self) -> tuple[str, int, str, str]:
        """In the order of the unique key."""
        return self.image, self.round, self.role, self.key


class Totals(NamedTuple):
    """Of all calls."""

    calls: int
    attempts: int
    answered: int
    unanswered: int  # begun and never answered: in a batch file, in flight when a process was killed, or right now
    input: int  # tokens
    output: int
    cost: float


class Store:
    """An opened collection. `about` holds what it was made with, as JSON by name."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._database = connection
        self.path = path
        self.files = [path.with_name(path.name + end) for end in ("", "-wal", "-shm")]  # SQLite's own beside it

    # What it is about

    def about(self, name: str) -> Any:
        """A value, or None."""
        row = self._database.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return None if row is None else self._json(row[0])

    def _json(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (TypeError, ValueError):
            raise ArtQuantError(f"{self.path}: is damaged; take a copy of it, or name another run") from None

    def _entry(self, text: str) -> Entry:
        return Entry(**self._json(text))

    def begin(self, entries: Iterable[Entry], **about: Any) -> None:
        """Fill a new store, in one transaction."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT INTO picture (image, score, entry) VALUES (?, ?, ?)",
                ((entry.image, entry.score, json.dumps(entry.__dict__, ensure_ascii=False)) for entry in entries),
            )
            self._database.executemany(
                "INSERT INTO about VALUES (?, ?)",
                ((name, json.dumps(value)) for name, value in about.items()),
            )

    # Pictures

    def waiting(self) -> Iterator[Entry]:
        """Pictures without an outcome, in their order, however many there are."""
        last = 0
        while rows := self._database.execute(
            "SELECT number, entry FROM picture WHERE state = ? AND number > ? ORDER BY number LIMIT 256",
            (WAITING, last),
        ).fetchall():
            for last, entry in rows:  # noqa: B007 - the next page goes on from it
                yield self._entry(entry)

    def entry(self, image: str) -> Entry | None:
        """A picture by its name."""
        row = self._database.execute("SELECT entry FROM picture WHERE image = ?", (image,)).fetchone()
        return None if row is None else self._entry(row[0])

    def ends(self, share: float, most: int) -> tuple[list[Entry], list[Entry]]:
        """Pictures of the lowest and of the highest scores: a share of all, from 1 to so many at each end."""
        [count] = self._database.execute("SELECT COUNT(*) FROM picture").fetchone()
        taken = max(1, min(most, round(share * count)))
        lowest, highest = (
            self._database.execute(
                f"SELECT entry FROM picture ORDER BY score {order}, number LIMIT ?", (taken,)
            ).fetchall()
            for order in ("ASC", "DESC")
        )
        return [self._entry(entry) for (entry,) in lowest], [self._entry(entry) for (entry,) in highest]

    def finish(self, outcome: Outcome) -> None:
        """A picture's outcome and all its texts, in one transaction."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            changed = self._database.execute(
                "UPDATE picture SET state = ?, reason = ?, score_read = ? WHERE image = ? AND state = ?",
                (outcome.state, outcome.reason, outcome.score_read, outcome.image, WAITING),
            ).rowcount
            if changed != 1:
                raise ArtQuantError(f"{self.path}: {outcome.image} has an outcome already; is another process at work?")
            self._database.execute(  # let go by `reopen`, and not asked again: replies came that made them needless
                "UPDATE call SET state = 'refused' WHERE image = ? AND state = 'sent' AND ended IS NOT NULL",
                (outcome.image,),
            )
            self._database.executemany(
                "INSERT INTO draft VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (outcome.image, d.part, d.round, d.text, d.mark, json.dumps(d.objections), d.kept)
                    for d in outcome.drafts
                ),
            )
            self._database.executemany(
                "INSERT INTO canary VALUES (?, ?, ?, ?)",
                ((outcome.image, c.role, c.other, c.caught) for c in outcome.canaries),
            )

    def reopen(self, *states: str) -> int:
        """Let pictures of these states wait again; their answered calls stay. Returns how many."""
        return self._reopened(f"state IN ({', '.join('?' * len(states))})", states)

    def reopen_picture(self, image: str) -> None:
        """Let one wait again."""
        self._reopened("image = ?", (image,))

    def _reopened(self, among: str, values: Sequence[str]) -> int:
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            images = f"(SELECT image FROM picture WHERE {among})"
            for table in ("draft", "canary"):
                self._database.execute(f"DELETE FROM {table} WHERE image IN {images}", values)
            self._database.execute(
                f"UPDATE call SET state = 'sent' WHERE state = 'refused' AND image IN {images}", values
            )
            sql = f"UPDATE picture SET state = '{WAITING}', reason = '', score_read = NULL WHERE {among}"
            return self._database.execute(sql, values).rowcount

    def states(self) -> dict[str, int]:
        """How many pictures are in each state."""
        return dict(self._database.execute("SELECT state, COUNT(*) FROM picture GROUP BY state"))

    def outcomes(self, *states: str) -> Iterator[tuple[Entry, Outcome]]:
        """Pictures with an outcome (of these states, if any are named), in their order."""
        for entry, state, reason, read in self._database.execute(
            "SELECT entry, state, reason, score_read FROM picture WHERE state != ? ORDER BY number", (WAITING,)
        ):
            if not states or state in states:
                found = self._entry(entry)
                drafts, canaries = self._drafts(found.image), self._canaries(found.image)
                yield found, Outcome(found.image, state, reason, drafts, canaries, read)

    def outcome(self, image: str) -> Outcome | None:
        """One picture's, while it waits one without texts; None: no such picture."""
        row = self._database.execute(
            "SELECT state, reason, score_read FROM picture WHERE image = ?", (image,)
        ).fetchone()
        if row is None:
            return None
        return Outcome(image, row[0], row[1], self._drafts(image), self._canaries(image), row[2])

    def _drafts(self, image: str) -> tuple[Draft, ...]:
        rows = self._database.execute(
            "SELECT part, round, text, mark, objections, kept FROM draft WHERE image = ? ORDER BY round", (image,)
        )
        return tuple(
            Draft(part, round_, text, mark, tuple(map(tuple, self._json(objections))), bool(kept))
            for part, round_, text, mark, objections, kept in rows
        )

    def _canaries(self, image: str) -> tuple[Canary, ...]:
        rows = self._database.execute("SELECT role, other, caught FROM canary WHERE image = ?", (image,))
        return tuple(Canary(role, other, bool(caught)) for role, other, caught in rows)

    # Calls

    def reply(self, call: Call) -> Reply | None:
        """The stored reply of a call."""
        row = self._database.execute(
            f"SELECT text, input, output, request_id FROM call WHERE {_SAME} AND state = 'answered'",
            call.values,
        ).fetchone()
        return None if row is None else Reply(row[0], Usage(row[1], row[2]), row[3])

    def sending(self, call: Call, endpoint: str, model: str) -> None:
        """Count an attempt, before it is made."""
        self._database.execute(
            "INSERT INTO call (image, round, role, key, endpoint, model, state, attempts, begun) "
            "VALUES (?, ?, ?, ?, ?, ?, 'sent', 1, ?) "
            "ON CONFLICT (image, round, role, key) DO UPDATE SET attempts = attempts + 1, state = 'sent'",
            (*call.values, endpoint, model, time.time()),
        )

    def answered(self, call: Call, reply: Reply, cost: float) -> Reply:
        """Keep a reply; returns it as it is kept, without half characters.

        Tokens and money add up where a call was made anew.
        """
        reply = replace(reply, text=_storable(reply.text), request_id=_storable(reply.request_id))
        self._database.execute(
            "UPDATE call SET state = 'answered', text = ?, input = input + ?, output = output + ?, cost = cost + ?, "
            f"request_id = ?, ended = ? WHERE {_SAME}",
            (reply.text, reply.usage.input, reply.usage.output, cost, reply.request_id, time.time(), *call.values),
        )
        return reply

    def refused(self, call: Call, reason: str, usage: Usage = _NOTHING, cost: float = 0.0) -> None:
        """A call has no reply, or none that can be used: it is made again where its picture is tried again."""
        self._database.execute(
            "UPDATE call SET state = 'refused', text = COALESCE(text, ?), input = input + ?, output = output + ?, "
            f"cost = cost + ?, ended = ? WHERE {_SAME}",
            (_storable(reason), usage.input, usage.output, cost, time.time(), *call.values),
        )

    def batched(self, calls: Iterable[tuple[Call, str, str]]) -> None:
        """Calls, with endpoint and model, whose requests are in a batch file now."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT INTO call (image, round, role, key, endpoint, model, state, attempts, begun) "
                "VALUES (?, ?, ?, ?, ?, ?, 'batched', 1, ?) "
                "ON CONFLICT (image, round, role, key) DO UPDATE SET attempts = attempts + 1, state = 'batched'",
                ((*call.values, endpoint, model, time.time()) for call, endpoint, model in calls),
            )

    def in_batches(self) -> Iterator[tuple[Call, str]]:
        """Calls in batch files whose results were not read yet, and their endpoints."""
        for *values, endpoint in self._database.execute(
            "SELECT image, round, role, key, endpoint FROM call WHERE state = 'batched' ORDER BY number"
        ):
            yield Call(*values), endpoint

    def call_state(self, call: Call) -> tuple[str, str] | None:
        """A call's state and its reply or reason; None: it was never made."""
        found: tuple[str, str] | None = self._database.execute(
            f"SELECT state, COALESCE(text, '') FROM call WHERE {_SAME}", call.values
        ).fetchone()
        return found

    def again(self, call: Call | None = None) -> int:
        """Let a call in a batch file, or all of them, be made anew; returns how many there were."""
        which, values = ("", ()) if call is None else (f" AND {_SAME}", call.values)
        return self._database.execute(f"UPDATE call SET state = 'sent' WHERE state = 'batched'{which}", values).rowcount

    def totals(self, by: str = "''") -> dict[str, Totals]:
        """Of all calls; or by "role", "endpoint", "model"."""
        rows = self._database.execute(
            f"SELECT {by}, COUNT(*), SUM(attempts), SUM(state = 'answered'), SUM(state IN ('sent', 'batched')), "
            f"SUM(input), SUM(output), TOTAL(cost) FROM call GROUP BY {by}"
        )
        return {name: Totals._make(values) for name, *values in rows}


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


@contextmanager
def open_store(path: Path, durable: bool = False, read_only: bool = False) -> Iterator[Store]:
    """Open a collection's file; a new one is made unless it is only read. A writer holds `only_writer` of its folder.

    Raises:
        ArtQuantError: it is not there to be read, is no store of ours or of another edition, or cannot be written.
    """
    if read_only and not path.is_file():
        raise ArtQuantError(f"{path}: not there yet; begin it with: artquant rad run --config ...")
    try:
        mode = "ro" if read_only else "rwc"
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None)
        try:
            if not read_only:
                _set_up(connection, durable)
            _check(connection, path)
            store = Store(connection, path)
            if read_only and store.about("made_with") is None:  # begun this moment, or killed in its first ones
                raise ArtQuantError(f"{path}: no pictures are in it yet; run: artquant rad run --config ...")
            yield store
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        full = "check that it is a collection of artquant rad, its permissions and the free space"
        raise ArtQuantError(f"{path}: {one_line(error)}; {full}") from error


def _set_up(connection: sqlite3.Connection, durable: bool) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    if not connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {EDITION}; COMMIT;")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    [edition] = connection.execute("PRAGMA user_version").fetchone()
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"about", "picture", "draft", "canary", "call"} <= names:
        raise ArtQuantError(f"{path}: is no collection of artquant rad; name another run")
    if edition != EDITION:
        raise ArtQuantError(f"{path}: was made by another version (tables {edition}, here {EDITION}); use that version")

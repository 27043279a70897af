"""Collecting through batch files: requests are written, handed in by hand, and their results read.

The same loops run as in :mod:`artquant.rad.run`; each goes as far as its stored replies reach and leaves its next
request in a file (OpenAI's form: a line of JSON each, with a `custom_id`). Written and read in turn until nothing is
left.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from artquant.data.fields import Fields
from artquant.errors import ArtQuantError, one_line
from artquant.files.json_stream import iterate_records
from artquant.files.progress_bar import progress_bar
from artquant.files.whole_folder import whole_folder
from artquant.rad.chat import CallRefused, Reply, Request
from artquant.rad.collection import Collection
from artquant.rad.money import Budget, BudgetSpent, cost_of, worst_case
from artquant.rad.replies import Strict
from artquant.rad.run import Asking, budget_of, outcome_of
from artquant.rad.store import Call
from artquant.rad.wire import Failed, Form, ServerError, read_reply

_MOST_LINES, _MOST_BYTES = 50_000, 190_000_000  # of a file; OpenAI takes 50,000 and 200 MB
_LASTING = (400, 413, 422)  # statuses that the same request will have again


class _Pending(Exception):
    """The loop waits for a result."""


def custom_id(call: Call) -> str:
    """A call's name in batch files: the same whenever it is written."""
    return "rad-" + hashlib.sha256(json.dumps(call.values).encode()).hexdigest()[:48]


@dataclass
class _Files:
    """Request files in a folder, a series for each endpoint and model, as each file is for one."""

    folder: Path
    opened: ExitStack
    streams: dict[tuple[str, str], BinaryIO] = field(default_factory=dict)
    lines: dict[BinaryIO, int] = field(default_factory=dict)

    def write(self, endpoint: str, model: str, line: bytes) -> None:
        stream = self.streams.get((endpoint, model))
        if stream is None or self.lines[stream] >= _MOST_LINES or stream.tell() + len(line) > _MOST_BYTES:
            stream = self.opened.enter_context((self.folder / f"requests-{len(self.lines) + 1}.jsonl").open("wb"))
            self.streams[endpoint, model], self.lines[stream] = stream, 0
        stream.write(line)
        self.lines[stream] += 1


class _Noting(Asking):
    """Leaves requests in files."""

    def __init__(self, collection: Collection, budget: Budget, files: _Files) -> None:
        super().__init__(collection, budget)
        self._files = files
        self.calls: list[tuple[Call, str, str]] = []

    async def reply(self, call: Call, request: Request) -> Reply:
        """Raises :class:`_Pending`, or what a result said."""
        state, text = self.store.call_state(call) or ("", "")
        if state == "refused":
            raise CallRefused(text)
        name, role = request.role.endpoint, request.role
        endpoint = self.endpoints[name]
        self.budget.admit(worst_case(request, endpoint) * endpoint.batch_price)  # in a file: it may cost that yet
        if state != "batched":
            head = {"custom_id": custom_id(call), "method": "POST", "url": "/v1/chat/completions"}
            body = Form(endpoint.structure).body(request)
            self._files.write(name, role.model, json.dumps(head)[:-1].encode() + b', "body": ' + body + b"}\n")
            self.calls.append((call, name, role.model))
        raise _Pending


@dataclass(frozen=True)
class BatchWritten:
    """What was written."""

    requests: int
    files: int
    finished: int  # pictures that had all their replies
    is_cut: bool  # the budget did not suffice for more


def write_batch(collection: Collection, out: Path, progress: bool = True) -> BatchWritten:
    """Write the next request of every picture that waits for none to `out/requests-N.jsonl`.

    Raises:
        ArtQuantError: the folder is there already, or cannot be written.
    """
    with whole_folder(out) as new, ExitStack() as opened:
        files = _Files(new, opened)
        noting = _Noting(collection, budget_of(collection), files)
        finished, is_cut = asyncio.run(_go(collection, noting, progress))
    # After the files are whole: a process that is killed before leaves requests that are written once more.
    collection.store.batched(noting.calls)
    if not noting.calls:
        out.rmdir()
    return BatchWritten(len(noting.calls), len(files.lines), finished, is_cut)


async def _go(collection: Collection, noting: _Noting, progress: bool) -> tuple[int, bool]:
    finished, waiting = 0, collection.store.states().get("waiting", 0)
    with progress_bar("writing requests", "picture", progress, waiting) as bar:
        for entry in collection.store.waiting():
            try:
                outcome = await outcome_of(collection, entry, noting.about(entry.image))
                collection.store.finish(outcome)
                finished += 1
            except _Pending:
                pass
            except BudgetSpent:
                return finished, True
            bar.update()
    return finished, False


@dataclass
class BatchRead:
    """What results said."""

    answered: int = 0
    refused: int = 0  # for good
    failed: int = 0  # to be written again
    strange: int = 0  # of no request that waits: read before, or of another collection


def read_batch(collection: Collection, results: Path) -> BatchRead:
    """Keep the replies of a result file.

    Raises:
        ArtQuantError: it is no file of results, or of this collection's requests holds none.
    """
    waiting = {custom_id(call): (call, endpoint) for call, endpoint in collection.store.in_batches()}
    found = BatchRead()
    for source, item in iterate_records(results):
        fields = Fields(item, source)
        name = fields.text("custom_id")
        if not fields.item.keys() & {"response", "error"}:
            fields.fault("response", 'has no "response", so it is no result; name the file that the endpoint gave back')
        fields.refuse()
        if name not in waiting:
            found.strange += 1
            continue
        call, endpoint = waiting.pop(name)
        _keep(collection, call, endpoint, fields, found)
    if not (found.answered or found.refused or found.failed):
        raise ArtQuantError(
            f"{results}: no result of a request that waits for one; is it this collection's, and unread?"
        )
    return found


def _keep(collection: Collection, call: Call, name: str, fields: Fields, found: BatchRead) -> None:
    role, endpoint = collection.config.roles.chosen()[call.role], collection.config.endpoints[name]
    answer = fields.object("response")
    body = json.dumps(answer.get("body")).encode()
    status = answer.get("status_code")
    if status in _LASTING:
        collection.store.refused(call, one_line(ServerError.of(body).message or f"status {status}"))
        found.refused += 1
        return
    try:
        if status != 200:
            raise Failed(f"status {status}")
        reply = read_reply(body, Request(role, "", None, Strict), str(answer.get("request_id") or ""))
    except Failed as failure:
        if failure.kind == "unusable":  # cut off, filtered: paid, and no better for being asked again
            cost = cost_of(failure.usage, endpoint) * endpoint.batch_price
            collection.store.refused(call, failure.reason, failure.usage, cost)
            found.refused += 1
        else:
            collection.store.again(call)
            found.failed += 1
    else:
        collection.store.answered(call, reply, cost_of(reply.usage, endpoint) * endpoint.batch_price)
        found.answered += 1

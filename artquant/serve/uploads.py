"""What clients send: bodies in bounded size and time, the pictures in them, and their pixels."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from artquant.errors import ArtQuantError, visible
from artquant.files.opened import read_whole
from artquant.serve.refusals import Refused, bad, busy
from artquant.serve.settings import Limits

_PART = 1 << 20  # bytes given to the reader of forms at a time
_MOST_VALUES = 100_000  # of a JSON body: each takes far more memory than it has bytes, and time of the whole server
_MOST_FILES = 1000  # that are counted before a form is given up
_LONGEST_NAME = 200
_GONE, _CLIENT_GONE = "the sender has gone", 499  # as proxies count it; nobody is there to read it
_Body = TypeVar("_Body", bound=BaseModel)


@dataclass(frozen=True)
class Upload:
    """A picture that was sent: what it is called in the answer, and its file's bytes or why there are none."""

    name: str
    data: bytes | Refused


class Bodies:
    """Reads bodies, no more of them at a time than memory is meant for."""

    def __init__(self, limits: Limits):
        self._limits, self._held = limits, 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """A request's body, which counts until the block ends; that is broken off once nobody waits for the answer.

        Raises:
            Refused: it is too large, comes too slowly, its sender has gone, or too much is held already.
        """
        limits, taken = self._limits, bytearray()
        _check_length(request, limits.body)
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(415, "bad_request", "Content-Encoding is not taken; send the body as it is")
        until, chunks = time.monotonic() + limits.sending, aiter(request.stream())
        try:
            while (chunk := await _next(chunks, min(limits.silence, until - time.monotonic()))) is not None:
                self._held += len(chunk)
                taken += chunk
                if len(taken) > limits.body:
                    raise _too_large(limits.body)
                if self._held > limits.held:
                    raise busy("too much is being sent at once; send the request again")
            with anyio.CancelScope() as answering:
                watching = asyncio.create_task(_when_gone(request, answering.cancel))
                try:
                    yield taken
                finally:
                    watching.cancel()
            if answering.cancelled_caught:
                raise bad(_GONE, _CLIENT_GONE)
        finally:
            self._held -= len(taken)


async def _when_gone(request: Request, then: Callable[[], None]) -> None:
    """Call something once the sender of a whole body closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        continue
    then()


def _check_length(request: Request, most: int) -> None:
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said[:20]) > most:
        raise _too_large(most)


def _too_large(most: int) -> Refused:
    return Refused(413, "too_large", f"the request has more than {most >> 20} MiB; send fewer or smaller pictures")


async def _next(chunks: AsyncIterator[bytes], seconds: float) -> bytes | None:
    """The next piece; None: that was all. Raises Refused: it does not come, or its sender is gone."""
    try:
        return await asyncio.wait_for(anext(chunks, None), max(0.0, seconds))
    except asyncio.TimeoutError:
        raise Refused(408, "bad_request", "the request came too slowly; send it again") from None
    except ClientDisconnect:
        raise bad(_GONE, _CLIENT_GONE) from None


def media_type(request: Request) -> str:
    """Of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _not_taken(request: Request, taken: str) -> Refused:
    said = visible(media_type(request))[:60] or "nothing"
    return Refused(415, "bad_request", f"Content-Type says {said}; send {taken}")


async def read_json(request: Request, body: bytearray, kind: type[_Body]) -> _Body:
    """A JSON body.

    Raises:
        Refused: it is of another type, or not of this form.
    """
    if media_type(request) != "application/json":
        raise _not_taken(request, "application/json")
    if await asyncio.to_thread(body.count, b",") > _MOST_VALUES:
        raise Refused(413, "too_large", f"the JSON has more than {_MOST_VALUES} values; send fewer")
    try:
        return await asyncio.to_thread(kind.model_validate_json, body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(one) for one in first["loc"])
        raise bad(
            f"the JSON is not as it should be{f' at {visible(place)[:80]}' if place else ''}: {first['msg']}"
        ) from None


async def read_form(request: Request, body: bytearray, field: str, limits: Limits) -> list[Upload]:
    """The files of a multipart form's field, in order.

    Raises:
        Refused: it is no such form, has too many files, or none.
    """
    if media_type(request) != "multipart/form-data":
        raise _not_taken(request, "multipart/form-data or application/json")
    parser = _WholeForm(request.headers, _parts(body), max_files=_MOST_FILES, max_fields=100)
    parser.spool_max_size = limits.body + 1  # uploads are not written to a disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise bad("the form is broken, has no boundary, or too many parts; send it again") from error
    if not parser.ended:
        raise bad("the form is cut off: its last boundary is missing; send it again")
    files = [one for one in form.getlist(field) if isinstance(one, UploadFile)]
    uploads = [Upload(_name(one.filename or str(number)), await one.read()) for number, one in enumerate(files, 1)]
    await form.close()
    _check_count(uploads, limits, f"field {field!r}")
    return uploads


class _WholeForm(MultiPartParser):
    """Says whether the form's end was seen: the files of one that was cut off are not all that was meant."""

    ended = False

    def on_end(self) -> None:
        self.ended = True


async def _parts(body: bytearray) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(body), _PART):
        yield bytes(body[start : start + _PART])


def _name(said: str) -> str:
    return visible(said)[:_LONGEST_NAME]


def _check_count(pictures: Sequence[Any], limits: Limits, where: str) -> None:
    if not pictures:
        raise bad(f"{where} holds no picture; send 1 to {limits.images}")
    if len(pictures) > limits.images:
        said = f"{where} holds {len(pictures)} pictures; send up to {limits.images} at a time"
        raise Refused(413, "too_large", said)


def from_base64(texts: Sequence[str], limits: Limits, names: Sequence[str] | None = None) -> list[Upload]:
    """Pictures in base64, or as data URLs; their names, where none are given, are their numbers from 1.

    Raises:
        Refused: there are none, too many, or not as many names.
    """
    _check_count(texts, limits, "the request")
    given = range(1, len(texts) + 1) if names is None else names
    _check_names(texts, given)
    return [Upload(_name(str(name)), _decoded(text)) for name, text in zip(given, texts, strict=True)]


def _decoded(text: str) -> bytes | Refused:
    head, comma, _ = text[:100].partition(",")
    if comma and head.startswith("data:"):
        text = text[len(head) + 1 :]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return Refused(422, "unreadable", "it is no base64; send the picture file's bytes in base64")


def from_bytes(values: object, limits: Limits) -> list[Upload]:
    """Pictures as a list of bytes. Raises Refused: it is no such list, or of none or too many."""
    if not isinstance(values, list) or not all(isinstance(one, bytes) for one in values):
        raise bad("images is no list of bytes; send the picture files' bytes")
    _check_count(values, limits, "images")
    return [Upload(str(number), one) for number, one in enumerate(values, 1)]


def from_paths(
    paths: Sequence[str], root: Path | None, limits: Limits, names: Sequence[str] | None = None
) -> list[Upload]:
    """Picture files under a folder, by their paths in it, which are their names where no others are given.

    Together they may be as large as a request's body.

    Raises:
        Refused: there is no such folder, there are no paths or too many, or not as many names.
    """
    if root is None:
        raise bad("this server reads no paths; send the pictures, or start it with --root")
    _check_count(paths, limits, "paths")
    given, left, uploads = paths if names is None else names, limits.body, list[Upload]()
    _check_names(paths, given)
    for name, path in zip(given, paths, strict=True):
        uploads.append(Upload(_name(name), _file(path, root, left)))
        left -= len(uploads[-1].data) if isinstance(uploads[-1].data, bytes) else 0
    return uploads


def _check_names(pictures: Sequence[str], names: Sequence[object]) -> None:
    if len(names) != len(pictures):
        raise bad(f"there are {len(pictures)} pictures and {len(names)} ids; send one id for each")


def _file(path: str, root: Path, most: int) -> bytes | Refused:
    """What lies outside is, to a client, not there."""
    missing = Refused(
        422,
        "unreadable",
        "no such picture under the server's folder, or too large with the others; name its path in it",
    )
    if "\0" in path or os.path.isabs(path):
        return missing
    base = os.path.realpath(root)
    real = os.path.realpath(os.path.join(base, path))  # where links lead
    if os.path.commonpath([base, real]) != base:
        return missing
    try:
        return read_whole(real, most)
    except (ArtQuantError, ValueError):
        return missing

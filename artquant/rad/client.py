"""A thin client of OpenAI-compatible chat endpoints."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from io import BytesIO
from types import TracebackType
from typing import NoReturn
from urllib.parse import quote

import aiohttp
from PIL import Image

from artquant.errors import ArtQuantError, one_line
from artquant.rad.admission import Admission, Clock
from artquant.rad.chat import CallRefused, EndpointRefused, Picture, Reply, Request, Sending, Usage
from artquant.rad.money import most_tokens
from artquant.rad.settings import EndpointSettings
from artquant.rad.wire import Failed, Form, Misfit, ServerError, read_reply, retry_after

_LARGEST_ANSWER, _LARGEST_ERROR = 4 << 20, 1 << 16  # bytes
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds between attempts, at most, where the server asks for none
_CONNECT = 10.0  # seconds
_SHOW_FORM = 0.25  # seconds that others wait for the first call: servers refuse a form at once
_UNUSABLE = 2  # paid replies without a text, of a call
_REFUSALS = 10  # 429s of a call, for each attempt: they say nothing about the call
_PATIENCE = 900.0  # seconds without an answer to any call before 429 ends the run
_GIVEN_UP = 3  # calls in a row without an answer to any
_TRIALS = 2  # attempts to learn whether a model takes pictures
_SHORT_KEY = 16  # characters: shorter ones ("none") may be words of a text
_REDACTED = "[key]"
_RETRIED = frozenset({408, 409, 425})
_ENDPOINT = {
    401: "the key is missing or wrong; name the environment variable that holds it as `key`",
    402: "the account has no credit",
    403: "the key may not use this model or address",
    404: "no such address or model; check `url` (it ends before /chat/completions) and `model`",
    405: "the address takes no chats; check `url` (it ends before /chat/completions)",
    410: "the model or address is gone; check `url` and `model`",
}


@dataclass
class _Model:
    """What is known of one model of the endpoint."""

    form: Form
    proven: bool = False  # the form was taken
    sees: bool = False  # a picture was taken
    shown: asyncio.Event | None = None  # the first call has been answered, in some way
    fitting: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while another form is tried


@dataclass
class _Call:
    """One call: what it has used up."""

    request: Request
    sending: Sending
    tokens: int
    answers_before: int = 0  # of the endpoint, when the first attempt failed
    failures: int = 0
    refusals: int = 0
    unusable: int = 0
    unanswered: bool = False  # given up, as others were, while no call was answered
    trial: bool = False  # of the model: says nothing about the calls to come
    paid: Usage = Usage(0, 0)  # noqa: RUF009 - frozen


class OpenAIChat:
    """Calls to one endpoint; the key stays in here and goes into one header."""

    def __init__(
        self,
        name: str,
        settings: EndpointSettings,
        environment: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
    ) -> None:
        """`name`: the endpoint's in the settings.

        Raises:
            ArtQuantError: its key is not in the environment.
        """
        self._said = f"endpoint {name} ({settings.url})"
        self._settings, self._clock = settings, clock or Clock()
        self._key = _key(settings, environment, self._said)
        self._admission = Admission(settings, self._clock)
        self._models: dict[str, _Model] = {}
        self._session: aiohttp.ClientSession | None = None
        self._answers, self._given_up, self._answered_at = 0, 0, self._clock.now()

    async def __aenter__(self) -> OpenAIChat:
        times = aiohttp.ClientTimeout(total=self._settings.timeout, sock_connect=_CONNECT)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=times, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def complete(self, request: Request, sending: Sending) -> Reply:
        """As of :class:`artquant.rad.chat.Chat`."""
        model = self._models.setdefault(request.role.model, _Model(Form(self._settings.structure)))
        most = most_tokens(request)
        call = _Call(request, sending, most.input + most.output)
        first = model.shown is None
        if model.shown is None:
            model.shown = asyncio.Event()
        elif not model.proven:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(model.shown.wait(), _SHOW_FORM)
        if model.fitting.locked():
            async with model.fitting:
                pass
        try:
            reply = await self._fitted(call, model)
        except (CallRefused, EndpointRefused) as error:
            if isinstance(error, CallRefused) or call.unanswered:
                await self._blame_the_picture(call, model)
            raise
        finally:
            if first:
                model.shown.set()
        return replace(reply, usage=call.paid + reply.usage)

    async def _fitted(self, call: _Call, model: _Model) -> Reply:
        """The reply, in whatever form the model takes."""
        form = model.form
        try:
            return await self._answered(call, model, form)
        except Misfit as misfit:
            found = misfit
        async with model.fitting:
            if form == model.form:
                return await self._another_form(call, model, found)
        try:
            return await self._answered(call, model, model.form)
        except Misfit as misfit:
            raise self._refused(call, misfit) from None

    async def _another_form(self, call: _Call, model: _Model, misfit: Misfit) -> Reply:
        """Ask in other forms, each once; the first that is taken is kept."""
        first, tried = misfit, {model.form}
        form, guesses = model.form, [] if model.proven else model.form.others()
        while True:
            named = None if misfit.parameter is None else form.without(misfit.parameter)
            guess = next((one for one in guesses if one not in tried), None) if misfit.parameter is None else None
            form_next = named or guess
            if form_next is None or form_next in tried:
                break
            form = form_next
            tried.add(form)
            try:
                return await self._answered(call, model, form)
            except Misfit as again:
                misfit = again
        raise self._refused(call, first)

    async def _blame_the_picture(self, call: _Call, model: _Model) -> None:
        """Raises EndpointRefused where the model takes text but no picture, not even a plain one."""
        if call.request.picture is None:
            return
        plain = replace(call.request, text="Answer in the form that is asked for.", picture=_grey(), earlier=())
        async with model.fitting:
            if model.sees or await self._takes(call, model, plain):
                return
            if not await self._takes(call, model, replace(plain, picture=None)):
                return
        name = one_line(call.request.role.model, 80)
        raise EndpointRefused(
            f"{self._said}: {name!r} answers to text but takes no picture; name a model that sees as `model`"
        )

    async def _takes(self, call: _Call, model: _Model, request: Request) -> bool:
        failures = max(0, self._settings.attempts - _TRIALS)
        trial = replace(call, request=request, failures=failures, refusals=0, unusable=0, trial=True, paid=Usage(0, 0))
        try:
            paid = (await self._answered(trial, model, model.form)).usage
        except Misfit:
            return False
        except CallRefused as refused:
            call.paid += refused.usage
            return False
        call.paid += trial.paid + paid
        return True

    async def _answered(self, call: _Call, model: _Model, form: Form) -> Reply:
        """Send in this form until there is a reply."""
        while True:
            try:
                reply = await self._attempt(call, form)
            except Failed as failure:
                call.paid += failure.usage
                await self._clock.sleep(self._wait(call, failure))
            else:
                model.form, model.proven = form, True
                model.sees = model.sees or call.request.picture is not None
                return reply

    def _wait(self, call: _Call, failure: Failed) -> float:
        """Seconds until the call is sent again; raises where it is not."""
        if not call.failures + call.refusals:
            call.answers_before = self._answers
        call.refusals += failure.kind == "refused"
        call.unusable += failure.kind == "unusable"
        call.failures += failure.kind != "refused"
        attempts = self._settings.attempts
        over = call.failures >= attempts or call.unusable >= _UNUSABLE or call.refusals >= _REFUSALS * attempts
        silent = self._clock.now() - self._answered_at > _PATIENCE and self._answers == call.answers_before
        if over or (silent and failure.kind == "refused"):
            self._give_up(call, failure)
        retries = call.refusals if failure.kind == "refused" else call.failures
        drawn = random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(retries, 20)))
        return drawn if failure.after is None else failure.after + min(drawn, _FIRST_WAIT)

    def _give_up(self, call: _Call, failure: Failed) -> NoReturn:
        """After the last attempt: was it this call, or does the endpoint answer none?"""
        said = f"{self._said}: {self._line(failure.reason)}"
        if self._answers == call.answers_before and failure.kind != "unusable" and not call.trial:
            self._given_up += 1
            if failure.kind == "unreached":
                raise EndpointRefused(f"{said}; check `url` and that the server runs, then run again")
            call.unanswered = failure.kind != "refused" and self._given_up >= _GIVEN_UP
            if failure.kind == "refused" or call.unanswered:
                said = f"{said}; no call is answered; look at the server and `model`, or run again later"
                raise EndpointRefused(said)
        raise CallRefused(f"{said} (attempts: {call.failures + call.refusals})", call.paid)

    def _refused(self, call: _Call, misfit: Misfit) -> ArtQuantError:
        said = f"{self._said}: {misfit.reason}"
        self._given_up += not self._answers
        call.unanswered = self._given_up >= _GIVEN_UP
        if call.unanswered:
            return EndpointRefused(f"{said}; no call has been taken so far; check `url` and `model`")
        return CallRefused(said, call.paid)

    async def _attempt(self, call: _Call, form: Form) -> Reply:
        """Send once.

        Raises:
            Failed: it may be sent again.
            Misfit, CallRefused, EndpointRefused: not like this, not this, none.
        """
        ticket = await self._admission.enter(call.tokens)
        try:
            call.sending()
            reply = self._clean(await self._exchange(call, form))
        except Failed as failure:
            if failure.kind == "refused":
                self._admission.refused(ticket, failure.after)
            elif failure.kind == "overloaded":
                self._admission.overloaded(ticket)
            elif failure.kind == "unusable":
                self._admission.accepted(ticket, failure.usage.input + failure.usage.output)
            raise
        else:
            self._admission.accepted(ticket, reply.usage.input + reply.usage.output)
            if not call.trial:
                self._answers, self._given_up, self._answered_at = self._answers + 1, 0, self._clock.now()
            return reply
        finally:
            self._admission.leave()

    async def _exchange(self, call: _Call, form: Form) -> Reply:
        assert self._session is not None, "used outside of `async with`"
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        url = f"{self._settings.url.rstrip('/')}/chat/completions"
        body = BytesIO(form.body(call.request))
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                good = 200 <= response.status < 300
                answer = await _bounded(response, _LARGEST_ANSWER if good else _LARGEST_ERROR)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, ValueError) as error:
            raise Failed(f"cannot be reached ({self._line(error)})", "unreached") from None
        except asyncio.TimeoutError:
            raise Failed(f"no answer within {self._settings.timeout:g} seconds", "overloaded") from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Failed(f"the connection broke ({self._line(error)})") from None
        if not good:
            self._judge(response, answer, call)
        if len(answer) > _LARGEST_ANSWER:
            raise CallRefused(f"{self._said}: an answer above {_LARGEST_ANSWER >> 20} MB", call.paid)
        if len(self._key) >= _SHORT_KEY:
            answer = self._redacted(answer)
        return read_reply(answer, call.request, self._line(response.headers.get("x-request-id", "")))

    def _judge(self, response: aiohttp.ClientResponse, body: bytes, call: _Call) -> NoReturn:
        """Raise what an answer of another status than success means."""
        status, error, after = response.status, ServerError.of(self._redacted(body)), retry_after(response.headers)
        said = self._line(f"{status} {error.message}".strip())
        if 300 <= status < 400:
            target = self._line(response.headers.get("location", ""), 100)
            raise EndpointRefused(f"{self._said}: redirects to {target!r}; name that address itself as `url`")
        if status == 429 and error.code != "insufficient_quota":
            raise Failed(said, "refused", after)
        if status in _RETRIED or status >= 500:
            raise Failed(said, "overloaded" if status == 503 else "broken", after)
        if status in (400, 422):
            raise Misfit(said, error.parameter)
        hint = "the account has no credit" if status == 429 else _ENDPOINT.get(status)
        if hint is not None:
            raise EndpointRefused(f"{self._said}: {said}; {hint}")
        raise CallRefused(f"{self._said}: {said}", call.paid)

    def _line(self, what: object, most: int = 200) -> str:
        return one_line(self._redacted(str(what).encode("utf-8", "replace")).decode("utf-8", "replace"), most)

    def _redacted(self, text: bytes) -> bytes:
        """Without the key, as it is and as addresses hold it."""
        for form in {self._key, quote(self._key, safe="")} - {""}:
            text = text.replace(form.encode(), _REDACTED.encode())
        return text

    def _clean(self, reply: Reply) -> Reply:
        if len(self._key) < _SHORT_KEY or self._key not in reply.text:
            return reply
        return replace(reply, text=reply.text.replace(self._key, _REDACTED))


def _key(settings: EndpointSettings, environment: Mapping[str, str], said: str) -> str:
    if settings.key is None:
        return ""
    key = environment.get(settings.key, "").strip()
    if not key:
        raise ArtQuantError(f"{said}: no key in the environment; set {settings.key} (export {settings.key}=...)")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ArtQuantError(f"{said}: what {settings.key} holds is no key: blanks or characters beyond ASCII")
    return key


async def _bounded(response: aiohttp.ClientResponse, most: int) -> bytes:
    """A body, or so much of it and a byte more."""
    found = bytearray()
    async for block in response.content.iter_any():
        found += block[: most + 1 - len(found)]
        if len(found) > most:
            response.close()
            break
    return bytes(found)


def _grey() -> Picture:
    """A picture that any model which sees takes."""
    stream = BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(stream, "PNG")
    return Picture(stream.getvalue(), "image/png", sha256(stream.getvalue()).hexdigest())

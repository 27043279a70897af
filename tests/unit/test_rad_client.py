"""Calls to chat endpoints: what goes over the wire, what is sent again, what ends a call or the run."""

import asyncio
import base64
import json
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

pytest.importorskip("aiohttp")

from aiohttp import web

from artquant.errors import ArtQuantError
from artquant.rad.admission import Clock
from artquant.rad.chat import CallRefused, EndpointRefused, Picture, Request, Usage
from artquant.rad.client import OpenAIChat
from artquant.rad.money import BudgetSpent
from artquant.rad.replies import ScoreRead
from artquant.rad.settings import EndpointSettings, RoleSettings
from artquant.rad.structured import schema_sent
from artquant.rad.wire import retry_after

FAST = Clock(lambda: time.monotonic() * 500, lambda seconds: asyncio.sleep(seconds / 500))
KEY = "sk-1234567890abcdefghij"
JPEG = Picture(b"\xff\xd8some picture", "image/jpeg", "0" * 64)
ASKED = Request(RoleSettings("here", "painter"), "Read the score.", None, ScoreRead)
SHOWN = replace(ASKED, picture=JPEG)
USAGE = {"prompt_tokens": 20, "completion_tokens": 5}


def completion(text='{"score": 5}', ended="stop", **changed):
    choice = {"index": 0, "finish_reason": ended, "message": {"role": "assistant", "content": text}}
    return {"id": "chat-1", "choices": [choice], "usage": USAGE} | changed


def error(status, message="no", headers=None, **fields):
    return web.json_response({"error": {"message": message} | fields}, status=status, headers=headers)


class Endpoint:
    """What a server got; `answer(body, number)` gives a response, a body, or bytes for the bare connection."""

    def __init__(self, answer):
        self.answer, self.bodies, self.headers, self.sent = answer, [], [], 0

    async def handle(self, request):
        self.bodies.append(json.loads(await request.read()))
        self.headers.append(request.headers)
        given = self.answer(self.bodies[-1], len(self.bodies))
        if isinstance(given, bytes):
            request.transport.write(given)
            request.transport.close()
            return web.Response()
        return web.json_response(given) if isinstance(given, dict) else given

    def count(self):
        self.sent += 1

    @asynccontextmanager
    async def chat(self, environment=None, **settings):
        app = web.Application(client_max_size=1 << 26)
        app.add_routes([web.post("/v1/chat/completions", self.handle)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        async with OpenAIChat("here", EndpointSettings(url, **settings), environment or {}, FAST) as chat:
            yield chat
        await runner.cleanup()


def ask(answer, *requests, environment=None, at_once=False, **settings):
    """What came of requests, an error for each that has one, and the server."""
    endpoint = Endpoint(answer)

    async def run():
        async with endpoint.chat(environment, **settings) as chat:
            calls = [chat.complete(request, endpoint.count) for request in requests]
            if at_once:
                return await asyncio.gather(*calls, return_exceptions=True)
            return [(await asyncio.gather(call, return_exceptions=True))[0] for call in calls]

    return asyncio.run(run()), endpoint


def one_line_of(found, kind):
    assert type(found) is kind
    assert "\n" not in str(found)
    return str(found)


def test_the_wire():
    request = replace(SHOWN, earlier=(("5?", "again"),))
    [reply], endpoint = ask(lambda *_: completion(), request, environment={"MY_KEY": KEY}, key="MY_KEY")
    assert (reply.text, reply.usage, reply.request_id) == ('{"score": 5}', Usage(20, 5), "chat-1")
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"
    [body] = endpoint.bodies
    assert {"model": "painter", "max_tokens": 1024, "temperature": 0.0}.items() <= body.items()
    asked, replied, said = body["messages"]
    url = asked["content"][1]["image_url"]["url"]
    assert asked["content"][0] == {"type": "text", "text": "Read the score."}
    assert base64.b64decode(url.removeprefix("data:image/jpeg;base64,")) == JPEG.data
    assert [replied, said] == [{"role": "assistant", "content": "5?"}, {"role": "user", "content": "again"}]
    assert body["response_format"]["json_schema"] == {
        "name": "ScoreRead", "schema": schema_sent(ScoreRead), "strict": True,
    }  # fmt: skip


CUT_OFF = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
AGAIN = {
    **{str(status): error(status) for status in (408, 409, 425, 429, 500, 502, 503, 529)},
    "429 seconds": error(429, headers={"Retry-After": "2"}),
    "429 milliseconds": error(429, headers={"Retry-After-Ms": "5"}),
    "429 date": error(429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "503 nonsense": error(503, headers={"Retry-After": "soon"}),
    "dropped": b"",
    "cut off": CUT_OFF,
    "no HTTP": b"hello\r\n\r\n",
    "broken JSON": web.Response(body=b'{"choices": [', content_type="application/json"),
    "deep JSON": web.Response(body=b"[" * 100_000, content_type="application/json"),
    "a page": web.Response(text="<html>", content_type="text/html"),
    "a list": web.Response(text="[1]", content_type="application/json"),
    "an error that is called fine": {"error": {"message": "no"}},
}
PAID = {
    "no choice": completion(choices=[]),
    "null": completion(None),
    "odd parts": completion(choices=[{"message": {"content": [7, {"text": None}]}}]),
    "too long": completion(ended="length"),
    "filtered": completion("", ended="content_filter"),
    "refused": completion(choices=[{"message": {"content": None, "refusal": "I will not"}}]),
}


def fresh(answer):
    """A response cannot be sent twice."""
    if not isinstance(answer, web.Response):
        return answer
    return web.Response(body=answer.body, status=answer.status, headers=answer.headers)


@pytest.mark.parametrize("kind", [*AGAIN, *PAID])
def test_sent_again(kind):
    first = (AGAIN | PAID)[kind]
    [reply], endpoint = ask(lambda body, number: fresh(first) if number == 1 else completion(), ASKED)
    assert reply.text == '{"score": 5}'
    assert endpoint.sent == len(endpoint.bodies) == 2
    assert reply.usage == (Usage(40, 10) if kind in PAID else Usage(20, 5))


def test_not_sent_for_ever():
    [found], endpoint = ask(lambda *_: error(500, "out\nof\x1b memory"), ASKED, attempts=3)
    assert "500 out of" in one_line_of(found, CallRefused)
    assert endpoint.sent == 3
    [found], endpoint = ask(lambda *_: completion(ended="length"), ASKED)
    assert "max_tokens 1024" in one_line_of(found, CallRefused)
    assert (endpoint.sent, found.usage) == (2, Usage(40, 10))
    found, _ = ask(lambda *_: error(502), ASKED, ASKED, ASKED, attempts=1)
    assert [type(one) for one in found] == [CallRefused, CallRefused, EndpointRefused]  # the server is gone


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (401, EndpointRefused, "key"), (403, EndpointRefused, "key"), (404, EndpointRefused, "`model`"),
        (302, EndpointRefused, "redirects to 'http://elsewhere/'"), (413, CallRefused, "413"),
        (400, CallRefused, "400"), (422, CallRefused, "422"), (451, CallRefused, "451"),
    ],
)  # fmt: skip
def test_refused_at_once(status, kind, said):
    def answer(body, number):
        return completion() if number == 1 else error(status, "no", {"Location": "http://elsewhere/"})

    [reply, found], endpoint = ask(answer, ASKED, ASKED)
    assert reply.text
    assert said in one_line_of(found, kind)
    assert endpoint.sent == 2


def test_no_credit_ends_the_run():
    [found], endpoint = ask(lambda *_: error(429, code="insufficient_quota"), ASKED)
    assert "credit" in one_line_of(found, EndpointRefused)
    assert endpoint.sent == 1


def test_keys_stay_inside():
    def answer(body, number):
        return error(401, f"wrong key {KEY[:4]}\\u002d {KEY}") if number == 1 else completion(f"{KEY} it is")

    [found, reply], _ = ask(answer, ASKED, ASKED, environment={"MY_KEY": f" {KEY}\n"}, key="MY_KEY")
    assert KEY not in one_line_of(found, EndpointRefused)
    assert reply.text == "[key] it is"
    for environment, said in (({}, "export MY_KEY"), ({"MY_KEY": " "}, "export"), ({"MY_KEY": "a\nb"}, "is no key")):
        with pytest.raises(ArtQuantError, match=said):
            OpenAIChat("here", EndpointSettings("http://127.0.0.1:1/v1", key="MY_KEY"), environment)


def test_where_nothing_listens():
    async def run(url):
        async with OpenAIChat("here", EndpointSettings(url, attempts=2), {}, FAST) as chat:
            await chat.complete(ASKED, lambda: None)

    for url in ("http://127.0.0.1:9/v1", "http://no.such.host.invalid/v1", "http://127.0.0.1:99999/v1"):
        with pytest.raises(EndpointRefused, match="check `url`"):
            asyncio.run(run(url))


def test_a_server_that_goes_away():
    """Calls in flight are not called refused: their pictures are to wait for the next run."""
    body = json.dumps(completion()).encode()
    good = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async def run():
        async def handle(reader, writer):
            server.close()
            writer.write(good)
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with OpenAIChat("here", EndpointSettings(url, attempts=3), {}, FAST) as chat:
            calls = [chat.complete(ASKED, lambda: None) for _ in range(2)]
            return await asyncio.gather(*calls, return_exceptions=True)

    found = asyncio.run(run())
    assert sorted(type(one).__name__ for one in found) == ["EndpointRefused", "Reply"]


def test_answers_are_bounded():
    large = web.Response(body=b" " * (5 << 20), content_type="application/json")
    [found], endpoint = ask(lambda *_: large, ASKED)
    assert "4 MB" in one_line_of(found, CallRefused)
    assert endpoint.sent == 1


def structure_of(body):
    return body.get("response_format", {"type": "text"})["type"]


def test_a_server_that_knows_no_schemas_is_asked_in_words(monkeypatch):
    """Whether it names the parameter, as OpenAI and FastAPI do, or not; others do not stumble over it too."""
    monkeypatch.setattr("artquant.rad.client._SHOW_FORM", 60)
    detail = {"detail": [{"loc": ["body", "response_format"], "msg": "extra"}]}
    for refusal in (
        lambda: error(400), lambda: error(400, param="response_format"), lambda: web.json_response(detail, status=422),
    ):  # fmt: skip
        found, endpoint = ask(
            lambda body, _, refusal=refusal: completion() if structure_of(body) == "text" else refusal(),
            *[ASKED] * 30, at_once=True,
        )  # fmt: skip
        assert {reply.text for reply in found} == {'{"score": 5}'}
        assert [structure_of(body) for body in endpoint.bodies[:3]] == ["json_schema", "json_object", "text"]
        assert endpoint.sent == 32
        assert '"title": "ScoreRead"' in endpoint.bodies[-1]["messages"][0]["content"]


@pytest.mark.parametrize("named", [True, False])
def test_reasoning_models_take_other_parameters(named):
    def answer(body, number):
        for parameter in ("max_tokens", "temperature"):
            if parameter in body:
                return error(400, param=parameter if named else None)
        return completion(choices=[{"message": {"content": '{"score": 5}', "reasoning_content": "hm"}}])

    found, endpoint = ask(answer, ASKED, ASKED)
    assert [reply.text for reply in found] == ['{"score": 5}'] * 2
    assert endpoint.bodies[-1]["max_completion_tokens"] == 1024
    assert structure_of(endpoint.bodies[-1]) == "json_schema"


def shows(body):
    return not isinstance(body["messages"][0]["content"], str)


@pytest.mark.parametrize("status", [400, 500])
def test_a_model_without_vision(status):
    found, _ = ask(lambda body, _: error(status) if shows(body) else completion(), ASKED, SHOWN, attempts=2)
    assert "takes no picture" in one_line_of(found[1], EndpointRefused)


@pytest.mark.parametrize("status", [400, 500])  # 500: llama.cpp's server without a projector
def test_a_model_without_vision_that_all_ask_at_once(monkeypatch, status):
    monkeypatch.setattr("artquant.rad.client._SHOW_FORM", 0)
    answer = {True: error, False: lambda _: completion()}
    found, _ = ask(lambda body, _: answer[shows(body)](status), *[SHOWN] * 4, at_once=True, attempts=2)
    assert all("takes no picture" in one_line_of(one, EndpointRefused) for one in found)


def test_a_picture_that_a_seeing_model_does_not_take():
    bad = base64.b64encode(JPEG.data).decode()
    found, endpoint = ask(lambda body, _: error(400) if bad in str(body) else completion(), SHOWN, ASKED, SHOWN)
    assert [type(one) for one in (found[0], found[2])] == [CallRefused] * 2
    sent = endpoint.sent
    assert (sent, found[1].text) == (len(endpoint.bodies), '{"score": 5}')


def test_a_context_that_is_too_small_for_every_prompt_ends_the_run():
    long = replace(SHOWN, text="Read the score. " * 9)
    said = "exceeds the available context size"
    found, _ = ask(lambda body, _: error(400, said) if "score. Read" in str(body) else completion(), *[long] * 3)
    assert [type(one) for one in found] == [CallRefused, CallRefused, EndpointRefused]
    assert said in str(found[2])


def test_a_call_that_is_not_to_be_sent():
    def stop():
        raise BudgetSpent("spent")

    async def run():
        endpoint = Endpoint(lambda *_: completion())
        async with endpoint.chat(in_flight=1) as chat:
            with pytest.raises(BudgetSpent):
                await chat.complete(ASKED, stop)
            await chat.complete(ASKED, endpoint.count)  # its place was given back
            assert len(endpoint.bodies) == 1

    asyncio.run(run())


def test_no_more_than_the_settings_allow():
    inside, most = 0, 0

    async def run():
        endpoint = Endpoint(None)

        async def handle(request):
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1
            return web.json_response(completion())

        endpoint.handle = handle
        async with endpoint.chat(in_flight=3, requests_per_minute=600) as chat:
            begun = FAST.now()
            await asyncio.gather(*(chat.complete(ASKED, endpoint.count) for _ in range(20)))
            return FAST.now() - begun

    assert asyncio.run(run()) >= 1.9  # seconds of the fast clock: 19 times a tenth
    assert most <= 3


def test_how_long_a_server_asks_to_wait():
    date = {"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert retry_after(date) == 30
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after({"retry-after": "1e9"}) == 300
    assert [retry_after({"retry-after": odd}) for odd in ("-5", "nan", "soon", "")] == [0, None, None, None]

"""The chat server for the demo's pictures: its writer and judges, how it misbehaves, and what it refuses."""

import asyncio
import base64
import io
import json
import signal
import socket
import subprocess
import sys

import aiohttp
import pytest
from PIL import Image

from artquant.cli import main
from artquant.demo.dataset import write_demo_data
from artquant.rad.demo_server.answers import Answers
from artquant.rad.demo_server.faults import FAULTS, Faults
from artquant.rad.demo_server.log import RequestLog
from artquant.rad.demo_server.pictures import DemoPictures
from artquant.rad.demo_server.server import Behaviour, DemoServer, serving
from artquant.rad.replies import LeaksFound, ScoreRead, UnseenClaims, descriptions_of, marks_of
from artquant.texts.leaks import find_leaks

PARTS = ("perception", "cognition", "emotion")
WRITE, MARK = descriptions_of(PARTS), marks_of(PARTS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A few pictures, and what people said of them, the least liked first."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    write_demo_data(folder, 16, seed=5, workers=1, progress=False)
    return folder


@pytest.fixture(scope="module")
def rated(data):
    """Bytes of the pictures and their facts, the least liked first."""
    listed = json.loads((data / "meta" / "annotations.json").read_text())
    listed.sort(key=lambda picture: picture["gt_score"])
    told = [{"scale": [1, 10], "score": one["gt_score"], "attributes": one["attributes"]} for one in listed]
    return [((data / "images" / one["image"]).read_bytes(), facts) for one, facts in zip(listed, told, strict=True)]


def question(schema, *given, picture=None, structure="json_schema", model="demo"):
    """A request: JSON objects that each stand on a line of the prompt, and a picture."""
    lines = ["Look at the painting {closely}.", *(json.dumps(one) for one in given)]
    form = {"type": structure}
    if structure == "json_schema":
        form["json_schema"] = {"name": schema.__name__, "schema": schema.model_json_schema(), "strict": True}
    else:
        lines.append(json.dumps(schema.model_json_schema()))
    content = [{"type": "text", "text": "\n".join(lines)}]
    if picture is not None:
        url = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        content.append({"type": "image_url", "image_url": {"url": url}})
    return {"model": model, "messages": [{"role": "user", "content": content}], "response_format": form}


def talk(data, requests, behaviour=None, log=None, mistakes=0.0, judge_errors=0.0, headers=None):
    """Status, headers and body (None: not whole) of each request, one after the other."""

    async def ask(session, url, request):
        try:
            async with session.post(f"{url}/chat/completions", json=request, headers=headers) as response:
                return response.status, response.headers, await response.json()
        except (aiohttp.ClientError, TimeoutError):
            return None, {}, None

    async def ask_all(server):
        timeout = aiohttp.ClientTimeout(total=0.5 if behaviour and behaviour.slow_seconds == 1 else 60)
        async with serving(server) as url, aiohttp.ClientSession(timeout=timeout) as session:
            return [await ask(session, url, request) for request in requests]

    with RequestLog(log) as opened:
        answers = Answers(DemoPictures(data), mistakes=mistakes, judge_errors=judge_errors)
        return asyncio.run(ask_all(DemoServer(answers, behaviour or Behaviour(), opened)))


def said(data, requests, **options):
    """What was answered, each reply as its schema wants it."""
    replies = talk(data, requests, **options)
    assert [reply[0] for reply in replies] == [200] * len(replies), replies[0]
    return [json.loads(reply[2]["choices"][0]["message"]["content"]) for reply in replies]


def written(data, rated, **options):
    return said(data, [question(WRITE, facts, picture=picture) for picture, facts in rated], **options)


def marks(data, pairs):
    """By part, of pairs of facts and texts."""
    judged = said(data, [question(MARK, facts, texts) for facts, texts in pairs])
    return [{part: mark["mark"] for part, mark in one.items()} for one in judged]


def test_judges_agree_with_the_writer_and_find_what_is_swapped(data, rated):
    texts, facts = written(data, rated), [facts for _, facts in rated]
    assert all(mark >= 7 for one in marks(data, zip(facts, texts, strict=True)) for mark in one.values())
    ends = [*range(4), *range(-4, 0)]
    swapped = marks(data, [(facts[-1 - end], texts[end]) for end in ends])
    assert all(one["perception"] < 7 for one in swapped)
    assert sum(mark < 7 for one in swapped for mark in one.values()) > 0.8 * 3 * len(ends)
    asked = [question(UnseenClaims, one, picture=rated[place][0]) for place, one in enumerate(texts)]
    assert all(one["claims"] == [] for one in said(data, asked))
    asked = [question(UnseenClaims, one, picture=rated[place - 5][0]) for place, one in enumerate(texts)]
    found = [one["claims"] for one in said(data, asked)]
    assert sum(bool(claims) for claims in found) > 0.8 * len(found)
    assert all(claim in " ".join(one.values()) for one, claims in zip(texts, found, strict=True) for claim in claims)
    read = said(data, [question(ScoreRead, {"scale": [1, 10]}, one) for one in texts])
    assert max(abs(one["score"] - fact["score"]) for one, fact in zip(read, facts, strict=True)) < 1


def test_every_mistake_is_for_one_of_the_judges_to_find(data, rated):
    texts, facts = written(data, rated, mistakes=1.0), [facts for _, facts in rated]
    marked = marks(data, zip(facts, texts, strict=True))
    for (picture, _), one, mark in zip(rated, texts, marked, strict=True):
        asked = [question(UnseenClaims, {part: text}, picture=picture) for part, text in one.items()]
        unseen = dict(zip(one, (found["claims"] for found in said(data, asked)), strict=True))
        leaking = {part: [leak.text for leak in find_leaks(text)] for part, text in one.items()}
        assert all(mark[part] < 7 or unseen[part] or leaking[part] for part in PARTS), one
        if leaking["emotion"]:
            [found] = said(data, [question(LeaksFound, {"emotion": one["emotion"]})])
            assert found["quotes"] == leaking["emotion"]


def test_most_texts_are_mended_when_they_are_asked_for_again(data, rated):
    reasons = {"emotion": "The text calls the mood very strong."}
    asked = [question(descriptions_of(("emotion",)), facts, reasons, picture=picture) for picture, facts in rated]
    anew = [question(WRITE, facts, {"emotion": "It is dull."}, reasons, picture=picture) for picture, facts in rated]
    assert said(data, anew, mistakes=0.3) != written(data, rated, mistakes=0.3)
    again = said(data, asked, mistakes=0.3)
    assert again == said(data, asked, mistakes=0.3)
    judged = said(
        data,
        [question(marks_of(("emotion",)), facts, text) for (_, facts), text in zip(rated, again, strict=True)],
    )
    assert sum(one["emotion"]["mark"] >= 7 for one in judged) > 0.6 * len(judged)


def test_a_tone_stands_for_the_scores(data, rated):
    picture = rated[0][0]
    asked = [question(WRITE, {"scale": [0, 5], "tone": tone}, picture=picture) for tone in ("low", "middle", "high")]
    read = said(data, [question(ScoreRead, {"scale": [0, 5]}, texts) for texts in said(data, asked)])
    assert read[0]["score"] < 2 < read[1]["score"] < 3.5 < read[2]["score"] <= 5


def test_judges_err_as_often_as_told(data, rated):
    texts, facts = written(data, rated[-1:])[0], rated[-1][1]
    asked = [question(MARK, facts, texts), question(UnseenClaims, texts, picture=rated[-1][0])]
    judged, seen = said(data, asked, judge_errors=1.0)
    assert all(mark["mark"] <= 3 for mark in judged.values())
    assert seen["claims"] and seen["claims"][0] in texts["perception"]


def test_pictures_are_known_when_they_are_compressed_or_scaled(data, rated):
    picture, facts = rated[3]
    image = Image.open(io.BytesIO(picture))
    small = io.BytesIO()
    image.resize((image.width // 2, image.height // 2)).convert("RGB").save(small, format="JPEG", quality=80)
    asked = [question(WRITE, facts, picture=one) for one in (picture, small.getvalue())]
    first, second = said(data, asked)
    assert first == second


def test_text_mode_answers_as_models_do(data, rated):
    picture, facts = rated[0]
    request = question(WRITE, facts, picture=picture, structure="text")
    [(status, _, body)] = talk(data, [request])
    content = body["choices"][0]["message"]["content"]
    assert status == 200 and list(json.loads(content.split("```json")[1].split("```")[0])) == list(PARTS)
    [(_, _, body)] = talk(data, [{**request, "max_tokens": 20}])
    assert body["choices"][0]["finish_reason"] == "length" and body["usage"]["completion_tokens"] == 20


@pytest.mark.parametrize("kind", FAULTS)
def test_faults(kind, data, rated, tmp_path):
    log, several = tmp_path / "log.jsonl", 12
    texts, facts = written(data, rated[-1:])[0], rated[-1][1]
    slow = 1.0 if kind == "slow" else 30.0
    behaviour = Behaviour(Faults(1.0, (kind,)), slow_seconds=slow, retry_seconds=2)
    replies = talk(data, [question(MARK, facts, texts)] * (2 if kind == "slow" else several), behaviour, log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == [kind] * len(replies)
    assert {line["role"] for line in lines} == {"judge"} and len({line["id"] for line in lines}) == len(lines)
    bodies = [body for status, _, body in replies if status == 200]
    contents = [body["choices"][0]["message"]["content"] for body in bodies if body is not None]
    if kind == "wrong_marks":
        assert all(mark["mark"] < 5 for content in contents for mark in json.loads(content).values())
    elif kind == "broken_json":
        assert len(set(contents)) > 3 and not any(fits(content) for content in contents)
    elif kind == "refused_429":
        assert {status for status, _, _ in replies} == {429}
        waits = {headers.get("Retry-After", "")[-3:] for _, headers, _ in replies}
        assert waits == {"2", "GMT", ""}
    elif kind == "error_5xx":
        assert all(status >= 500 and "error" in body for status, _, body in replies)
    elif kind == "cut_off":
        cut = [body["choices"][0]["finish_reason"] for body in bodies]
        assert set(cut) == {"length"} and 0 < len(cut) < several and not any(fits(content) for content in contents)
    else:  # slow for a client of little patience, dropped
        assert bodies == []


def fits(content):
    try:
        MARK.model_validate_json(content or "")
    except ValueError:
        return False
    return True


def test_a_rate_limit(data, rated):
    request = question(ScoreRead, {"scale": [1, 10]}, {"emotion": "No feeling reaches the viewer."})
    replies = talk(data, [request] * 4, Behaviour(rate_limit=60, retry_after="seconds"))
    assert [status for status, _, _ in replies] == [200, 429, 429, 429]
    assert replies[1][1]["Retry-After"] == "1"


def prompt(text):
    return {"messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize(
    "change, behaviour, status, words",
    [
        ({}, Behaviour(structure="json_object"), 400, "json_schema is not supported"),
        ({}, Behaviour(vision=False), 400, "no vision"),
        ({}, Behaviour(key="sesame"), 401, "API key"),
        ({"model": "other"}, Behaviour(), 404, "no model"),
        ({"messages": []}, Behaviour(), 400, "messages"),
        ({"stream": True}, Behaviour(), 400, "stream"),
        ({"response_format": {"type": "text"}}, Behaviour(), 400, "schema is none of"),
        (prompt('{"scale": [1, 10], "score": 5}'), Behaviour(), 400, "one picture"),
        (prompt('{"scale": [10, 1]}'), Behaviour(), 400, "scale"),
        (prompt('{"scale": [1, NaN]}'), Behaviour(), 400, "scale"),
        (prompt('{"scale": [1, 10], "score": "x"}'), Behaviour(), 400, "score"),
        (
            prompt('{"scale": 1e999}\n{"title": "Marks", "properties": 3}\n' + '{"a": ' * 9999),
            Behaviour(),
            400,
            "scale",
        ),
    ],
)
def test_refusals(change, behaviour, status, words, data, rated, tmp_path):
    picture, facts = rated[0]
    request = {**question(WRITE, facts, picture=picture), **change}
    [(found, _, body)] = talk(data, [request], behaviour, tmp_path / "log")
    assert found == status and words in body["error"]["message"] and "sesame" not in str((behaviour, body))
    line = json.loads((tmp_path / "log").read_text())
    assert (line["outcome"], line["status"]) == ("refused", status)


def test_foreign_pictures_and_the_right_key(data, rated):
    foreign = io.BytesIO()
    Image.effect_noise((64, 64), 80).convert("RGB").save(foreign, format="PNG")
    asked = [question(WRITE, rated[0][1], picture=one) for one in (foreign.getvalue(), b"no picture", rated[0][0])]
    replies = talk(data, asked, Behaviour(key="sesame"), headers={"Authorization": "Bearer sesame"})
    assert [status for status, _, _ in replies] == [400, 400, 200]
    assert ["none of the demo" in str(replies[0][2]), "cannot be read" in str(replies[1][2])] == [True, True]


def test_the_command_serves_until_it_is_told_to_stop(data, tmp_path):
    command = [sys.executable, "-m", "artquant", "rad", "serve-demo", "--data", data, "--log", tmp_path / "log"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().split()[2].rstrip(";")
        port = url.split(":")[2].split("/")[0]
        with socket.create_connection(("127.0.0.1", int(port))) as client:
            client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: here\r\n\r\n")
            assert b"200 OK" in client.recv(4096)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_what_the_command_cannot_serve(data, tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = [(data, "--port", port), (tmp_path,), (data, "--faults", "0.5"), (data, "--faults", "0.1,late")]
        for folder, *options in refused:
            assert main(["rad", "serve-demo", "--data", str(folder), *options]) == 2
    lines = capsys.readouterr().err.splitlines()
    for line, words in zip(lines, ("in use", "is no demo data", "7 kinds", "late"), strict=True):
        assert words in line

"""Collections through the command line, from the demo's server: whole, killed, by batch files, and with bad input."""

import asyncio
import json
import shutil
import signal
import sqlite3
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from artquant.rad.demo_server.answers import Answers
from artquant.rad.demo_server.faults import Faults
from artquant.rad.demo_server.log import RequestLog
from artquant.rad.demo_server.pictures import DemoPictures
from artquant.rad.demo_server.server import Behaviour, DemoServer, serving
from artquant.rad.store import open_store

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "demo" / "rad.yaml"
TRAINING = 32  # pictures of the laboratory's


@contextmanager
def served(data, log=None, **behaviour):
    """The URL of a server in a thread."""
    ready, stop, url = threading.Event(), asyncio.Event(), []

    async def serve():
        with RequestLog(log) as opened:
            server = DemoServer(Answers(DemoPictures(data)), Behaviour(**behaviour), opened)
            async with serving(server, port=0) as address:
                url.append(address)
                ready.set()
                await stop.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield url[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@pytest.fixture
def collecting(lab, tmp_path):
    """Settings of a collection of the laboratory's pictures, from a server."""

    def settings(url, *more):
        source = [f"source.records={lab.records('score')}", f"source.images={lab.images}"]
        return [str(CONFIG), *source, f"endpoints.local.url={url}", f"output={tmp_path}", *more]

    return settings


def rows(folder, query):
    return sqlite3.connect(folder / "rad-demo" / "rad.sqlite").execute(query).fetchall()


def test_collected_shown_exported_reported(lab, collecting, tmp_path, capsys):
    log = tmp_path / "server.jsonl"
    with served(lab.data, log, faults=Faults(0.02, ("wrong_marks", "broken_json"))) as url:
        settings = collecting(url, "loop.canaries=0.2")
        assert lab.artquant("rad", "run", *settings) == 0
        asked = len(log.read_text().splitlines())
        assert lab.artquant("rad", "run", *settings) == 0, "again: nothing is left to ask"
        assert len(log.read_text().splitlines()) == asked
    assert rows(tmp_path, "SELECT SUM(attempts) FROM call") == [(asked,)]
    capsys.readouterr()
    assert lab.artquant("rad", "status", *settings, "--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert sum(status["pictures"].values()) == TRAINING and "waiting" not in status["pictures"]
    assert sum(role["attempts"] for role in status["calls"].values()) == asked
    [(image, text)] = rows(tmp_path, "SELECT image, text FROM draft WHERE kept AND part = 'emotion' LIMIT 1")
    assert lab.artquant("rad", "show", image, *settings) == 0
    assert text in capsys.readouterr().out
    out = tmp_path / "collected"
    assert lab.artquant("rad", "export", *settings, "--out", out) == 0
    third = {record["image"]: record for record in json.loads((out / "descriptions_level_3.json").read_text())}
    assert third[image]["conversations"][1]["value"].endswith(text) and third[image]["level"] == 3
    assert lab.artquant("check", "--records", out / "descriptions_level_3.json", "--images", lab.images) == 0
    built_in = lab.records("descriptions_level_3")
    assert lab.artquant("rad", "report", *settings, "--beside", built_in, "--examples", "2") == 0
    page = (tmp_path / "rad-demo" / "report.html").read_text()
    assert (
        "<svg" in page
        and "data:image/jpeg" in page
        and "http://" not in page.replace("http://www.w3.org", "").replace(url, "")
    )


def test_killed_and_gone_on_with(lab, collecting, tmp_path):
    log = tmp_path / "server.jsonl"
    with served(lab.data, log, latency=0.05) as url:
        settings = collecting(url, "endpoints.local.in_flight=4")
        process = lab.start(["-m", "artquant", "--quiet", "rad", "run", *settings])
        while not log.exists() or log.read_text().count("\n") < 40:
            time.sleep(0.02)
            assert process.poll() is None
        process.send_signal(signal.SIGSTOP)  # it stays the only writer
        other = lab.start(["-m", "artquant", "rad", "run", *settings])
        assert other.wait() == 2 and "another process is writing it" in other.communicate()[1]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert rows(tmp_path, "SELECT COUNT(*) FROM picture WHERE state = 'waiting'") != [(0,)]
        assert lab.artquant("--quiet", "rad", "run", *settings) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    again = sum(count - 1 for count in Counter((line["asked"], line.get("picture")) for line in lines).values())
    assert again <= 4, "only what was in flight"
    assert rows(tmp_path, "SELECT COUNT(*) FROM picture WHERE state = 'waiting'") == [(0,)]


def test_batch_files_come_to_the_same(lab, collecting, tmp_path, capsys):
    with served(lab.data) as url:
        settings = collecting(url, "source.limit=5")
        assert lab.artquant("--quiet", "rad", "run", *settings, "run=now") == 0
        for number in range(20):
            written, results = tmp_path / f"requests-{number}", tmp_path / f"results-{number}.jsonl"
            assert lab.artquant("--quiet", "rad", "batch", *settings, "--out", written) == 0
            if not written.exists():
                break
            if number == 0:
                assert lab.artquant("--quiet", "rad", "run", *settings) == 2
                assert "would be paid twice" in capsys.readouterr().err
                requests = written / "requests-1.jsonl"
                assert lab.artquant("--quiet", "rad", "batch", *settings, "--results", requests) == 2
                assert 'has no "response"' in capsys.readouterr().err
            results.write_text("".join(answered(url, file) for file in written.glob("*.jsonl")))
            assert lab.artquant("--quiet", "rad", "batch", *settings, "--results", results) == 0
            assert lab.artquant("--quiet", "rad", "batch", *settings, "--results", results) == 2, "read already"
    assert number > 3
    texts = "SELECT image, part, round, text FROM draft ORDER BY image, part, round"
    others = sqlite3.connect(tmp_path / "now" / "rad.sqlite").execute(texts).fetchall()
    assert rows(tmp_path, texts) == others and len(others) >= 15
    [(told,)] = rows(tmp_path, "SELECT value FROM about WHERE name = 'statistics'")
    assert json.loads(told)["pictures"] == TRAINING, "of all pictures, not only of those drawn"


def test_budget_of_batch_files_and_a_first_process_that_was_killed(lab, collecting, tmp_path, capsys):
    price = ("endpoints.local.output_price=1000000", "budget=600")  # half of 1,024 tokens is 512
    settings = collecting("http://127.0.0.1:9/v1", "source.limit=2", *price)
    (tmp_path / "rad-demo").mkdir()
    with open_store(tmp_path / "rad-demo" / "rad.sqlite"):
        pass  # killed before the pictures were in it
    assert lab.artquant("rad", "status", *settings) == 2 and "no pictures are in it yet" in capsys.readouterr().err
    for folder in ("first", "second"):
        assert lab.artquant("--quiet", "rad", "batch", *settings, "--out", tmp_path / folder) == 2
        assert "does not suffice" in capsys.readouterr().err
    assert not (tmp_path / "second").exists(), "what is in a file already may cost all that is left"
    [line] = (tmp_path / "first" / "requests-1.jsonl").read_text().splitlines()
    body = {"choices": [{"message": {"content": "{"}, "finish_reason": "length"}]}
    body["usage"] = {"prompt_tokens": 9, "completion_tokens": 1024}
    result = {"custom_id": json.loads(line)["custom_id"], "response": {"status_code": 200, "body": body}}
    (tmp_path / "results.jsonl").write_text(json.dumps(result))
    assert lab.artquant("--quiet", "rad", "batch", *settings, "--results", tmp_path / "results.jsonl") == 0
    assert rows(tmp_path, "SELECT state, output, cost FROM call") == [("refused", 1024, 512.0)], "paid all the same"


def answered(url, requests):
    """Results as a batch interface gives them."""
    import asyncio

    import aiohttp

    async def ask():
        lines = []
        async with aiohttp.ClientSession() as session:
            for line in map(json.loads, requests.read_text().splitlines()):
                async with session.post(f"{url}/chat/completions", json=line["body"]) as response:
                    answer = {"status_code": response.status, "request_id": "r", "body": await response.json()}
                lines.append({"custom_id": line["custom_id"], "response": answer, "error": None})
        return "".join(json.dumps(line) + "\n" for line in lines)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("behaviour", "more", "said"),
    [
        ({}, ["endpoints.local.key=NO_SUCH_KEY"], "NO_SUCH_KEY"),
        ({"key": "a-long-secret-of-the-server"}, [], "401"),
        ({"vision": False}, [], "no vision"),
        ({}, ["endpoints.local.url=http://127.0.0.1:9/v1", "endpoints.local.attempts=1"], "127.0.0.1:9"),
        ({}, ["roles.judge.model=other"], "other"),
        ({}, ["budget=0"], "budget"),
        ({}, ["endpoints.local.input_price=1000", "budget=0.5", "confirm=1000000"], "budget"),
        ({}, ["endpoints.local.input_price=1000"], "--yes"),
        ({}, ["source.images=elsewhere"], "elsewhere"),
        ({}, ["source.range=[1,2]"], "beyond 1 to 2"),
        ({}, ["roles.judge.endpoint=none"], "no such endpoint"),
        ({}, ["endpoints.local.key=sk-12345 secret"], "never the key"),
    ],
)
def test_one_clear_line(lab, collecting, tmp_path, capsys, behaviour, more, said):
    with served(lab.data, **behaviour) as url:
        status = lab.artquant("--quiet", "rad", "run", *collecting(url), *more)
    error = capsys.readouterr().err
    assert status == 2 and said in error and error.count("\n") == 1, error
    assert "secret" not in error
    if (tmp_path / "rad-demo" / "rad.sqlite").exists():
        assert rows(tmp_path, "SELECT COUNT(*) FROM picture WHERE state != 'waiting'") == [(0,)], "nothing is lost"


def test_other_settings_and_pictures_that_cannot_be_read(lab, collecting, tmp_path, capsys):
    images = shutil.copytree(lab.images, tmp_path / "images")
    first, second = (record["image"] for record in json.loads(lab.records("score").read_text())[:2])
    (images / first).write_bytes((images / first).read_bytes()[:500])
    with served(lab.data) as url:
        settings = collecting(url, "source.limit=null", f"source.images={images}")
        assert lab.artquant("--quiet", "rad", "run", *settings) == 0
        assert rows(tmp_path, "SELECT image FROM picture WHERE state = 'unreadable'") == [(first,)]
        assert lab.artquant("rad", "run", *settings, "loop.threshold=8") == 2
        assert "loop.threshold was '7.0' and is '8.0'" in capsys.readouterr().err
        assert lab.artquant("rad", "run", *settings, "roles.reader=null") == 2
        assert "roles.reader.endpoint was 'local' and is 'None'" in capsys.readouterr().err
        shutil.copy(lab.images / first, images / first)
        assert lab.artquant("--quiet", "rad", "run", *settings, "--retry") == 0
    assert rows(tmp_path, "SELECT COUNT(*) FROM picture WHERE state = 'unreadable'") == [(0,)]
    assert lab.artquant("rad", "show", second, *settings) == 0
    assert lab.artquant("rad", "show", "no.png", *settings) == 2
    assert lab.artquant("rad", "status", *settings, "run=other") == 2

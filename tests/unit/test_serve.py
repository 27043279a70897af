"""The server's own routes, and what it refuses; its model is a stub."""

import base64
import json
import re
import socket
import threading
import zlib
from dataclasses import replace

import pytest
from serving import FACTS, Stub, picture, running, score_of, wait_until

from artquant.serve.settings import Limits

LIGHT, DARK = picture(255), picture(0)
HUGE = 30_000
FILE = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n' + LIGHT + b"\r\n"
CUT_OFF = FILE + FILE[:-20]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def bomb() -> bytes:
    """A PNG of 900 million pixels in 900 KB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = HUGE.to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(HUGE))) + chunk(b"IEND", b"")
    )


@pytest.fixture(scope="module")
def served():
    with pytest.MonkeyPatch.context() as patch, running(patch) as found:
        yield found


def test_scores_of_a_form_in_order_with_an_error_for_the_broken(served):
    answer = served.upload("/v1/score", "images", ("l.png", LIGHT), ("x.png", b"nothing"), ("d.png", DARK))
    assert answer.status == 200
    light, broken, dark = answer.json()["results"]
    assert (light["id"], light["score"], light["unfamiliar"]) == ("l.png", 10.0, True)
    assert light["probs"] == {"light": 0.25, "dark": 0.75} and light["attributes"] is None and light["error"] is None
    assert broken["score"] is None and broken["error"]["code"] == "unreadable" and "x.png" in broken["error"]["message"]
    assert (dark["score"], dark["unfamiliar"]) == (1.0, False)
    assert answer.json()["model"] == {**vars(FACTS.identity)}
    assert answer.headers["x-artquant-fingerprint"] == "f" * 64


def test_scores_of_json_with_ids_attributes_and_unit(served):
    body = {"images": [b64(LIGHT), "data:image/png;base64," + b64(DARK), "?"], "ids": ["a", "b", "c"]}
    results = served.request("POST", "/v1/score?attributes=true&unit=true", body).json()["results"]
    assert [(one["id"], one["score"]) for one in results] == [("a", 1.0), ("b", 0.0), ("c", None)]
    assert results[0]["attributes"] == {"Color": pytest.approx(4 / 9)} and results[0]["std"] == pytest.approx(0.5 / 9)
    assert results[2]["error"]["code"] == "unreadable"


def test_a_picture_without_a_finite_score_has_an_error(served):
    answer = served.request("POST", "/v1/score", {"images": [b64(picture(13)), b64(LIGHT)]})
    first, second = answer.json()["results"]
    assert first["error"]["code"] == "failed" and second["score"] == 10.0


def test_rewards(served):
    body = {"images": [b64(LIGHT), b64(DARK)], "prompts": ["a", "b"], "metadata": {"step": 1}}
    assert served.request("POST", "/v1/reward", body).json()["scores"] == [1.0, 0.0]
    assert served.request("POST", "/v1/reward", {**body, "unit": False}).json()["scores"] == [10.0, 1.0]
    refused = served.request("POST", "/v1/reward", {"images": [b64(LIGHT), b64(b"no")]})
    assert refused.status == 422 and "picture 2" in refused.json()["error"]["message"]


def test_a_description_is_streamed(served):
    answer = served.request("POST", "/v1/describe?level=2", {"image": b64(LIGHT)})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [part.split("\ndata: ") for part in answer.body.decode().strip().split("\n\n")]
    assert [name for name, _ in events] == ["event: text"] * 3 + ["event: done"]
    said = [json.loads(data) for _, data in events]
    assert "".join(one["text"] for one in said[:3]) == said[3]["text"] == "Light and shadow"
    assert said[3]["level"] == 2 and said[3]["model"]["name"] == "stub"
    assert served.request("POST", "/v1/describe?level=4", {"image": b64(LIGHT)}).status == 422


def test_what_is_served_is_told(served):
    model = served.request("GET", "/v1/model").json()
    assert model["scale"] == {"low": 1.0, "high": 10.0, "words": ["light", "dark"], "values": [10.0, 1.0]}
    assert model["can"] == ["score", "attributes", "describe"] and model["test"]["percentiles"] is None
    assert served.request("GET", "/v1/health").json() == {"status": "ready", "queue": 0}
    assert served.request("GET", "/v1/ready").status == 200
    metrics = served.request("GET", "/metrics").body.decode()
    assert 'artquant_requests_total{route="/v1/model",status="200"}' in metrics
    assert b"/v1/score" in served.request("GET", "/docs").body
    page = served.request("GET", "/")
    assert page.status == 200 and page.headers["content-type"].startswith("text/html")
    for file in re.findall(r'(?:src|href)="(static/[^"]+)"', page.body.decode()):
        assert served.request("GET", f"/{file}").status == 200
    assert served.request("GET", "/static/../app.py").status == 404
    assert "/v1/score" in served.request("GET", "/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/v1/score", b"{}", {"Content-Type": "text/plain"}, 415, "bad_request"),
        ("/v1/score", b"{", {"Content-Type": "application/json"}, 400, "bad_request"),
        ("/v1/score", b"[" * 100_000, {"Content-Type": "application/json"}, 400, "bad_request"),
        ("/v1/score", b"--x", {"Content-Type": "multipart/form-data"}, 400, "bad_request"),
        ("/v1/score", b"--x\r\nbroken", {"Content-Type": "multipart/form-data; boundary=x"}, 400, "bad_request"),
        ("/v1/score", {"images": []}, {}, 400, "bad_request"),
        ("/v1/score", {"images": [1]}, {}, 400, "bad_request"),
        ("/v1/score", {"images": ["", ""], "ids": ["a"]}, {}, 400, "bad_request"),
        ("/v1/score", {"images": [""] * 65}, {}, 413, "too_large"),
        ("/v1/score", {"paths": ["a.png"]}, {}, 400, "bad_request"),
        ("/v1/score?unit=perhaps", {"images": [""]}, {}, 422, "bad_request"),
        ("/v1/describe", {"image": b64(b"no")}, {}, 422, "unreadable"),
        ("/v1/score", CUT_OFF, {"Content-Type": "multipart/form-data; boundary=x"}, 400, "bad_request"),
        ("/v1/score", {"images": [""] * 100_002}, {}, 413, "too_large"),
        ("/v1/score", {"images": [""]}, {"Content-Encoding": "gzip"}, 415, "bad_request"),
        ("/v1/score", {"images": [""]}, {"Origin": "http://elsewhere.example"}, 403, "unauthorised"),
        ("/v1/score", {"images": [""]}, {"Origin": "null"}, 403, "unauthorised"),
        ("/", b"", {"Sec-Fetch-Site": "cross-site"}, 403, "unauthorised"),
        ("/v1/nothing", {}, {}, 404, "bad_request"),
        ("/v1/score/", {"images": [""]}, {}, 404, "bad_request"),
    ],
)
def test_what_is_refused(served, path, body, headers, status, code):
    answer = served.request("POST", path, body, **headers)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)
    assert "\n" not in answer.json()["error"]["message"]


def test_a_page_may_ask_its_own_server(served):
    body = {"images": [b64(LIGHT)]}
    for headers in ({"Origin": f"http://127.0.0.1:{served.port}"}, {"Sec-Fetch-Site": "same-origin", "Origin": "x"}):
        assert served.request("POST", "/v1/score", body, **headers).status == 200
    assert served.request("GET", "/v1/model", Origin="http://elsewhere.example").status == 200


def test_a_picture_bomb_is_an_error_of_its_picture(served):
    assert len(bomb()) < 1_000_000
    results = served.upload("/v1/score", "images", ("bomb.png", bomb()), ("l.png", LIGHT)).json()["results"]
    assert results[0]["error"]["code"] == "unreadable" and results[1]["score"] == 10.0


def test_large_bodies_are_refused_while_they_are_read(monkeypatch):
    with running(monkeypatch, limits=Limits(body=100_000)) as served:
        assert served.request("POST", "/v1/score", b"", Content_Length=str(1 << 30)).status == 413
        pieces = (b"x" * 50_000 for _ in range(3))
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as slow:
            slow.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in pieces:
                slow.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            assert slow.recv(100).startswith(b"HTTP/1.1 413 ")
        assert served.server.service.bodies._held == 0


def test_a_slow_sender_is_cut_off_while_others_are_served(monkeypatch):
    head = b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with running(monkeypatch, limits=Limits(silence=0.2)) as served:
        monkeypatch.setattr("artquant.serve.server._HEADERS", 0.2)
        with (
            socket.create_connection(("127.0.0.1", served.port), timeout=20) as slow,
            socket.create_connection(("127.0.0.1", served.port), timeout=20) as half,
        ):
            slow.sendall(head)
            half.sendall(b"GET /v1/hea")
            assert served.request("POST", "/v1/score", {"images": [b64(LIGHT)]}).status == 200
            assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
            assert half.recv(100) == b""


def test_one_batch_across_requests_and_one_of_each_kind(monkeypatch):
    with running(monkeypatch, hold=True, batch=4, collect=0.3) as served:
        found = {}

        def ask(number: int, query: str) -> None:
            body = {"images": [b64(picture(10 * number))]}
            found[number] = served.request("POST", f"/v1/score{query}", body).json()["results"][0]["score"]

        threads = [threading.Thread(target=ask, args=(n, "?attributes=true" * (n > 2))) for n in range(1, 5)]
        [thread.start() for thread in threads]
        wait_until(lambda: len(served.stub.batches) == 2)
        served.stub.gate.set()
        [thread.join() for thread in threads]
        assert sorted(served.stub.batches) == [(2, False), (2, True)]
        assert found == {number: pytest.approx(score_of(10 * number)) for number in range(1, 5)}


def test_when_too_many_wait_the_next_are_told_to_come_again(monkeypatch):
    with running(monkeypatch, hold=True, limits=Limits(waiting=2)) as served:
        body = {"images": [b64(LIGHT)] * 2}
        first = threading.Thread(target=served.request, args=("POST", "/v1/score", body))
        first.start()
        wait_until(lambda: served.request("GET", "/v1/health").json()["queue"] == 2)
        refused = served.request("POST", "/v1/score", body)
        assert refused.status == 429 and refused.json()["error"]["code"] == "busy" and refused.headers["Retry-After"]
        served.stub.gate.set()
        first.join()
        assert served.request("POST", "/v1/score", body).status == 200


def test_while_loading_and_of_models_that_were_not_trained_to(monkeypatch):
    with running(monkeypatch, Stub(loads=False)) as served:
        assert served.request("GET", "/v1/health").json()["status"] == "loading"
        for method, path in (("GET", "/v1/ready"), ("GET", "/v1/model"), ("POST", "/v1/score"), ("POST", "/")):
            answer = served.request(method, path)
            assert answer.status == 503 and answer.headers["Retry-After"]
    with running(monkeypatch, Stub(replace(FACTS, can=("score",), levels=()))) as served:
        for path, body in (("/v1/describe", {"image": ""}), ("/v1/score?attributes=true", {"images": [b64(LIGHT)]})):
            answer = served.request("POST", path, body)
            assert (answer.status, answer.json()["error"]["code"]) == (409, "not_trained")


def test_a_token_is_asked_for(monkeypatch):
    with running(monkeypatch, token="a b") as served:
        for path in ("/v1/model", "/metrics", "/docs", "/openapi.json"):
            assert served.request("GET", path).status == 401
        assert served.request("POST", "/", b"").status == 401
        assert served.request("GET", "/v1/model", Authorization="Bearer a").status == 401
        for right in ("Bearer a b", "bearer a b"):
            assert served.request("GET", "/v1/model", Authorization=right).status == 200
        assert served.request("GET", "/v1/health").status == 200
        assert "a b" not in repr(served.server.service.settings)


def test_paths_lie_under_the_root(monkeypatch, tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside.png"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.png").write_bytes(LIGHT)
    outside.write_bytes(LIGHT)
    (root / "link.png").symlink_to(outside)
    (root / "inner.png").symlink_to(root / "sub" / "a.png")
    paths = ["sub/a.png", "inner.png", "link.png", "../outside.png", str(outside), "sub", "no.png", "a\0"]
    with running(monkeypatch, root=root) as served:
        results = served.request("POST", "/v1/score", {"paths": paths}).json()["results"]
    assert [one["score"] for one in results] == [10.0, 10.0, *[None] * 6]
    assert len({one["error"]["message"] for one in results[2:]}) == 1


def test_paths_together_are_no_larger_than_a_body(monkeypatch, tmp_path):
    (tmp_path / "a.png").write_bytes(LIGHT)
    with running(monkeypatch, root=tmp_path, limits=Limits(body=len(LIGHT) * 2)) as served:
        results = served.request("POST", "/v1/score", {"paths": ["a.png"] * 3}).json()["results"]
    assert [one["score"] for one in results] == [10.0, 10.0, None]


def test_large_pictures_do_not_wait_for_descriptions_together(monkeypatch):
    with running(monkeypatch, limits=Limits(pixels=100), hold=True) as served:
        first = threading.Thread(target=served.request, args=("POST", "/v1/describe", {"image": b64(LIGHT)}))
        first.start()
        wait_until(lambda: served.server.service.describing)
        assert served.request("POST", "/v1/describe", {"image": b64(LIGHT)}).status == 429
        served.stub.gate.set()
        first.join()
        assert served.request("POST", "/v1/describe", {"image": b64(LIGHT)}).status == 200


def test_a_description_ends_when_nobody_reads_it(monkeypatch):
    with running(monkeypatch, hold=True) as served:
        body = json.dumps({"image": b64(LIGHT)}).encode()
        head = f"POST /v1/describe HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as reader:
            reader.sendall(head.encode() + b"\r\n\r\n" + body)
            assert reader.recv(100).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: served.stub.unread == [0])
        assert served.server.service.describing == 0


@pytest.mark.parametrize("path", ["/v1/score", "/v1/reward"])
def test_what_nobody_waits_for_is_not_scored(monkeypatch, path):
    with running(monkeypatch, batch=1, hold=True) as served:
        body = json.dumps({"images": [b64(LIGHT)] * 8}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as client:
            client.sendall(head.encode() + b"\r\n\r\n" + body)
            wait_until(lambda: served.stub.batches)
        wait_until(lambda: served.server.service.waiting == 0 and served.server.service.requests == 0)
        asked = len(served.stub.batches)  # those that the device had been given
        assert asked < 8
        served.stub.gate.set()
        assert served.request("POST", "/v1/score", {"images": [b64(LIGHT)]}).status == 200
        assert len(served.stub.batches) == asked + 1
        assert 'status="499"' in served.request("GET", "/metrics").body.decode()


def test_stopping_finishes_what_was_accepted(monkeypatch):
    with running(monkeypatch, hold=True) as served:
        found = []

        def ask() -> None:
            found.append(served.request("POST", "/v1/score", {"images": [b64(LIGHT)]}))

        accepted = threading.Thread(target=ask)
        accepted.start()
        wait_until(lambda: served.stub.batches)
        served.server.handle_exit(15, None)
        refused = served.request("POST", "/v1/score", {"images": [b64(LIGHT)]})
        assert refused.status == 503 and refused.headers["Retry-After"]
        assert served.request("GET", "/v1/health").json()["status"] == "draining"
        served.stub.gate.set()
        accepted.join()
        assert found[0].json()["results"][0]["score"] == 10.0
        wait_until(lambda: not served.server.servers or not served.server.servers[0].is_serving())


def test_a_process_that_ends_is_started_again(monkeypatch):
    monkeypatch.setattr("artquant.serve.lane._RESTART", 0.0)
    with running(monkeypatch, hold=True) as served:
        found = []
        asked = threading.Thread(
            target=lambda: found.append(served.request("POST", "/v1/score", {"images": [b64(LIGHT)]}))
        )
        asked.start()
        wait_until(lambda: served.stub.batches)
        served.stub.hear(None)
        asked.join()
        assert found[0].status == 503 and found[0].headers["Retry-After"]
        wait_until(lambda: served.server.service.status == "ready")

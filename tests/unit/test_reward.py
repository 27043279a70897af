"""The reward client: pictures in every form, what trainers call, and servers that are busy, wrong or away."""

import base64
import io
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

from artquant import reward
from artquant.reward import (
    FlowFactoryReward,
    RewardClient,
    RewardError,
    ScorerRewards,
    encoded_picture,
    flow_grpo_reward,
    pictures_of,
    trl_reward,
)

PIXELS = np.linspace(0, 1, 3 * 10 * 12).reshape(10, 12, 3)
UINT8 = (PIXELS * 255).round().astype(np.uint8)
STRANGE = ({"scores": [True]}, {"scores": [10**400]})
BROKEN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
BROKEN_ERROR = BROKEN.replace(b"200 OK", b"422 x")


def brightness(data: bytes) -> float:
    return float(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).mean() / 255)


@pytest.fixture
def server():
    """Answers the mean brightness, or what is prepared: (status, headers, body)."""
    prepared, asked = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((dict(self.headers), body))
            scores = [brightness(base64.b64decode(image)) for image in body["images"]]
            status, headers, answer = prepared.pop(0) if prepared else (200, {}, {"scores": scores})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", prepared, asked
    running.shutdown()
    running.server_close()


def forms(tmp_path):
    """The same picture in every form."""
    image = Image.fromarray(UINT8)
    image.save(tmp_path / "a.png")
    return {
        "pil": image,
        "path": tmp_path / "a.png",
        "name": str(tmp_path / "a.png"),
        "bytes": (tmp_path / "a.png").read_bytes(),
        "floats": PIXELS,
        "uint8": UINT8,
        "channels first": PIXELS.transpose(2, 0, 1),
        "tensor": torch.tensor(PIXELS).permute(2, 0, 1),
        "bfloat16": torch.tensor(UINT8 / 255).permute(2, 0, 1).double(),
        "uint8 tensor": torch.tensor(UINT8),
    }


def test_every_form_is_the_same_picture(server, tmp_path):
    url, _, asked = server
    client = RewardClient(url, batch=4)
    given = forms(tmp_path)
    scores = client(list(given.values()), prompts=["p"] * len(given), metadata={"step": 1})
    assert scores == pytest.approx([brightness(given["bytes"])] * len(given), abs=1e-6)
    assert [len(body["images"]) for _, body in asked] == [4, 4, 2]
    assert (
        asked[0][1]["unit"] is True and asked[2][1]["prompts"] == ["p", "p"] and asked[0][1]["metadata"] == {"step": 1}
    )
    for one in given.values():
        assert client(one) == pytest.approx(scores[:1])
    assert client(torch.tensor(PIXELS).permute(2, 0, 1)[None].repeat(3, 1, 1, 1)) == pytest.approx(scores[:3])
    assert client(np.stack([UINT8] * 2)) == pytest.approx(scores[:2]) and client([]) == []


def test_what_trainers_call(server):
    url, *_ = server
    client = RewardClient(url)
    batch = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = client(batch)
    assert flow_grpo_reward(client)(batch, ["a", "b"], [{}, {}]) == (expected, {})
    assert flow_grpo_reward(client)(batch.permute(0, 2, 3, 1).numpy(), None, None)[0] == pytest.approx(expected)
    images = [Image.open(io.BytesIO(encoded_picture(one))) for one in pictures_of(batch)]
    assert trl_reward(client)(images, prompts=["a", "b"], completion_ids=[]) == expected
    messages = [[{"role": "assistant", "content": [{"type": "image", "image": image}]}] for image in images]
    assert trl_reward(client)(messages) == expected
    assert trl_reward(client, "image")(["text", "text"], image=images) == expected
    assert FlowFactoryReward(client)(["a", "b"], images) == {"rewards": expected}
    with pytest.raises(RewardError, match="without a picture"):
        trl_reward(client)([[{"role": "assistant", "content": "text"}]])


def test_busy_servers_are_asked_again_and_refusals_are_not(server, monkeypatch):
    url, prepared, asked = server
    waited = []
    monkeypatch.setattr(reward.time, "sleep", waited.append)
    busy = [
        (503, {"Retry-After": "2"}, b""),
        (429, {"Retry-After": "soon"}, b""),
        (500, {}, b""),
        (200, {}, b"no json"),
    ]
    prepared += busy
    assert len(RewardClient(url, token="secret")(UINT8)) == 1
    assert waited[0] == 2 and len(waited) == 4 and asked[0][0]["Authorization"] == "Bearer secret"
    prepared += [(422, {}, {"error": {"code": "unreadable", "message": "picture 1 of 1: damaged"}})]
    with pytest.raises(RewardError, match=r"422 picture 1 of 1: damaged"):
        RewardClient(url)(UINT8)
    for answer in ({"scores": []}, {"scores": [float("nan")]}, {"scores": ["1"]}, [1], *STRANGE):
        prepared += [(200, {}, answer)]
        with pytest.raises(RewardError, match="scores"):
            RewardClient(url)(UINT8)
    with pytest.raises(RewardError, match="no answer in 2 attempts"):
        RewardClient("http://127.0.0.1:9", attempts=2)(UINT8)


@pytest.mark.parametrize(
    "answer", [b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000, BROKEN, BROKEN_ERROR]
)
def test_whatever_a_server_answers_is_one_error(answer):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with listening.accept()[0] as connection:
                while not connection.recv(1 << 20).endswith(b"}"):
                    pass
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(RewardError, match=r"^[^\n]*$"):
            RewardClient(f"http://127.0.0.1:{listening.getsockname()[1]}", attempts=1)(UINT8)


def test_the_token_is_told_to_nobody_else(server):
    url, prepared, asked = server
    prepared += [(302, {"Location": f"{url}/elsewhere", "Content-Length": "0"}, b"")]
    with pytest.raises(RewardError, match="302"):
        RewardClient(url, token="secret")(UINT8)
    assert len(asked) == 1
    with pytest.raises(RewardError) as error:
        RewardClient(url, token="secret\n")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["localhost:8000", "", "file:///etc/passwd", "http://[::1", "http://a:99999", "http://a:b@c"]
)
def test_a_wrong_address_is_refused_at_once(url):
    with pytest.raises(RewardError, match="http://HOST:PORT"):
        RewardClient(url)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 4)), "no picture"),
        (np.zeros((5, 6, 7, 8, 9)), "no picture"),
        (np.full((8, 8, 3), 2.0), "0 to 1"),
        (np.full((8, 8, 3), np.nan), "finite"),
        (np.zeros((8, 8, 3), np.int64), "uint8"),
        (3, "no picture"),
        ({"image": UINT8}, "no picture"),
        (np.zeros((3, 0, 8)), "no picture"),
        (torch.zeros(3, 8, 8).to_sparse(), "cannot be read"),
        (Image.new("F", (8, 8)), "cannot be read"),
        ("a\0b", "cannot be read"),
        ([3], "no picture"),
        ("no such file.png", "No such file"),
    ],
)
def test_what_is_no_picture_is_refused(image, said):
    with pytest.raises(RewardError, match=said):
        RewardClient("http://127.0.0.1:9", attempts=1)(image)


def test_the_same_calls_without_a_server(tmp_path):
    class Bright:
        """A scorer's interface."""

        def __call__(self, images, unit, as_tensor):
            assert unit and as_tensor
            return torch.tensor([np.asarray(image).mean() / 255 for image in images])

    rewards = ScorerRewards(Bright())
    assert rewards(list(forms(tmp_path).values())) == pytest.approx([UINT8.mean() / 255] * 10, abs=1e-6)
    assert rewards([]) == []

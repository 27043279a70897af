"""A server in a thread whose model is a stub: a picture's score is how light it is, 1 to 10."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from artquant.data.predictions import Prediction
from artquant.serve import lane
from artquant.serve.messages import Describe, Done, Judged, NoLonger, Ready, Scored, ScoreThese, Written
from artquant.serve.server import Server, listening
from artquant.serve.service import Service
from artquant.serve.settings import Chosen, Facts, Identity, Settings

FACTS = Facts(
    Identity("stub", "f" * 64, "artquant"),
    *(1.0, 10.0, ("light", "dark"), (10.0, 1.0), ("Color",), ("score", "attributes", "describe"), (1, 2, 3)),
)


def picture(light: int = 128, side: int = 16, format: str = "PNG") -> bytes:
    """A file of one grey."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (light,) * 3).save(file, format)
    return file.getvalue()


def score_of(light: float) -> float:
    """What the stub gives."""
    return 1 + 9 * light / 255


class Lightness:
    """The stub's processor."""

    def picture(self, image: Image.Image) -> float:
        return float(np.asarray(image).mean())


@dataclass
class Stub:
    """A device, and what it was asked; `gate` holds its answers back."""

    facts: Facts = FACTS
    gate: threading.Event = field(default_factory=threading.Event)
    batches: list[tuple[int, bool]] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)
    hear: Any = None
    loads: bool = True

    def start(self, chosen: Chosen, name: str, hear: Any) -> Stub:
        self.hear = hear
        if self.loads:
            hear(Ready(self.facts, Lightness()))
        return self

    def ask(self, asked: Any) -> None:
        if isinstance(asked, NoLonger):
            self.unread.append(asked.number)
        else:
            threading.Thread(target=self._answer, args=(asked,), daemon=True).start()

    def _answer(self, asked: ScoreThese | Describe) -> None:
        if isinstance(asked, ScoreThese):
            self.batches.append((len(asked.pictures), asked.attributes))
            self.gate.wait(20)
            self.hear(Scored(asked.number, tuple(_judged(one, asked.attributes) for one in asked.pictures)))
            return
        for word in ("Light", " and", " shadow"):
            self.hear(Written(asked.number, word))
        self.gate.wait(20)
        self.hear(Done(asked.number, "Light and shadow", 5.5 if asked.level is None else None))

    def end(self) -> None:
        self.gate.set()


def _judged(light: float, attributes: bool) -> Judged | str:
    if light == 13:
        return "the model gives no score for it: not finite"
    named = {"Color": Prediction(score_of(light) / 2, 0.5)} if attributes else {}
    return Judged(Prediction(score_of(light), 0.5, {"probs": {"light": 0.25, "dark": 0.75}}, named), light / 200)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A server and its stub."""

    server: Server
    port: int
    stub: Stub

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; a body that is no bytes is sent as JSON."""
        if body is not None and not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        found = Answer(answer.status, answer.headers, answer.read())
        connection.close()
        return found

    def upload(self, path: str, field: str, *files: tuple[str, bytes]) -> Answer:
        """A multipart form, as curl and requests write it."""
        mark = "--------------------------b"
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
            f"Content-Type: image/png\r\n\r\n".encode()
            + data
            + b"\r\n"
            for name, data in files
        ]
        body = b"".join(parts) + f"--{mark}--\r\n".encode()
        return self.request("POST", path, body, Content_Type=f"multipart/form-data; boundary={mark}")


@contextmanager
def running(
    monkeypatch: Any, stub: Stub | None = None, hold: bool = False, batch: int = 16, **settings: Any
) -> Iterator[Running]:
    """Serve; hold: answers wait until the stub's gate is opened."""
    stub = stub or Stub()
    if not hold:
        stub.gate.set()
    monkeypatch.setattr(lane, "start_device", stub.start)
    made, bound = list[Server](), listening("127.0.0.1", 0)

    async def serve() -> None:
        made.append(Server(Service(Chosen("stub", batch=batch), ["cpu"], Settings(**settings))))
        await made[0].serve([bound])

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    wait_until(lambda: made and made[0].started)
    found = Running(made[0], bound.getsockname()[1], stub)
    if stub.loads:
        wait_until(lambda: made[0].service.status == "ready")
    try:
        yield found
    finally:
        stub.gate.set()
        made[0].should_exit = made[0].force_exit = True
        thread.join(10)
        bound.close()


def wait_until(so: Any, seconds: float = 20) -> None:
    """Until something is so."""
    until = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < until, "it does not come about"
        time.sleep(0.005)

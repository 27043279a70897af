"""A server with the routes that the page asks, and no model: what it answers is set by tests."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import artquant.serve

PAGE = Path(artquant.serve.__file__).parent / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
TYPES = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".json": "application/json",
    ".jpg": "image/jpeg",
}  # fmt: skip
WORDS = ["excellent", "good", "fair", "poor", "bad"]
ATTRIBUTES = ["Theme and logic", "Creativity", "Layout and composition", "Light and shadow", "Color", "Mood"]
MODEL: dict[str, Any] = {
    "name": "demo scores",
    "scale": {"low": 1, "high": 10, "words": WORDS, "values": [10, 7.75, 5.5, 3.25, 1]},
    "attributes": ATTRIBUTES,
    "can": ["score", "attributes", "describe"],
    "levels": [1, 2, 3],
    "trained_on": "4,000 drawn pictures (demo)",
    "licence": "Apache-2.0",
    "warning": None,
    "fingerprint": "0123abcd" * 8,
    "prompt": "artquant",
    "version": "0.19.0",
    "test": {
        "percentiles": [2 + 0.07 * step for step in range(101)],
        "attribute_means": dict.fromkeys(ATTRIBUTES, 5.0),
        "attribute_errors": dict.fromkeys(ATTRIBUTES, 0.8),
        "srcc": 0.874,
    },
}
PARAGRAPHS = (
    "A street with houses leads to a tower. Light from the right gives soft shadows.",
    "The tower stands for what lasts; the houses lean on it and each other.",
    "It leaves a quiet, slightly melancholic mood.",
)
SCORED = {
    "score": 6.42,
    "std": 0.61,
    "probs": dict(zip(WORDS, (0.08, 0.49, 0.33, 0.08, 0.02), strict=True)),
    "attributes": dict(zip(ATTRIBUTES, (5.9, 5.7, 6.1, 7.9, 5.6, 4.1), strict=True)),
    "unfamiliar": False,
}


class Stub(ThreadingHTTPServer):
    """answers: what `/v1/score` says of a picture, by its name: changed values, or (status, code).

    flow: set while texts flow; a cleared one holds them after the first piece. sent: pictures scored so far, by name.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.model, self.status, self.queue, self.token = dict(MODEL), "ready", 0, ""
        self.answers: dict[str, Any] = {}
        self.busy, self.breaks = 0, False
        self.flow, self.scoring = threading.Event(), threading.Event()
        self.flow.set()
        self.scoring.set()
        self.sent: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no fault."""


class Handler(BaseHTTPRequestHandler):
    server: Stub

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal of the tests."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/v1/"):
            if self.is_let_in():
                health = {"status": self.server.status, "queue": self.server.queue}
                self.tell(health if path == "/v1/health" else self.server.model)
        else:
            file = PAGE / ("index.html" if path == "/" else path.removeprefix("/static/"))
            self.reply(200, TYPES[file.suffix], file.read_bytes())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = urlsplit(self.path)
        field = b"images" if asked.path == "/v1/score" else b"image"
        name = re.search(rb'name="%s"; filename="([^"]*)"' % field, body)[1].decode()
        if not self.is_let_in():
            return
        if asked.path == "/v1/score":
            self.score(name)
        else:
            self.describe(int(parse_qs(asked.query)["level"][0]))

    def is_let_in(self) -> bool:
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self.refuse(401, "unauthorised")
            return False
        return True

    def score(self, name: str) -> None:
        self.server.scoring.wait(30)
        if self.server.busy > 0:
            self.server.busy -= 1
            return self.refuse(429, "busy", {"Retry-After": "1"})
        answer = self.server.answers.get(name, {})
        if isinstance(answer, tuple):
            return self.refuse(*answer)
        self.server.sent.append(name)
        result = {"id": name, "error": None, **SCORED, **answer}
        return self.tell({"results": [result], "model": {}})

    def describe(self, level: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        pieces = [f"{word} " for word in "\n\n".join(PARAGRAPHS[:level]).split(" ")]
        for index, piece in enumerate(pieces):
            self.event("text", {"level": level, "text": piece})
            if index == 1:
                self.server.flow.wait(30)
            if index == 3 and self.server.breaks:
                return self.event("error", {"code": "busy", "message": "the model stopped"})
            time.sleep(0.002)
        return self.event("done", {"level": level, "text": "".join(pieces)})

    def event(self, name: str, data: dict[str, Any]) -> None:
        self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        error = {"error": {"code": code, "message": f"no: {code} <b>"}}
        self.reply(status, "application/json", json.dumps(error).encode(), headers)

    def tell(self, value: Any) -> None:
        self.reply(200, "application/json", json.dumps(value).encode())

    def reply(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Security-Policy": POLICY, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def stub_server() -> Iterator[Stub]:
    stub = Stub()
    threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield stub
    finally:
        stub.flow.set()
        stub.scoring.set()
        stub.shutdown()
        stub.server_close()

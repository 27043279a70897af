"""A small Hugging Face hub on the loopback, for what `huggingface_hub` asks of one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class LoopbackHub:
    """Repositories by name, as folders. Everything that is asked for is noted.

    gated: names that are given to nobody. broken: file names of which a request gets only the first half of what it
    asks for. cut: the same, of one request each. lost: file names that are listed and not given. starts: of each file
    that was given, from which byte on.
    """

    def __init__(self, repositories: dict[str, Path]) -> None:
        self.repositories = repositories
        self.gated: set[str] = set()
        self.broken: set[str] = set()
        self.cut: set[str] = set()
        self.lost: set[str] = set()
        self.starts: list[tuple[str, int]] = []
        self.asked: list[str] = []
        self.endpoint = ""

    def files_asked(self) -> set[str]:
        """Names of the files that were fetched."""
        return {path.rpartition("/")[2] for path in self.asked if "/resolve/" in path}


class Handler(BaseHTTPRequestHandler):
    """Answers as the hub does: about a repository, its files, and with a file."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        """As `do_GET`, without the body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Whatever it is."""
        hub, path = self.server.hub, unquote(urlsplit(self.path).path)
        hub.asked.append(f"{self.command} {path}")
        name = next((name for name in hub.repositories if f"/{name}/" in path + "/"), None)
        if name is None:
            self._refuse(404, "RepoNotFound", "Repository not found")
        elif name in hub.gated:
            self._refuse(403, "GatedRepo", "Access is restricted")
        else:
            folder, rest = hub.repositories[name], path.split(f"/{name}", 1)[1].strip("/")
            if path.startswith("/api/"):
                self._tell(name, folder, *rest.split("/")[:2])
            else:
                self._give(folder / rest.split("/", 2)[2])

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def _tell(self, name: str, folder: Path, kind: str, revision: str) -> None:
        if revision not in ("main", "v1", COMMIT):
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        files = {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}
        told: object = {"id": name, "modelId": name, "sha": COMMIT, "siblings": [{"rfilename": one} for one in files]}
        if kind == "tree":
            sizes = {one: file.stat().st_size for one, file in files.items()}
            told = [{"type": "file", "path": one, "size": sizes[one], "oid": etag(files[one])} for one in files]
        self._answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _give(self, file: Path) -> None:
        hub = self.server.hub
        if not file.is_file() or file.name in hub.lost:
            return self._refuse(404, "EntryNotFound", "Entry not found")
        about, content = {"ETag": f'"{etag(file)}"', "X-Repo-Commit": COMMIT}, file.read_bytes()
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start:
            about["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        broken = file.name in hub.broken
        if self.command == "GET":
            hub.starts.append((file.name, start))
            broken = broken or file.name in hub.cut
            hub.cut.discard(file.name)
        self._answer(206 if start else 200, content[start:], about, broken)

    def _answer(self, status: int, body: bytes, headers: dict[str, str], broken: bool = False) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if broken else body)
            self.close_connection = broken


class Server(ThreadingHTTPServer):
    """The hub's door."""

    def __init__(self, hub: LoopbackHub) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub = hub
        hub.endpoint = f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(repositories: dict[str, Path]) -> Iterator[LoopbackHub]:
    """A hub with these repositories, until the block ends."""
    server = Server(LoopbackHub(repositories))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def etag(file: Path) -> str:
    """Of a file's content."""
    return hashlib.sha1(file.read_bytes()).hexdigest()

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

    gated: names that are given to nobody. broken: file names of which a request gets only the first half.
    lost: file names that are listed and not given.
    """

    def __init__(self, repositories: dict[str, Path]) -> None:
        self.repositories = repositories
        self.gated: set[str] = set()
        self.broken: set[str] = set()
        self.lost: set[str] = set()
        self.asked: list[str] = []
        self.endpoint = ""

    def files_asked(self) -> set[str]:
        """Names of the files that were fetched."""
        return {path.rpartition("/")[2] for path in self.asked if "/resolve/" in path}


@contextmanager
def serving(repositories: dict[str, Path]) -> Iterator[LoopbackHub]:
    """A hub with these repositories, until the block ends."""
    hub = LoopbackHub(repositories)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            name = next((name for name in hub.repositories if f"/{name}/" in path + "/"), None)
            if name is None:
                return self.answer(404, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
            if name in hub.gated:
                return self.answer(403, X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
            folder, rest = hub.repositories[name], path.split(f"/{name}", 1)[1].strip("/")
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            if path.startswith("/api/"):
                kind, _, revision = rest.partition("/")
                if revision.split("/")[0] not in ("main", "v1", COMMIT):
                    return self.answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
                listed = [str(file.relative_to(folder)) for file in files]
                if kind == "tree":
                    sizes = zip(listed, files, strict=True)
                    tree = [{"type": "file", "path": p, "size": f.stat().st_size, "oid": etag(f)} for p, f in sizes]
                    return self.answer(200, json.dumps(tree).encode(), Content_Type="application/json")
                info = {"id": name, "modelId": name, "sha": COMMIT, "siblings": [{"rfilename": p} for p in listed]}
                return self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
            return self.file(folder / rest.split("/", 2)[2])

        def file(self, file: Path) -> None:
            if not file.is_file() or file.name in hub.lost:
                return self.answer(404, X_Error_Code="EntryNotFound", X_Error_Message="Entry not found")
            body = file.read_bytes()
            self.send_response(200)
            for name, value in {"ETag": f'"{etag(file)}"', "X-Repo-Commit": COMMIT}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            broken = file.name in hub.broken
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if broken else body)
                self.close_connection = broken

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def etag(file: Path) -> str:
    """Of a file's content."""
    return hashlib.sha1(file.read_bytes()).hexdigest()

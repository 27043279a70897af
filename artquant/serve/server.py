"""Listening, and stopping: what was accepted is finished first."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from artquant.errors import ArtQuantError, one_line, visible
from artquant.serve.app import create_app
from artquant.serve.service import Service
from artquant.serve.settings import Chosen, Settings

_IDLE = 30  # seconds that a connection may wait for its next request
_HEADERS = 10.0  # seconds in which a request's headers must have come, or what is left of one that was refused
_CUT_OFF = 3  # seconds for what is still not finished when draining ends


class _Impatient(H11Protocol):
    """Closes connections on which no request is being answered and whose next does not come."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch(waits=True)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch(waits=self.cycle is None or self.cycle.response_complete)

    def on_response_complete(self) -> None:
        sending = self.cycle.more_body
        super().on_response_complete()
        if sending:  # it was refused before its body had come
            self._watch(waits=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch(waits=False)
        super().connection_lost(exc)

    def _watch(self, waits: bool) -> None:
        if waits and self._timer is None:
            self._timer = self.loop.call_later(_HEADERS, self.transport.close)
        elif not waits and self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Server(uvicorn.Server):
    """Serves until it is told to stop or has nothing to serve."""

    def __init__(self, service: Service, host: str = "127.0.0.1", port: int = 0):
        limits = service.settings.limits
        super().__init__(
            uvicorn.Config(
                create_app(service),
                host,
                port,
                http=_Impatient,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=limits.connections,
                timeout_keep_alive=_IDLE,
                timeout_graceful_shutdown=_CUT_OFF,
            )
        )
        self.service = service
        self._until = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets what was accepted be finished; the second ends at once."""
        if self.service.draining:
            self.should_exit = self.force_exit = True
        self.drain()

    def drain(self) -> None:
        """Take nothing new, finish what was accepted, end."""
        if not self.service.draining:
            self.service.draining = True
            self._until = time.monotonic() + self.service.settings.limits.draining

    async def on_tick(self, counter: int) -> bool:
        """Whether it is to end; asked ten times a second."""
        finished = self.service.draining and (not self.service.requests or time.monotonic() > self._until)
        return await super().on_tick(counter) or finished or bool(self.service.failure)


def listening(host: str, port: int) -> socket.socket:
    """A socket that clients can connect to. Raises ArtQuantError: the port is taken, or there is no such host."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(2048)
    except (OSError, UnicodeError) as error:  # the second: of a name that can be no host's
        advice = "name another --host or --port"
        reason = (error.strerror or error) if isinstance(error, OSError) else "no name of a host"
        raise ArtQuantError(f"{visible(host)[:100]}:{port}: {one_line(reason)}; {advice}") from None
    return made


def serve(chosen: Chosen, devices: Sequence[str], settings: Settings, sockets: list[socket.socket]) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ArtQuantError: the model cannot be loaded, or its processes end again and again.
    """

    async def run() -> str:
        service = Service(chosen, devices, settings)
        await Server(service).serve(sockets)
        return service.failure

    failure = asyncio.run(run())
    if failure:
        raise ArtQuantError(failure)

"""What every request passes: token, draining, counting, and what every answer says of its model."""

from __future__ import annotations

import hmac
import logging
import time
from urllib.parse import quote

from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from artquant.errors import one_line
from artquant.serve.refusals import Refused
from artquant.serve.service import Service
from artquant.serve.settings import Identity

logger = logging.getLogger(__name__)

_OPEN = frozenset({"/v1/health", "/v1/ready", "/health", "/ready"})  # asked by what keeps services running
_PAGE = ("/", "/favicon.ico")  # people's page, which asks for the token itself
_PAGE_FILES = "/static/"


class Gate:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, service: Service):
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls an application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, seen = time.monotonic(), _Seen(send, self._service)
        self._service.requests += 1
        try:
            refused = self._refusal(scope)
            if refused is None:
                await self._app(scope, receive, seen.send)
            else:
                await refusal_response(refused)(scope, receive, seen.send)
        except Exception as error:
            logger.exception("a request failed: %s", one_line(error))
            if not seen.status:
                failed = Refused(500, "failed", "the server made a mistake, which its log describes")
                await refusal_response(failed)(scope, receive, seen.send)
        finally:
            self._service.requests -= 1
            self._service.metrics.answered(_route(scope), seen.status, time.monotonic() - began)

    def _refusal(self, scope: Scope) -> Refused | None:
        path = scope["path"]
        if path in _OPEN:
            return None
        if self._service.draining:
            return Refused(503, "busy", "the server is being stopped; send the request again later", after=5)
        if _from_elsewhere(scope):
            return Refused(403, "unauthorised", "a page of another site sent this; use this server's own page")
        is_page = scope["method"] in ("GET", "HEAD") and (path in _PAGE or path.startswith(_PAGE_FILES))
        if is_page or _bears(scope, self._service.settings.token):
            return None
        return Refused(401, "unauthorised", "the token is missing or wrong; send it as Authorization: Bearer TOKEN")


class _Seen:
    """Notes an answer's status, and says in its headers which model it is of."""

    def __init__(self, send: Send, service: Service):
        self._send, self._service, self.status = send, service, 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            facts = self._service.known
            known = [] if facts is None else _headers(facts.identity)
            message = {**message, "headers": [*message.get("headers", ()), *known]}
        await self._send(message)


def _headers(identity: Identity) -> list[tuple[bytes, bytes]]:
    names = [*((f"x-artquant-{name}", value) for name, value in vars(identity).items() if name != "name")]
    said = [("x-artquant-model", identity.name), *names, ("x-content-type-options", "nosniff")]
    return [(name.encode(), quote(value).encode()) for name, value in said]


def _from_elsewhere(scope: Scope) -> bool:
    """Whether a browser sends it for another site's page, as only browsers say: its user did not mean to.

    Browsers ask no leave for forms and texts; what changes nothing they may load.
    """
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return False
    headers = dict(scope["headers"])
    if (site := headers.get(b"sec-fetch-site")) is not None:
        return site not in (b"same-origin", b"none")
    origin = headers.get(b"origin")
    return origin is not None and origin.partition(b"://")[2] != headers.get(b"host")


def _bears(scope: Scope, token: str | None) -> bool:
    """Whether a request bears the token; told in a time that says nothing of where it differs."""
    if token is None:
        return True
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    scheme, _, rest = given.partition(b" ")
    return hmac.compare_digest(rest.strip(), token.encode()) and scheme.lower() == b"bearer"


def _route(scope: Scope) -> str:
    """As the application names it: what clients write could be anything."""
    route = scope.get("route")
    return route.path if isinstance(route, Route) else "other"


def refusal_response(refused: Refused) -> JSONResponse:
    """As our own routes say it."""
    headers = refused.headers
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = {"error": {"code": refused.code, "message": refused.message}}
    return JSONResponse(body, refused.status, headers)

"""The application: our own routes, and those of `foreign` and `chat`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from artquant import __version__
from artquant.serve import chat, foreign
from artquant.serve.answers import (
    ErrorAnswer,
    Health,
    Model,
    ModelAnswer,
    PictureSent,
    PicturesSent,
    RewardAnswer,
    RewardsAsked,
    ScoreAnswer,
    picture_result,
    reward_values,
)
from artquant.serve.documentation import documentation
from artquant.serve.gate import Gate, refusal_response
from artquant.serve.messages import Done
from artquant.serve.metrics import MEDIA_TYPE
from artquant.serve.refusals import Refused, bad
from artquant.serve.service import Service
from artquant.serve.uploads import Upload, from_base64, from_paths, media_type, read_form, read_json

_PAGE = Path(__file__).parent / "page"
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer} for status in (400, 401, 403, 408, 409, 413, 415, 422, 429, 503)
}


def create_app(service: Service) -> FastAPI:
    """The application around a service, which ends with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.end()

    app = FastAPI(
        title="artquant", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.add_middleware(Gate, service=service)
    for routes in (_state, _scores, _descriptions, foreign.routes, chat.routes):
        app.include_router(routes(service))
    _add_pages(app)
    _add_refusals(app)
    return app


def _takes(kind: type[BaseModel], field: str | None = None) -> dict[str, Any]:
    """What the documentation says of a body that is read by hand; field: of a form."""
    content: dict[str, Any] = {"application/json": {"schema": kind.model_json_schema()}}
    if field is not None:
        files = {"type": "array", "items": {"type": "string", "format": "binary"}}
        content["multipart/form-data"] = {"schema": {"type": "object", "properties": {field: files}}}
    return {"requestBody": {"required": True, "content": content}}


def _state(service: Service) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/health")
    @router.get("/health", include_in_schema=False)
    async def health() -> Health:
        """Whether the server loads, serves or is being stopped, and how many pictures wait."""
        return Health(status=service.status, queue=service.waiting)

    @router.get("/v1/ready", responses=_ERRORS)
    @router.get("/ready", include_in_schema=False)
    async def ready() -> Health:
        """200 once pictures are scored, else 503."""
        if service.status == "draining":
            raise Refused(503, "busy", "the server is being stopped", after=5)
        service.facts()
        return await health()

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """Counters in Prometheus' form."""
        text = service.metrics.text(service.waiting, service.describing, service.status == "ready")
        return PlainTextResponse(text, media_type=MEDIA_TYPE)

    @router.get("/v1/model", responses=_ERRORS)
    async def model() -> ModelAnswer:
        """What is served: scale, attributes, what it can, where it comes from."""
        return ModelAnswer.about(service.facts())

    return router


async def _sent(service: Service, sent: PicturesSent) -> list[Upload]:
    """Pictures of a JSON body."""
    limits = service.settings.limits
    if (sent.images is None) == (sent.paths is None):
        raise bad("send either images (base64) or paths")
    if sent.paths is not None:
        return await asyncio.to_thread(from_paths, sent.paths, service.settings.root, limits, sent.ids)
    return from_base64(sent.images or [], limits, sent.ids)


def _scores(service: Service) -> APIRouter:
    router, limits = APIRouter(), service.settings.limits

    @router.post("/v1/score", responses=_ERRORS, openapi_extra=_takes(PicturesSent, "images"))
    async def score(request: Request, attributes: bool = False, unit: bool = False) -> ScoreAnswer:
        """Scores of 1 to 64 pictures, in order; a picture that cannot be read has an error instead."""
        facts = service.facts("score")
        async with service.bodies.read(request) as body:
            if media_type(request) == "multipart/form-data":
                uploads = await read_form(request, body, "images", limits)
            else:
                uploads = await _sent(service, await read_json(request, body, PicturesSent))
            outcomes = await service.score(uploads, attributes)
        results = [picture_result(*each, facts, unit) for each in zip(uploads, outcomes, strict=True)]
        return ScoreAnswer(results=results, model=Model.of(facts.identity))

    @router.post("/v1/reward", responses=_ERRORS, openapi_extra=_takes(RewardsAsked))
    async def reward(request: Request) -> RewardAnswer:
        """Scores as plain numbers, 0 to 1 unless `unit` is false; every picture must be readable."""
        facts = service.facts("score")
        async with service.bodies.read(request) as body:
            asked = await read_json(request, body, RewardsAsked)
            uploads = await _sent(service, asked)
            outcomes = await service.score(uploads)
        low, high = (facts.low, facts.high) if asked.unit else (0.0, 1.0)
        return RewardAnswer(scores=reward_values(outcomes, uploads, low, high), model=Model.of(facts.identity))

    return router


def _descriptions(service: Service) -> APIRouter:
    router, limits = APIRouter(), service.settings.limits

    @router.post(
        "/v1/describe",
        response_class=StreamingResponse,
        responses=_ERRORS | {200: {"content": {"text/event-stream": {}}}},
        openapi_extra=_takes(PictureSent, "image"),
    )
    async def describe(request: Request, level: int | None = None) -> StreamingResponse:
        """A description of one picture as server-sent events `text`, then `done` (or `error`).

        It is no longer written when the client goes away. Level: default is the fullest.
        """
        facts = service.facts("describe")
        level = facts.levels[-1] if level is None else level
        async with service.bodies.read(request) as body:
            if media_type(request) == "multipart/form-data":
                uploads = await read_form(request, body, "image", limits)
            else:
                uploads = from_base64([(await read_json(request, body, PictureSent)).image], limits)
            if len(uploads) > 1:
                raise bad("send one picture at a time")
            image = await service.image(uploads[0])
        texts, model = service.describe(image, level), Model.of(facts.identity).model_dump()

        async def events() -> AsyncIterator[str]:
            try:
                async for said in texts:
                    if isinstance(said, Done):
                        yield _event("done", level=level, text=said.text, model=model)
                    else:
                        yield _event("text", level=level, text=said.text)
            except Refused as refused:
                yield _event("error", code=refused.code, message=refused.message)

        return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return router


def _event(kind: str, **data: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


def _add_pages(app: FastAPI) -> None:
    """People's page and the documentation: nothing in them comes from elsewhere."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(documentation(app.openapi()))

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        if not (_PAGE / "index.html").is_file():
            raise Refused(404, "bad_request", "this installation has no page; /docs says what else there is")
        # The rest of its policy stands in the page itself, which cannot say this.
        return FileResponse(_PAGE / "index.html", headers={"Content-Security-Policy": "frame-ancestors 'none'"})

    if _PAGE.is_dir():
        app.mount("/static", StaticFiles(directory=_PAGE))


def _add_refusals(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return refusal_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(one) for one in first["loc"])
        return refusal_response(bad(f"{place}: {first['msg']}", 422))

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> JSONResponse:
        return refusal_response(bad(f"{error.detail}; /docs says what there is", error.status_code))

"""OpenAI's chat route, for clients that ask a chat model for a score or a description."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from artquant.serve.messages import Done
from artquant.serve.refusals import Refused, bad
from artquant.serve.service import Service
from artquant.serve.uploads import Upload, from_base64, read_json

_DESCRIBING = ":describe"  # behind the model's name: a description before the score
_DATA = "data:"


class _Url(BaseModel):
    url: str


class _TextPart(BaseModel):
    type: Literal["text"]
    text: str


class _PicturePart(BaseModel):
    type: Literal["image_url"]
    image_url: _Url


class _Message(BaseModel):
    role: str
    content: str | list[Annotated[_TextPart | _PicturePart, Field(discriminator="type")]] | None = None

    def pictures(self) -> list[str]:
        """Their URLs."""
        parts = self.content if isinstance(self.content, list) else []
        return [part.image_url.url for part in parts if isinstance(part, _PicturePart)]


class _Chat(BaseModel):
    """A request; other fields are taken and do nothing: the question is always the model's own."""

    messages: Annotated[list[_Message], Field(min_length=1)]
    model: str = ""
    stream: bool = False

    def picture(self) -> str:
        """The one picture, as a data URL. Raises Refused: there is none, there are several, or it lies elsewhere."""
        urls = [url for message in self.messages for url in message.pictures()]
        if len(urls) != 1:
            raise bad(f"the messages hold {len(urls)} pictures; send one as an image_url part")
        if not urls[0].startswith(_DATA):
            raise bad("no URL is fetched; send the picture as a data URL (data:image/png;base64,...)")
        return urls[0]


def routes(service: Service) -> APIRouter:
    """Routes of OpenAI's form."""
    router = APIRouter()

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The model, and with `:describe` behind its name: asked for a description before the score."""
        facts = service.facts()
        names = [facts.identity.name, *([facts.identity.name + _DESCRIBING] if facts.levels else [])]
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "artquant"} for name in names]
        return {"object": "list", "data": listed}

    @router.post("/v1/chat/completions", response_class=JSONResponse)
    async def completions(request: Request) -> Response:
        """One picture as a data URL: its score, behind a description where the model's name ends in `:describe`."""
        facts = service.facts("score")
        async with service.bodies.read(request) as body:
            asked = await read_json(request, body, _Chat)
            [upload] = from_base64([asked.picture()], service.settings.limits)
            describing = asked.model.endswith(_DESCRIBING)
            if describing:
                service.facts("describe")
            said = f"Final Score: {await _score(service, upload):.4f}"
            level = facts.levels[-1] if describing else None
            pieces = _pieces(service, upload, level, said)
            about = {
                "id": f"chatcmpl-{secrets.token_hex(8)}",
                "created": int(time.time()),
                "model": facts.identity.name,
            }
            if asked.stream:
                return StreamingResponse(_streamed(pieces, about), media_type="text/event-stream")
            return _whole("".join([piece async for piece in pieces]), about)

    return router


async def _score(service: Service, upload: Upload) -> float:
    [outcome] = await service.score([upload])
    if isinstance(outcome, Refused):
        raise outcome
    return outcome.prediction.score


async def _pieces(service: Service, upload: Upload, level: int | None, score: str) -> AsyncIterator[str]:
    """A description piece by piece, if one is wanted, and the score."""
    if level is not None:
        async for said in service.describe(await service.image(upload), level):
            yield "\n\n" if isinstance(said, Done) else said.text
    yield score


def _whole(text: str, about: dict[str, Any]) -> JSONResponse:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}  # nothing is paid for
    return JSONResponse({"object": "chat.completion", **about, "choices": [choice], "usage": usage})


async def _streamed(pieces: AsyncIterator[str], about: dict[str, Any]) -> AsyncIterator[str]:
    def chunk(delta: dict[str, str], ended: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": ended}
        return f"data: {json.dumps({'object': 'chat.completion.chunk', **about, 'choices': [choice]})}\n\n"

    try:
        async for piece in pieces:
            yield chunk({"role": "assistant", "content": piece})
        yield chunk({}, "stop")
    except Refused as refused:
        yield f"data: {json.dumps({'error': {'code': refused.code, 'message': refused.message}})}\n\n"
    yield "data: [DONE]\n\n"

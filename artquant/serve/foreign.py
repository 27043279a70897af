"""The wire formats of clients in use, each on a route of its own: they get our scores without a change.

Scores are 0 to 1 unless a format says otherwise; `?unit=false` gives them on the model's scale.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from artquant.serve.answers import reward_values
from artquant.serve.messages import Done, Judged
from artquant.serve.pickles import read_pickle, write_pickle
from artquant.serve.refusals import Refused, bad
from artquant.serve.service import Service
from artquant.serve.settings import Facts
from artquant.serve.uploads import Upload, from_base64, from_bytes, read_form, read_json

_PICKLE = "application/octet-stream"
_DECIMALS = 4  # of ROC4MLLM's service, as published
_WHOLE = "aesthetic"  # what the whole picture's score is called among rewards


def routes(service: Service) -> APIRouter:
    """Routes of all formats."""
    router = APIRouter()
    _add_pickles(router, service)
    for add in (_add_unirl, _add_flow_factory, _add_roc4mllm):
        add(router, service)
    return router


def _range(facts: Facts, unit: bool) -> tuple[float, float]:
    return (facts.low, facts.high) if unit else (0.0, 1.0)


def _add_pickles(router: APIRouter, service: Service) -> None:
    async def answered(request: Request, name: str, of: Callable[[Facts], tuple[float, float]]) -> Response:
        try:
            facts = service.facts("score")
            async with service.bodies.read(request) as body:
                sent = await asyncio.to_thread(read_pickle, body)
                uploads = from_bytes(sent.get("images"), service.settings.limits)
                values = reward_values(await service.score(uploads), uploads, *of(facts))
        except Refused as refused:
            return Response(write_pickle({"error": refused.message}), refused.status, refused.headers, _PICKLE)
        return Response(write_pickle({name: values}), media_type=_PICKLE)

    @router.post("/", response_class=Response)
    async def deqa(request: Request, unit: bool = True) -> Response:
        """flow_grpo's slot for DeQA: pickled `{"images": [bytes]}` to `{"outputs": [float]}`, score / highest score."""
        return await answered(request, "outputs", lambda facts: (0.0, facts.high if unit else 1.0))

    @router.post("/verl", response_class=Response)
    async def verl(request: Request, unit: bool = True) -> Response:
        """verl-omni: pickled `{"images": [bytes], "prompts": [str], "metadata": {}}` to `{"scores": [float]}`."""
        return await answered(request, "scores", lambda facts: _range(facts, unit))


class _Turn(BaseModel):
    text: str | None = None
    image_b64: str | None = None


class _Wanted(BaseModel):
    history: list[_Turn]
    required_rewards: list[str] = []
    metadata: Any = None

    def picture(self) -> str | None:
        """The last that was made."""
        return next((turn.image_b64 for turn in reversed(self.history) if turn.image_b64), None)


class _UniRL(BaseModel):
    requests: Annotated[list[_Wanted], Field(min_length=1)]


def _add_unirl(router: APIRouter, service: Service) -> None:
    @router.get("/rewards")
    async def rewards() -> dict[str, list[str]]:
        """UniRL: names of the rewards that there are."""
        return {"rewards": [_WHOLE, *service.facts("score").attributes]}

    @router.post("/score")
    async def score(request: Request, unit: bool = True) -> dict[str, list[Any]]:
        """UniRL: of each request the rewards that it requires; what fails has an error and no reward."""
        facts = service.facts("score")
        known = (_WHOLE, *facts.attributes)
        async with service.bodies.read(request) as body:
            asked = (await read_json(request, body, _UniRL)).requests
            uploads = from_base64([one.picture() or "" for one in asked], service.settings.limits)
            several = any(name in facts.attributes for one in asked for name in one.required_rewards)
            outcomes = await service.score(uploads, several)
        results, errors = list[dict[str, Any]](), list[str | None]()
        for one, outcome in zip(asked, outcomes, strict=True):
            names = one.required_rewards or [_WHOLE]
            strange = [name for name in names if name not in known]
            if isinstance(outcome, Refused) or strange:
                said = (
                    f"there is no reward {strange[0][:60]!r}; there are {', '.join(known)}" if strange else str(outcome)
                )
                results.append({})
                errors.append(said)
            else:
                results.append({name: {"score": _named(outcome, name, _range(facts, unit))} for name in names})
                errors.append(None)
        return {"results": results, "errors": errors}


def _named(judged: Judged, name: str, of: tuple[float, float]) -> float:
    one = judged.prediction if name == _WHOLE else judged.prediction.attributes[name]
    return (one.score - of[0]) / (of[1] - of[0])


class _FlowFactory(BaseModel):
    image: list[str]
    prompt: list[Any] | None = None


def _add_flow_factory(router: APIRouter, service: Service) -> None:
    @router.post("/compute")
    async def compute(request: Request, unit: bool = True) -> dict[str, list[float]]:
        """Flow-Factory: `{"prompt": [...], "image": [base64]}` to `{"rewards": [float]}`."""
        facts = service.facts("score")
        async with service.bodies.read(request) as body:
            asked = await read_json(request, body, _FlowFactory)
            uploads = from_base64(asked.image, service.settings.limits)
            return {"rewards": reward_values(await service.score(uploads), uploads, *_range(facts, unit))}


def _add_roc4mllm(router: APIRouter, service: Service) -> None:
    @router.post("/api/roc4mllm")
    async def roc4mllm(request: Request) -> JSONResponse:
        """ROC4MLLM's service: form field `file` to `{"score": number, "comment": text}`, on the model's scale."""
        try:
            facts = service.facts("score")
            async with service.bodies.read(request) as body:
                uploads = await read_form(request, body, "file", service.settings.limits)
                if len(uploads) > 1:
                    raise bad("send one picture at a time")
                score, comment = await _commented(service, facts, uploads[0])
        except Refused as refused:
            return JSONResponse({"error": refused.message}, refused.status, refused.headers)
        return JSONResponse({"score": round(score, _DECIMALS), "comment": comment})


async def _commented(service: Service, facts: Facts, upload: Upload) -> tuple[float, str]:
    """Score and text: of models whose answers hold scores the answer, of others score and description, if they can."""
    if facts.several:
        said = await written(service, upload, None)
        if said.score is not None:
            return said.score, said.text
    [outcome] = await service.score([upload])
    if isinstance(outcome, Refused):
        raise outcome
    text = (await written(service, upload, facts.levels[-1])).text if facts.levels else ""
    return outcome.prediction.score, text


async def written(service: Service, upload: Upload, level: int | None) -> Done:
    """A whole text about a picture. Raises Refused: the picture cannot be read, or there is none."""
    texts = service.describe(await service.image(upload), level)
    done = [said async for said in texts if isinstance(said, Done)]
    return done[-1]

"""Ollama's endpoints, for its clients; served where the setting `gateway.ollama` is on. Models are the workers'."""

import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import JSONResponse

from pandagpt_core.types import ModelInfo
from service.gateway.access.auth import Access, Caller, Scope, public
from service.gateway.inference.embedding.answering import EmbedQuestion
from service.gateway.inference.embedding.embedder import Embedded
from service.gateway.inference.embedding.inputs import check_inputs, read_inputs
from service.gateway.inference.parsing.json_body import read_json_body
from service.gateway.inference.parsing.ollama_body import chat_request, ollama_request
from service.gateway.media.text_windows import Cut
from service.gateway.schema.content_parts import TextPart
from service.gateway.schema.ollama import models
from service.gateway.schema.ollama.bodies import OllamaChat, OllamaEmbed, OllamaGenerate, OllamaShow
from service.gateway.state import gateway_of

router = APIRouter(include_in_schema=False)
_User = Annotated[Caller, Depends(Access(Scope.INFER))]
_Embedder = Annotated[Caller, Depends(Access(Scope.EMBED))]
_Reader = Annotated[Caller, Depends(Access(Scope.MODELS))]


@router.post("/api/chat", response_model=None)
async def chat(request: Request, caller: _User) -> Response:
    """Answer messages, in lines of JSON unless `stream` is false."""
    gateway = gateway_of(request)
    async with AsyncExitStack() as lease:
        await lease.enter_async_context(gateway.lease(request, caller.tenant))
        body = await read_json_body(request, OllamaChat)
        if not body.messages:
            info = await gateway.requests.model(body.model)
            return JSONResponse({**_loaded(info), "message": {"role": "assistant", "content": ""}})
        wanted = await chat_request(body, gateway.sources_of(caller.tenant), gateway.limits)
        return await gateway.responder.respond(request, caller, wanted, None, lease)


@router.post("/api/generate", response_model=None)
async def generate(request: Request, caller: _User) -> Response:
    """Answer a prompt, in lines of JSON unless `stream` is false."""
    gateway = gateway_of(request)
    async with AsyncExitStack() as lease:
        await lease.enter_async_context(gateway.lease(request, caller.tenant))
        body = await read_json_body(request, OllamaGenerate)
        if not body.prompt and not body.images:
            return JSONResponse({**_loaded(await gateway.requests.model(body.model)), "response": ""})
        wanted = await ollama_request(body, gateway.sources_of(caller.tenant), gateway.limits)
        return await gateway.responder.respond(request, caller, wanted, None, lease)


@router.post("/api/embed", response_model=None)
async def embed(request: Request, caller: _Embedder) -> Response:
    """Unit vectors of texts."""
    gateway, begun = gateway_of(request), time.perf_counter_ns()
    async with gateway.lease(request, caller.tenant):
        body = await read_json_body(request, OllamaEmbed)
        texts = [body.input] if isinstance(body.input, str) else body.input
        parts = [TextPart(type="text", text=text) for text in texts]
        check_inputs(parts, gateway.limits, "input")
        inputs = await read_inputs(parts, "input", gateway.sources_of(caller.tenant))

        def answer(found: Embedded, model: str) -> dict[str, Any]:
            return {
                "model": model,
                "embeddings": [vector.tolist() for vector in found.vectors],
                "total_duration": time.perf_counter_ns() - begun,
                "load_duration": 0,
                "prompt_eval_count": found.tokens,
            }

        cut: Cut = "end" if body.truncate else "none"
        ignored = tuple(body.model_extra or ())
        wanted = EmbedQuestion(inputs, answer, body.model, cut, body.dimensions, ignored=ignored)
        return await gateway.embedding.respond(request, caller, wanted)


@router.get("/api/tags", response_model=None)
async def tags(request: Request, _caller: _Reader) -> dict[str, Any]:
    """The models that answer."""
    return {"models": [models.listed(info) for info in (await gateway_of(request).requests.models()).values()]}


@router.get("/api/ps", response_model=None)
async def running(request: Request, _caller: _Reader) -> dict[str, Any]:
    """The same: a model that is served is loaded."""
    return {"models": [models.running(info) for info in (await gateway_of(request).requests.models()).values()]}


@router.post("/api/show", response_model=None)
async def show(request: Request, _caller: _Reader) -> dict[str, Any]:
    """One model, and its capabilities."""
    body = await read_json_body(request, OllamaShow)
    return models.shown(await gateway_of(request).requests.model(body.model))


@router.get("/api/version", response_model=None, dependencies=[Depends(public)])
async def get_version() -> dict[str, str]:
    """The version of Ollama whose interface this follows."""
    return {"version": models.VERSION}


def _loaded(info: ModelInfo) -> dict[str, Any]:
    """The answer to a request without a question, by which clients load a model."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"model": info.id, "created_at": now, "done": True, "done_reason": "load"}

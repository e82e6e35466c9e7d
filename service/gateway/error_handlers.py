"""Errors as answers: one handler a kind of exception, each in the shape of every other refusal."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

from pandagpt_core.errors import PandaGPTError
from service.broker.errors import BrokerError, StoreUnavailable
from service.gateway.errors import GatewayError, error_response, from_core, invalid_request
from service.gateway.middleware import CLIENT_CLOSED_REQUEST, with_head
from service.gateway.observation import note_failure
from service.gateway.routes import routers
from service.gateway.streaming.event_stream import ClientDisconnected
from service.gateway.streaming.ollama_lines import refusal

log = logging.getLogger(__name__)


# Endpoints of other servers that this service does not have, with the missing part. No route of their own: any method
# and any path below a prefix gets the same 404.
NOT_OFFERED: Mapping[str, str] = MappingProxyType(
    {
        "/v1/moderations": "moderations",
        "/v1/uploads": "uploads in parts: POST /v1/files takes a file whole",
        "/v1/fine_tuning": "fine-tuning: `pandagpt train` does it offline",
        "/v1/fine-tunes": "fine-tuning: `pandagpt train` does it offline",
        "/v1/images": "images as answers: models here read images and write text",
        "/v1/videos": "videos as answers: models here read videos and write text",
        "/v1/assistants": "assistants: POST /v1/responses keeps a conversation",
        "/v1/threads": "threads: POST /v1/responses keeps a conversation",
        "/v1/conversations": "conversations: previous_response_id of POST /v1/responses goes on with one",
        "/v1/vector_stores": "vector stores: POST /v1/embeddings gives the vectors to keep elsewhere",
        "/v1/audio/speech": "speech as an answer: models here read sound and write text",
        "/v1/realtime": "the realtime interface: streams are server-sent events",
        "/v1/evals": "evals: `pandagpt eval` measures a model",
        "/v1/containers": "containers",
        "/v1/organization": "administration of organizations",
    }
)


async def _gateway_error(request: Request, error: GatewayError) -> Response:
    note_failure(request.scope, error)
    refused = error_response(error)
    return refusal(error, refused) if request.url.path.startswith("/api/") else refused


def log_fields(error: BrokerError) -> dict[str, str]:
    return {"code": error.code, "reason": error.reason}


async def _core_error(request: Request, error: PandaGPTError) -> Response:
    if isinstance(error, StoreUnavailable):
        log.warning("the store failed a request", extra=log_fields(error))
    return await _gateway_error(request, from_core(error))


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    return await _gateway_error(request, invalid_request(error.errors(), skip=1))


async def _http_error(request: Request, raised: HTTPException) -> Response:
    if raised.status_code == 405:
        error = GatewayError("method_not_allowed", "This endpoint does not take this method.")
        refusal = await _gateway_error(request, error)
        refusal.headers["allow"] = ", ".join(_methods(request))
        return refusal
    if raised.status_code == 404:
        words = _not_offered(request.url.path) or "There is no such endpoint."
        return await _gateway_error(request, GatewayError("not_found", words))
    return await _gateway_error(request, GatewayError("invalid_request", "The request cannot be read."))


def _not_offered(path: str) -> str | None:
    """The message for a path that other servers have, None for any other."""
    found = next((prefix for prefix in NOT_OFFERED if path == prefix or path.startswith(f"{prefix}/")), None)
    return None if found is None else f"{found} is not offered. This service has no {NOT_OFFERED[found]}."


def _methods(request: Request) -> list[str]:
    """The methods of a path (RFC 9110, section 15.5.6), over all its routes."""
    known = routers(with_ollama=True)
    routes = [route for router in known for route in router.routes if isinstance(route, APIRoute)]
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in here for method in with_head(set(route.methods or ()))})


async def _client_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    GatewayError: _gateway_error,
    PandaGPTError: _core_error,
    RequestValidationError: _validation_error,
    HTTPException: _http_error,
    ClientDisconnected: _client_gone,
    ClientDisconnect: _client_gone,
}

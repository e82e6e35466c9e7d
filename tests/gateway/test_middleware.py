"""The bounds on a request's head and body, and what every answer carries, on a plain ASGI application."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from service.gateway.errors import GatewayError, error_response
from service.gateway.middleware import BodyLimitMiddleware, BodyLimits, RequestContextMiddleware
from service.metrics import GatewayMetrics
from service.tracing import NoTracer

LIMITS = BodyLimits(max_header_bytes=500, max_body_bytes=1000, body_timeout_s=0.1)


async def size_of_body(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        body = await Request(scope, receive).body()
    except GatewayError as error:
        await error_response(error)(scope, receive, send)
        return
    await PlainTextResponse(str(len(body)))(scope, receive, send)


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("a secret")


def client(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def post(content: bytes | AsyncIterator[bytes], **headers: str) -> httpx.Response:
    async with client(BodyLimitMiddleware(size_of_body, LIMITS)) as http:
        return await http.post("/", content=content, headers=headers)


async def pieces(count: int, pause: float = 0.0) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(100)
        await asyncio.sleep(pause)


async def test_a_body_within_its_limit_passes_declared_or_not() -> None:
    assert (await post(bytes(1000))).text == "1000"
    assert (await post(pieces(10))).text == "1000"


@pytest.mark.parametrize("content", [bytes(1001), pieces(11)], ids=["declared", "chunked"])
async def test_a_body_beyond_its_limit_is_refused(content: bytes | AsyncIterator[bytes]) -> None:
    answer = await post(content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert answer.headers["connection"] == "close"


async def test_a_body_that_stops_coming_is_refused() -> None:
    answer = await post(pieces(3, pause=0.2))
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "body_timeout")


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10"])
async def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    assert (await post(b"x", **{"content-length": length})).status_code == 400


async def test_a_head_beyond_its_limit_is_refused() -> None:
    assert (await post(b"", **{"x-long": "x" * 500})).status_code == 431


@pytest.mark.parametrize(("sent", "kept"), [("mine-1", True), ("two words", False), ("x" * 65, False), ("", False)])
async def test_every_answer_has_a_request_id(sent: str, kept: bool) -> None:
    app = RequestContextMiddleware(size_of_body, GatewayMetrics.on(CollectorRegistry()), NoTracer())
    async with client(app) as http:
        answer = await http.post("/", headers={"x-request-id": sent})
    assert (answer.headers["x-request-id"] == sent) is kept
    assert answer.headers["x-request-id"]


async def test_a_fault_of_the_application_is_a_500_without_its_text() -> None:
    async with client(RequestContextMiddleware(broken, GatewayMetrics.on(CollectorRegistry()), NoTracer())) as http:
        answer = await http.get("/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text

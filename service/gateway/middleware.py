"""Plain ASGI around the whole application: a name for every request, and bounds on what a client may send.

`RequestContextMiddleware` is the outermost: `x-request-id` and `x-ratelimit-*` on every answer, one log line a request,
a fixed answer where something of ours broke, and `connection: close` where an answer comes before the body's end.
`BodyLimitMiddleware` bounds head and body: size and time, by declaration and by what really comes.
`HeadMiddleware` offers HEAD wherever GET is (RFC 9110, section 9.3.2): the same status and headers; the server leaves
out the body.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.gateway.charset import UTF_8, named_charset
from service.gateway.errors import GatewayError, error_response
from service.gateway.observation import Observation, new_http_request_id, note_failure
from service.metrics import GatewayMetrics
from service.tracing import AttributeValue, Tracer, valid_traceparent

log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CODINGS = ("gzip", "x-gzip", "deflate", "br", "zstd", "compress")
HEAD_ONLY = "head_only"  # state of a request: true where no body is wanted, so that an endless one need not begin
SEND_BODY = "send_body"  # state of a request: the server's own `send`, for each token of a stream whose head is out
CLIENT_CLOSED_REQUEST = 499  # nginx's status; in logs and metrics only, for no client is left


def _connection_headers(scope: Scope) -> dict[str, str]:
    """`x-ratelimit-*`, where a route has put the request under limits (`GatewayState.lease`), and the end of the
    connection, where the client still sends or this gateway is about to leave: a client or a proxy must not use the
    connection again."""
    limits: Callable[[], dict[str, str]] = scope["state"].get("limits", dict)
    unread: Callable[[], bool] = scope["state"].get("unread", bool)
    gateway = getattr(scope["app"].state, "gateway", None) if "app" in scope else None
    is_last = getattr(gateway, "terminating", False) or unread()
    return {**({"connection": "close"} if is_last else {}), **limits()}


def endpoint_of(scope: Scope) -> str:
    """The route's template, never the raw path."""
    return str(getattr(scope.get("route"), "path", "unknown"))


class RequestContextMiddleware:
    def __init__(self, app: ASGIApp, metrics: GatewayMetrics, tracer: Tracer) -> None:
        self._app, self._metrics, self._tracer = app, metrics, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_http_request_id()
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        received = state.get("received", time.perf_counter())  # `connections/protocol.py` notes it, where it runs
        seen = state["observation"] = Observation(received, request_id=request_id)
        asked = valid_traceparent(Headers(scope=scope).get("traceparent"))
        seen.trace = self._tracer.begin(asked, scope["method"], "server", seen.epoch + received)
        state[SEND_BODY] = send
        status = CLIENT_CLOSED_REQUEST

        async def name_it(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update({"x-request-id": request_id, **_connection_headers(scope)})
            await send(message)

        self._metrics.in_progress.inc()
        try:
            await self._app(scope, receive, name_it)
        except Exception as error:
            log.exception("the request broke", extra={"request_id": request_id, "error": type(error).__name__})
            if status != CLIENT_CLOSED_REQUEST:
                raise  # the head is out; the server cuts the connection
            broken = GatewayError("internal_error", "The server failed to handle the request.")
            seen.fail(broken.code)
            await error_response(broken)(scope, receive, name_it)
        finally:
            state.pop(SEND_BODY, None)  # it leads back here; a ring of references waits for the collector
            self._metrics.in_progress.dec()
            self._account(scope, seen, status)

    def _account(self, scope: Scope, seen: Observation, status: int) -> None:
        endpoint, ended = endpoint_of(scope), time.perf_counter()
        seconds = ended - seen.received
        quiet = endpoint.startswith("/health") or endpoint == "/metrics"
        self._metrics.requests.labels(endpoint, str(status)).inc()
        self._metrics.request_seconds.labels(endpoint).observe(seconds)
        if seen.code is not None and not quiet:
            self._metrics.failures.labels(seen.code, "response" if status >= 400 else "stream").inc()
        if seen.outcome == "done" and seen.model is not None and seen.first_token_s is not None:
            self._metrics.e2e_seconds.labels(seen.model, seen.priority).observe(seconds)
        line = _line(scope, seen, status, seconds)
        log.log(logging.DEBUG if quiet else logging.INFO, "request", extra=line)
        if quiet or not self._tracer.enabled:
            return  # a span that does not end is not sent: probes and scrapes would be most of what is traced
        attributes = _attributes(line)
        if seen.first_token_s is not None:
            seen.phases.append(("relay", seen.received + seen.first_token_s, ended))
        for name, began, end in seen.phases:
            seen.trace.add(name, seen.epoch + began, seen.epoch + end)
        seen.trace.end(f"{scope['method']} {endpoint}", attributes, seen.code)


def _attributes(line: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """The access log's fields under OpenTelemetry's names."""
    return {_SPAN_NAMES[name]: value for name, value in line.items() if name in _SPAN_NAMES}


_SPAN_NAMES = {
    "method": "http.request.method",
    "endpoint": "http.route",
    "status": "http.response.status_code",
    "model": "gen_ai.request.model",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "request_id": "pandagpt.http_request_id",
    "priority": "pandagpt.priority",
    "outcome": "pandagpt.outcome",
    "first_token_s": "pandagpt.first_token_s",
}


def _line(scope: Scope, seen: Observation, status: int, seconds: float) -> dict[str, AttributeValue]:
    """The access log's fields, without those that do not apply."""
    outcome = seen.outcome or ("client_gone" if status == CLIENT_CLOSED_REQUEST else "done")
    fields: dict[str, AttributeValue | None] = {
        "request_id": seen.request_id,
        "trace_id": seen.trace.trace_id,
        "method": scope["method"],
        "endpoint": endpoint_of(scope),
        "status": status,
        "outcome": outcome,
        "code": seen.code,
        "model": seen.model,
        "priority": seen.priority if seen.model else None,
        "prompt_tokens": seen.prompt_tokens if seen.model else None,
        "completion_tokens": seen.completion_tokens if seen.model else None,
        "first_token_s": None if seen.first_token_s is None else round(seen.first_token_s, 4),
        "duration_s": round(seconds, 4),
    }
    return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bytes of head and body; seconds from the first look at the body to its end."""

    max_header_bytes: int = 32 << 10
    max_body_bytes: int = 256 << 20
    body_timeout_s: float = 120.0


class BodyLimitMiddleware:
    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check_head(scope)
        except GatewayError as error:
            note_failure(scope, error)
            await error_response(error)(scope, receive, send)
            return
        await self._app(scope, _bounded(scope, receive, self._limits), send)

    def _check_head(self, scope: Scope) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in scope["headers"]) + len(scope.get("raw_path") or b"")
        size += len(scope["query_string"])
        if size > self._limits.max_header_bytes:
            raise GatewayError(
                "headers_too_large", f"The head has {size} bytes; the limit is {self._limits.max_header_bytes}."
            )
        names = [name for name, _ in scope["headers"]]
        hosts = names.count(b"host")
        if hosts > 1 or (not hosts and scope["http_version"] == "1.1"):  # RFC 9112, section 3.2
            found = "more than one" if hosts else "no"
            raise GatewayError("invalid_request", f"The head has {found} Host.")
        for name, read in (("content-encoding", "identity"), ("transfer-encoding", "chunked")):
            for coding in Headers(scope=scope).getlist(name):
                if coding.strip().lower() != read:
                    named = coding.strip().lower() if coding.strip().lower() in _CODINGS else "unknown"
                    raise GatewayError(
                        "invalid_request", f"The body's {name} ({named}) is not read here; send it plain."
                    )
        kind = Headers(scope=scope).get("content-type", "")
        if "charset" in kind.lower():
            named_charset("The body", kind, UTF_8)
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isascii() or not declared.isdigit():
            raise GatewayError("invalid_request", "content-length is not a number.")
        if int(declared[:20]) > self._limits.max_body_bytes:
            raise _too_large(self._limits)


def _bounded(scope: Scope, receive: Receive, limits: BodyLimits) -> Receive:
    """The same `receive`, which raises `too_large` or `body_timeout` while the body is read."""
    total, ended = 0, False
    deadline: float | None = None

    async def bounded() -> Message:
        nonlocal total, ended, deadline
        if ended:
            return await receive()  # waits for the client to go away
        now = time.monotonic()
        deadline = deadline or now + limits.body_timeout_s
        try:
            async with asyncio.timeout(deadline - now):
                message = await receive()
        except TimeoutError:
            raise GatewayError(
                "body_timeout", f"The body did not arrive within {limits.body_timeout_s:g} seconds."
            ) from None
        total += len(message.get("body", b""))
        if total > limits.max_body_bytes:
            raise _too_large(limits)
        ended = not message.get("more_body", False)
        if ended:
            scope.get("state", {}).pop("unread", None)
        return message

    return bounded


def _too_large(limits: BodyLimits) -> GatewayError:
    return GatewayError(
        "too_large", f"The body is larger than the limit of {limits.max_body_bytes} bytes.", param="body"
    )


def with_head(methods: set[str]) -> set[str]:
    """A route's methods, as callers may use them."""
    return methods | {"HEAD"} if "GET" in methods else methods


def head_only(scope: Scope) -> bool:
    """Whether the caller wants the head alone: then nothing may be begun for the body's sake."""
    return bool(scope.get("state", {}).get(HEAD_ONLY))


class HeadMiddleware:
    """Routes see a GET. Everything around, and the server, sees the HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})[HEAD_ONLY] = True
        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, send)
        finally:
            scope.update({**inner, "method": "HEAD"})  # the route, for logs and metrics

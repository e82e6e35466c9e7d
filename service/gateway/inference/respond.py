"""The answer to a validated request for text, streamed or whole: the one path behind both endpoints."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.broker.errors import Draining
from service.broker.gateway.request_record import RequestRecord
from service.broker.protocol import Event, Failed, Started, Token
from service.gateway.auth import Caller
from service.gateway.inference.idempotency import REPLAYED
from service.gateway.inference.validated import GenerateRequest
from service.gateway.middleware import CLIENT_CLOSED_REQUEST
from service.gateway.observation import TokenMeter, observation_of
from service.gateway.schema.requests import ignored
from service.gateway.state import GatewayState
from service.gateway.streaming.chunks import ChunkFold, FrameFold, ResponseMetadata, WholeFold, failure
from service.gateway.streaming.event_stream import ClientDisconnected, Events, EventStream, until_disconnect


async def respond(
    gateway: GatewayState,
    request: Request,
    caller: Caller,
    wanted: GenerateRequest,
    key: str | None,
    lease: AsyncExitStack,
) -> Response:
    """Submit the request and answer it, or answer by the one that the caller's `Idempotency-Key` stands for.

    `lease` is the caller's share of the rate limits; a stream keeps it to its end.
    """
    gateway.check_accepting()
    service, seen = gateway.requests, observation_of(request.scope)
    info = await service.model(wanted.model)
    seen.model, seen.priority = info.id, wanted.priority
    submitted = await until_disconnect(request.receive, service.generate(wanted, info, caller, key))
    record, metadata = submitted.record, submitted.metadata
    assert metadata is not None, "a request for text has metadata"
    headers = {**ignored(wanted.ignored), **(REPLAYED if submitted.replayed else {})}
    seen.charged = not submitted.replayed
    meter = TokenMeter(seen, gateway.metrics, timed=seen.charged)
    events = meter.watch(service.broker.follow(record, gateway.stream_timeouts.keep_alive_s))
    try:
        if wanted.stream:
            first = await until_disconnect(request.receive, _first_events(events), gateway.leaving)
            return _stream(gateway, record, events, first, metadata, headers, lease.pop_all())
        whole = await until_disconnect(request.receive, _whole(events, metadata), gateway.leaving)
    except ClientDisconnected:
        await service.leave(record)
        await events.aclose()
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    except Draining:
        await service.leave(record)
        await events.aclose()
        raise
    except BaseException:
        await events.aclose()
        raise
    await events.aclose()
    await gateway.limiter.charge(caller.tenant, whole["usage"]["total_tokens"])
    return JSONResponse(whole, headers=headers)


async def _first_events(events: Events) -> list[Event]:
    """Events until the answer begins, or silence. A failure before can still be an HTTP status."""
    first: list[Event] = []
    while came := await anext(events):
        first += came
        for event in came:
            if isinstance(event, Failed):
                raise failure(event)
            if isinstance(event, Started | Token):
                return first
    return first


def _stream(
    gateway: GatewayState,
    record: RequestRecord,
    events: Events,
    first: list[Event],
    metadata: ResponseMetadata,
    headers: Mapping[str, str],
    lease: AsyncExitStack,
) -> EventStream:
    chunks = ChunkFold(metadata)
    leave, hand_over = partial(gateway.requests.leave, record), partial(gateway.requests.hand_over, record)

    async def charge() -> None:
        await gateway.limiter.charge(record.tenant, chunks.started.prompt_tokens + chunks.tokens)

    lease.push_async_callback(charge)
    frames, timeouts = FrameFold(chunks), gateway.stream_timeouts
    return EventStream(events, first, frames, timeouts, leave, hand_over, lease, headers, gateway.leaving)


async def _whole(events: Events, metadata: ResponseMetadata) -> dict[str, Any]:
    fold = WholeFold(metadata)
    while True:
        for event in await anext(events):
            whole = fold.feed(event)
            if whole is not None:
                return whole

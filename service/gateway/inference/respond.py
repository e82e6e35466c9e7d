"""From a validated request to its answer, streamed or whole: the one path behind both doors, chat and generate."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pandagpt_core.options import checked_options
from pandagpt_core.types import ModelInfo
from service.broker.errors import Draining, DuplicateRequest, UnknownRequest
from service.broker.gateway.request_record import RequestRecord
from service.broker.keys import new_request_id
from service.broker.protocol import Event, Failed, Generate, Started, Token, TurnPart
from service.gateway.auth import Caller
from service.gateway.inference.idempotency import REPLAYED, IdempotentRequest, fingerprint_of_request
from service.gateway.inference.validated import GenerateRequest, sampling_params
from service.gateway.media.resolve import check_modalities
from service.gateway.middleware import CLIENT_CLOSED_REQUEST
from service.gateway.observation import TokenMeter, observation_of
from service.gateway.schema.requests import ignored
from service.gateway.state import GatewayState
from service.gateway.streaming.chunks import (
    ChunkFold,
    FrameFold,
    ResponseMetadata,
    WholeFold,
    count_items,
    failure,
    fingerprint_of,
)
from service.gateway.streaming.event_stream import ClientDisconnected, Events, EventStream, until_disconnect


async def respond(
    gateway: GatewayState,
    request: Request,
    caller: Caller,
    ask: GenerateRequest,
    model: str | None,
    key: str | None,
    lease: AsyncExitStack,
) -> Response:
    """Queue the request and answer, or answer by the one that the caller's `key` already stands for.

    `lease` is the caller's share of the limits; a stream keeps it to its end.
    """
    info = await gateway.model(model)
    seen = observation_of(request.scope)
    seen.model, seen.priority = info.id, ask.priority
    check_modalities(ask.media, info)
    checked_options(info.options, ask.sampling.options or {})  # before the idempotency key is claimed
    fresh_id, fingerprint = new_request_id("chatcmpl", info.id), fingerprint_of_request(ask, info.id)
    turn = await gateway.retries.begin(caller.tenant, key, fresh_id, fingerprint)
    record, answer = await until_disconnect(request.receive, enter(gateway, caller, ask, info, turn))
    headers = {**ignored(ask.ignored), **(REPLAYED if turn.again else {})}
    seen.charged = not turn.again
    meter = TokenMeter(seen, gateway.metrics, timed=seen.charged)
    events = meter.watch(gateway.broker.follow(record, gateway.pace.keep_alive_s))
    try:
        if ask.stream:
            first = await until_disconnect(request.receive, _first_word(events), gateway.leaving)
            return _stream(gateway, caller, events, first, answer, headers, lease.pop_all())
        whole = await until_disconnect(request.receive, _whole(events, answer), gateway.leaving)
    except ClientDisconnected:
        await gateway.gone(answer.id, caller.tenant)
        await events.aclose()
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    except Draining:
        await gateway.gone(answer.id, caller.tenant)
        await events.aclose()
        raise
    except BaseException:
        await events.aclose()
        raise
    await events.aclose()
    await gateway.limiter.charge(caller.tenant, whole["usage"]["total_tokens"])
    return JSONResponse(whole, headers=headers)


async def enter(
    gateway: GatewayState, caller: Caller, ask: GenerateRequest, info: ModelInfo, turn: IdempotentRequest
) -> tuple[RequestRecord, ResponseMetadata]:
    """The record and metadata of the request that answers: a new one, or the one that was sent before."""
    if turn.again:
        with suppress(UnknownRequest):
            return await gateway.join(turn.id, caller.tenant)
    try:
        return await submit(gateway, caller, ask, info, turn)
    except DuplicateRequest:
        return await gateway.join(turn.id, caller.tenant)
    except BaseException:
        await asyncio.shield(gateway.retries.give_up(turn))
        raise


async def submit(
    gateway: GatewayState, caller: Caller, ask: GenerateRequest, info: ModelInfo, turn: IdempotentRequest
) -> tuple[RequestRecord, ResponseMetadata]:
    """Decode the media that the store lacks, and queue the request."""
    params = sampling_params(ask.sampling, info, gateway.bounds)
    media = await gateway.intake.resolve(ask.media, info, caller.tenant, ask.priority)
    now = time.time()
    request = Generate(
        id=turn.id,
        model=info.id,
        tenant=caller.tenant,
        created=now,
        deadline=now + gateway.request_timeout_s,
        turns=[TurnPart(role=turn.role, text=turn.text) for turn in ask.turns],
        media=media.refs,
        params=params,
        n=ask.n,
        priority=ask.priority,
        options=checked_options(info.options, ask.sampling.options or {}),
    )
    metadata = ResponseMetadata(
        id=request.id,
        model=info.id,
        created=int(now),
        n=ask.n,
        logprobs=params.logprobs is not None,
        include_usage=ask.include_usage,
        items=count_items([medium.modality for medium in ask.media]),
        fingerprint=fingerprint_of(info),
    )
    grace_s = gateway.grace_s(turn.key is not None)
    record = await gateway.broker.submit(
        request, media.arrays, response=metadata.stored(), grace_s=grace_s, capacity=media.capacity
    )
    return record, metadata


async def _first_word(events: Events) -> list[Event]:
    """Events until one tells how the request begins, or silence. A failure before can still be an HTTP status."""
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
    caller: Caller,
    events: Events,
    first: list[Event],
    answer: ResponseMetadata,
    headers: Mapping[str, str],
    lease: AsyncExitStack,
) -> EventStream:
    chunks = ChunkFold(answer)
    gone, hand_over = partial(gateway.gone, answer.id, caller.tenant), partial(gateway.hand_over, answer.id)

    async def settle() -> None:
        await gateway.limiter.charge(caller.tenant, chunks.started.prompt_tokens + chunks.tokens)

    lease.push_async_callback(settle)
    fold, pace, leaving = FrameFold(chunks), gateway.pace, gateway.leaving
    return EventStream(events, first, fold, pace, gone, hand_over, lease, headers, leaving)


async def _whole(events: Events, answer: ResponseMetadata) -> dict[str, Any]:
    fold = WholeFold(answer)
    while True:
        for event in await anext(events):
            whole = fold.feed(event)
            if whole is not None:
                return whole

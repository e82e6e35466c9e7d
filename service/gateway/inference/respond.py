"""From a validated request to its answer, streamed or whole: the one path behind both doors, chat and generate."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pandagpt_core.types import ModelInfo
from service.broker.errors import Draining, DuplicateRequest
from service.broker.protocol import Event, Failed, Generate, Started, Token, TurnPart
from service.gateway.auth import Caller
from service.gateway.inference.idempotency import REPLAYED, Turn, fingerprint_of_ask
from service.gateway.inference.validated import Ask, sampling_params
from service.gateway.media.resolve import check_modalities
from service.gateway.middleware import CLIENT_GONE
from service.gateway.schema.requests import ignored
from service.gateway.state import House
from service.gateway.streaming.chunks import (
    Answer,
    ChunkFold,
    FrameFold,
    WholeFold,
    count_items,
    failure,
    fingerprint_of,
)
from service.gateway.streaming.event_stream import ClientGone, Events, EventStream, unless_gone


async def respond(
    house: House, request: Request, caller: Caller, ask: Ask, model: str | None, key: str | None, lease: AsyncExitStack
) -> Response:
    """Queue the request and answer, or answer by the one that the caller's `key` already stands for.

    `lease` is the caller's share of the limits; a stream keeps it to its end.
    """
    info = await house.model(model)
    check_modalities(ask.media, info)
    turn = await house.retries.begin(caller.tenant, key, "chatcmpl", fingerprint_of_ask(ask, info.id))
    answer = await unless_gone(request.receive, enter(house, caller, ask, info, turn))
    headers = {**ignored(ask.ignored), **(REPLAYED if turn.again else {})}
    events = house.broker.events(answer.id, caller.tenant, house.pace.keep_alive_s)
    began = time.perf_counter()
    try:
        if ask.stream:
            first = await unless_gone(request.receive, _first_word(events), house.leaving)
            _observe(house, info.id, began)
            return _stream(house, caller, events, first, answer, headers, lease.pop_all())
        whole = await unless_gone(request.receive, _whole(house, events, answer), house.leaving)
    except ClientGone:
        await house.gone(answer.id, caller.tenant)
        await events.aclose()
        return Response(status_code=CLIENT_GONE)
    except Draining:
        await house.gone(answer.id, caller.tenant)
        await events.aclose()
        raise
    except BaseException:
        await events.aclose()
        raise
    await events.aclose()
    await house.limiter.charge(caller.tenant, whole["usage"]["total_tokens"])
    return JSONResponse(whole, headers=headers)


async def enter(house: House, caller: Caller, ask: Ask, info: ModelInfo, turn: Turn) -> Answer:
    """How to fold the events of the request that answers: a new one, or the one that was sent before."""
    if turn.again and await house.knows(turn.id, caller.tenant):
        return await house.joined(turn.id)
    try:
        return await submit(house, caller, ask, info, turn)
    except DuplicateRequest:
        return await house.notes.answer(turn.id)
    except BaseException:
        await asyncio.shield(house.retries.give_up(turn))
        raise


async def submit(house: House, caller: Caller, ask: Ask, info: ModelInfo, turn: Turn) -> Answer:
    """Decode what must be, queue the request, and note how to fold its events."""
    params = sampling_params(ask.sampling, info, house.bounds)
    await house.broker.admissible(info.id, ask.priority)  # before the work of decoding
    media, arrays = await house.intake.settle(ask.media, info, caller.tenant)
    now = time.time()
    request = Generate(
        id=turn.id,
        model=info.id,
        tenant=caller.tenant,
        created=now,
        deadline=now + house.request_timeout_s,
        turns=[TurnPart(role=turn.role, text=turn.text) for turn in ask.turns],
        media=media,
        params=params,
        n=ask.n,
        priority=ask.priority,
    )
    answer = Answer(
        id=request.id,
        model=info.id,
        created=int(now),
        n=ask.n,
        logprobs=params.logprobs is not None,
        include_usage=ask.include_usage,
        items=count_items([medium.modality for medium in ask.media]),
        fingerprint=fingerprint_of(info),
    )
    noted = await house.notes.create(answer, house.grace_s(turn.key is not None))
    await house.broker.submit(request, arrays)
    return noted


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
    house: House,
    caller: Caller,
    events: Events,
    first: list[Event],
    answer: Answer,
    headers: Mapping[str, str],
    lease: AsyncExitStack,
) -> EventStream:
    chunks = ChunkFold(answer)

    async def gone() -> None:
        await house.gone(answer.id, caller.tenant)

    async def settle() -> None:
        house.metrics.tokens.labels(answer.model).inc(chunks.tokens)
        await house.limiter.charge(caller.tenant, chunks.started.prompt_tokens + chunks.tokens)

    lease.push_async_callback(settle)
    return EventStream(events, first, FrameFold(chunks), house.pace, gone, lease, headers, house.leaving)


async def _whole(house: House, events: Events, answer: Answer) -> dict[str, Any]:
    fold, began = WholeFold(answer), time.perf_counter()
    while True:
        for event in await anext(events):
            if isinstance(event, Token) and fold.tokens == 0:
                _observe(house, answer.model, began)
            whole = fold.feed(event)
            if whole is not None:
                house.metrics.tokens.labels(answer.model).inc(fold.tokens)
                return whole


def _observe(house: House, model: str, began: float) -> None:
    house.metrics.first_token_seconds.labels(model).observe(time.perf_counter() - began)

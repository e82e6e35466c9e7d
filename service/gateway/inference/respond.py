"""The answer to a validated request for text, streamed or whole: the one path behind both endpoints."""

import asyncio
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.broker.errors import Draining
from service.broker.gateway.request_record import RequestRecord
from service.broker.protocol import Done, Heard, Started, Token
from service.gateway.access.auth import Caller
from service.gateway.access.rate_limit import UsageMeter
from service.gateway.inference.idempotency import REPLAYED
from service.gateway.inference.service import RequestService, TextRequest
from service.gateway.json_answer import json_answer
from service.gateway.middleware import CLIENT_CLOSED_REQUEST, head_only
from service.gateway.observation import Events, Observation, metered
from service.gateway.streaming.chunks import ResponseMetadata
from service.gateway.streaming.event_stream import (
    ClientDisconnected,
    EventStream,
    StreamTimeouts,
    check_stays,
    first_events,
    until_disconnect,
    watch_connection,
)
from service.gateway.streaming.folds import frames, whole_fold
from service.gateway.streaming.response_events import ResponseState
from service.metrics import GatewayMetrics

MAX_HEADER = 2000  # characters of a header of our own
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Responder:
    """`leaving` is set when this gateway has no more time for running answers."""

    requests: RequestService
    usage: UsageMeter
    metrics: GatewayMetrics
    timeouts: StreamTimeouts
    leaving: asyncio.Event

    async def respond(
        self, request: Request, caller: Caller, wanted: TextRequest, key: str | None, lease: AsyncExitStack
    ) -> Response:
        """Submit the request and answer it, or answer by the one that the caller's `Idempotency-Key` stands for.

        `lease` is the caller's share of the rate limits; a stream keeps it to its end.
        """
        check_stays(self.leaving)
        service, seen = self.requests, caller.seen
        seen.phases.append(("receive", seen.received, time.perf_counter()))
        share = await lease.enter_async_context(lease.pop_all())  # closed at the answer's end, and with `lease` at last
        gone = await lease.enter_async_context(watch_connection(request.receive))
        submitted = await until_disconnect(
            gone, service.answer(wanted, caller, key), late=lambda late: service.leaving.leave(late.record)
        )
        record, metadata = submitted.record, submitted.metadata
        assert metadata is not None, "a request for text has metadata"
        headers = dict(REPLAYED if submitted.replayed else {})
        if wanted.ignored or metadata.warnings:
            headers |= {**ignored(wanted.ignored), **warned(metadata.warnings)}
        seen.charged, seen.submitted = not submitted.replayed, time.perf_counter()
        if submitted.replayed:
            await self.usage.limiter.refund(caller.tenant)
        in_background = bool(metadata.shape.get("background"))
        if in_background and seen.charged:
            service.background.run(self._charge_at_end(record, seen.key_class))
        if in_background and not wanted.stream:
            seen.outcome = "done"
            return await json_answer(ResponseState(metadata).object(), headers)
        leave = partial(service.leaving.leave, record, in_background)
        fold = frames(metadata, ids=metadata.event_ids) if wanted.stream else None
        followed = service.broker.follow(record, self.timeouts.keep_alive_s)
        events = metered(followed, seen, self.metrics, seen.charged, share.aclose)
        if seen.charged and not in_background:
            share.push_async_callback(self._charge, record, seen)
        try:
            if fold is not None:
                first = await until_disconnect(gone, first_events(events), self.leaving, leave)
                hand_over, rest = partial(service.leaving.hand_over, record), lease.pop_all()
                return EventStream(
                    events, gone, first, fold, self.timeouts, leave, hand_over, rest, headers, self.leaving, seen
                )
            whole = await until_disconnect(gone, _whole(events, metadata), self.leaving, leave)
        except ClientDisconnected:
            await events.aclose()
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except Draining:
            leave()
            await events.aclose()
            raise
        except BaseException:
            await events.aclose()
            raise
        await events.aclose()
        return await _response(whole, metadata, headers)

    async def follow(
        self, request: Request, caller: Caller, record: RequestRecord, metadata: ResponseMetadata, after: int
    ) -> EventStream:
        """The stream of a request that exists, beyond the event of that number. Its caller reads it from now on."""
        seen, service = caller.seen, self.requests
        if not head_only(request.scope):  # a reader of the head alone does not leave
            record = await service.leaving.come(record)
        seen.model = record.model
        events = metered(service.broker.follow(record, self.timeouts.keep_alive_s), seen, self.metrics, timed=False)
        leave = partial(service.leaving.leave, record, bool(metadata.shape.get("background")))
        hand_over = partial(service.leaving.hand_over, record)
        fold, lease = frames(metadata, after), AsyncExitStack()
        return EventStream(events, None, None, fold, self.timeouts, leave, hand_over, lease, {}, self.leaving, seen)

    async def _charge(self, record: RequestRecord, seen: Observation) -> None:
        """Charge an answer whose reader has gone. One that has not ended may run on, and be read by another request."""
        if seen.ended:
            read = seen.prompt_tokens + seen.explained_tokens
            await self.usage.charge(record.tenant, seen.key_class, read, seen.completion_tokens)
        else:
            self.requests.background.run(self._charge_at_end(record, seen.key_class))

    async def _charge_at_end(self, record: RequestRecord, key_class: str) -> None:
        """Charge a request that runs on without this reader, at its end."""
        read = made = 0
        try:
            async with aclosing(self.requests.broker.follow(record)) as events:
                async for event in (event async for came in events for event in came):
                    read = event.prompt_tokens if isinstance(event, Started) else read
                    read += event.explained_tokens if isinstance(event, Done) else 0
                    made += event.tokens if isinstance(event, Heard) else isinstance(event, Token)
        finally:  # also where this gateway leaves: the events so far
            await self.usage.charge(record.tenant, key_class, read, made)


def ignored(names: Iterable[str]) -> dict[str, str]:
    """The header that names the parameters that nothing reads. Names that are not plain ones are left out."""
    plain = [name for name in names if _NAME.fullmatch(name)][:32]
    return {"x-ignored-params": ", ".join(plain)} if plain else {}


def warned(warnings: Sequence[str]) -> dict[str, str]:
    """The header that holds the warnings of an answer, in plain ASCII."""
    text = "; ".join(warnings).encode("ascii", "replace").decode()
    return {"x-warnings": text[:MAX_HEADER]} if text else {}


async def _response(whole: dict[str, Any] | str, metadata: ResponseMetadata, headers: Mapping[str, str]) -> Response:
    if not isinstance(whole, str):
        return await json_answer(whole, headers)
    is_vtt = metadata.transcript is not None and metadata.transcript.format == "vtt"
    return Response(whole, media_type="text/vtt" if is_vtt else "text/plain", headers=headers)


async def _whole(events: Events, metadata: ResponseMetadata) -> dict[str, Any] | str:
    fold = whole_fold(metadata)
    while True:
        for event in await anext(events):
            whole = fold.feed(event)
            if whole is not None:
                return whole

"""A request for token ids, or for their text, through the queue to the worker that holds the tokenizer."""

import time
from dataclasses import dataclass

from pandagpt_core.types import ModelInfo, Turn
from service.broker.keys import new_request_id
from service.broker.protocol import Done, Failed, Tokenize, Tokenized, TurnPart
from service.gateway.access.auth import Caller
from service.gateway.errors import GatewayError
from service.gateway.inference.service import RequestService
from service.gateway.streaming.chunks import failure


@dataclass(frozen=True, slots=True)
class TokenizeRequest:
    """A text, turns, or token ids; `special`: with the beginning that text gets."""

    text: str | None = None
    turns: tuple[Turn, ...] = ()
    ids: tuple[int, ...] | None = None
    special: bool = True


async def tokenized(service: RequestService, wanted: TokenizeRequest, info: ModelInfo, caller: Caller) -> Tokenized:
    """The worker's answer. Raises the errors of a full queue, and the worker's."""
    timeout_s = service.options.request_timeout_s
    record = await service.waiting_for_store(  # each try by an id of its own
        lambda: service.broker.submit(_message(wanted, info, caller, timeout_s), weight=caller.weight)
    )
    events = service.broker.follow(record)
    found, ended = Tokenized(), False
    try:
        async for came in events:
            for event in came:
                match event:
                    case Tokenized():
                        found = event
                    case Failed():
                        ended = True
                        raise _named(failure(event), wanted)
                    case Done():
                        ended = True
                        return found
        raise GatewayError("internal_error", "The request ended without an answer.")
    finally:
        if not ended:
            service.leaving.leave(record)
        await events.aclose()


def _named(error: GatewayError, wanted: TokenizeRequest) -> GatewayError:
    """The worker names a prompt; token ids to read stand in the field `tokens`."""
    if wanted.ids is not None and error.param == "prompt":
        error.param = "tokens"
    return error


def _message(wanted: TokenizeRequest, info: ModelInfo, caller: Caller, timeout_s: float) -> Tokenize:
    now = time.time()
    return Tokenize(
        id=new_request_id("tokens", info.id),
        model=info.id,
        tenant=caller.tenant,
        created=now,
        deadline=now + timeout_s,
        turns=[TurnPart(role=turn.role, text=turn.text) for turn in wanted.turns],
        text=wanted.text,
        ids=None if wanted.ids is None else list(wanted.ids),
        special=wanted.special,
        traceparent=caller.seen.trace.traceparent,
        cache_group=caller.cache_group,
        share=caller.share,
    )

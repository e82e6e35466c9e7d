"""Answers read to their end over a failover of the store."""

import asyncio
from contextlib import aclosing

from pandagpt_core.types import SamplingParams
from service.broker.gateway.client import Broker
from service.broker.gateway.patience import bridged
from service.broker.gateway.request_record import RequestRecord
from service.broker.protocol import Event, Generate
from tests.wire import text_of

WITHIN = 60.0  # seconds until a failover is over: more than it takes beside other work
LONG = SamplingParams(max_tokens=120, ignore_eos=True)


async def answered(broker: Broker, request: Generate) -> str:
    """The answer's text. Submitted anew where the new master is not yet there for all, as a gateway does."""
    record = await bridged(lambda: broker.submit(request), WITHIN, broker.departed)
    return text_of(await followed_to_the_end(broker, record))


async def followed_to_the_end(broker: Broker, record: RequestRecord, got: list[Event] | None = None) -> list[Event]:
    """All events to the end, into `got` as they come."""
    found = [] if got is None else got
    async with asyncio.timeout(2 * WITHIN), aclosing(broker.follow(record)) as lists:
        async for events in lists:
            found += events
    return found

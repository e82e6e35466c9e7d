"""Short ways to write requests and to read what became of them."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import numpy as np
import redis

from pandagpt_core.types import Conversation, Modality, SamplingParams
from service.broker.gateway.client import Broker
from service.broker.keys import Keys, new_request_id
from service.broker.media_cache import media_name
from service.broker.protocol import Done, Embed, Event, Failed, Generate, MediaRef, Token, TurnPart
from service.worker.jobs import conversation_of
from tests.fakes import FAKE_INFO, expected_text, fake_embedding

TENANT = "tenant-a"


def generate(text: str = "what is this", **changed: object) -> Generate:
    """A valid request for the fake model with 20 seconds to run."""
    now = time.time()
    fields: dict = {
        "id": new_request_id("test", str(changed.get("model", "fake"))),
        "model": "fake",
        "tenant": TENANT,
        "created": now,
        "deadline": now + 20,
        "turns": [TurnPart(role="user", text=text)],
        "media": [],
        "params": SamplingParams(max_tokens=8),
    }
    return Generate(**{**fields, **changed})


def embed(parts: Sequence[MediaRef], **changed: object) -> Embed:
    now = time.time()
    fields: dict = {
        "id": new_request_id("test", str(changed.get("model", "fake"))),
        "model": "fake",
        "tenant": TENANT,
        "created": now,
        "deadline": now + 20,
        "media": list(parts),
    }
    return Embed(**{**fields, **changed})


def media(number: int, modality: Modality = Modality.IMAGE) -> tuple[MediaRef, np.ndarray]:
    """A small medium and its array, [1, 3, 2, 2]."""
    array = np.full((1, 3, 2, 2), number, np.float32)
    digest = f"{modality}-{number}"
    name = media_name(TENANT, FAKE_INFO.encoder_digest, digest)
    return MediaRef(modality=modality, digest=digest, blob=name, turn=0), array


def answer(request: Generate, arrays: Sequence[np.ndarray] = (), choice: int = 0) -> str:
    """The fake model's answer to the request."""
    pairs = zip(request.media, arrays, strict=True)
    embeddings = [fake_embedding(part.modality, array) for part, array in pairs]
    said: Conversation = conversation_of(request)
    return expected_text(said, request.params, embeddings, choice)


async def each(broker: Broker, request: Generate | Embed, tenant: str | None = None) -> AsyncGenerator[Event, None]:
    """A request's events one by one, to its end."""
    async with aclosing(broker.events(request.id, tenant or request.tenant)) as lists:
        async for events in lists:
            for event in events:
                yield event


async def collect(broker: Broker, request: Generate | Embed, timeout: float = 20) -> list[Event]:
    """All events of a request, to its end."""
    async with asyncio.timeout(timeout), aclosing(each(broker, request)) as events:
        return [event async for event in events]


def fall_silent(store: redis.Redis, model: str) -> None:
    """As if the store had missed the last sign of life of the model's workers: just now they count as lost."""
    ready = Keys().ready(model)
    store.zadd(ready, dict.fromkeys(store.zrange(ready, 0, -1), time.time() * 1000 - 1))


async def run(broker: Broker, request: Generate | Embed, arrays: dict | None = None) -> list[Event]:
    await broker.submit(request, arrays)
    return await collect(broker, request)


def text_of(events: Sequence[Event], choice: int = 0) -> str:
    return "".join(event.text for event in events if isinstance(event, Token) and event.choice == choice)


def ends_of(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, Done | Failed)]


async def until(condition: Callable[[], object], timeout: float = 10, what: str = "the condition") -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {timeout} seconds"
        await asyncio.sleep(0.005)

"""Bytes of the store a request, by the growth of `used_memory` from state to state. No model: tokens come by hand."""

import asyncio
import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import redis

from service.broker.connection import connect
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.broker.protocol import Announcement, Done, Generate, Started, Token
from service.broker.worker.consumer import Consumer
from service.broker.worker.delivery import Delivery
from service.broker.worker.heartbeat import Heartbeat
from service.settings import StoreSettings
from tests.fakes import FAKE_INFO
from tests.wire import generate, media

TEXT = "a question of four hundred characters " * 11
LONGEST_S, LOST_AFTER_S = 3600.0, 600.0
WORKER = "sizing"
PICTURE = (1, 3, 224, 224)
STATES = ("queued", "running, no token yet", "running, 64 tokens", "running, 256 tokens", "answered, 256 tokens")


@dataclass(frozen=True, slots=True)
class StateBytes:
    """Growth since the store was empty of requests, over the number of requests."""

    state: str
    bytes: float


def each_state(url: str, count: int, pictures: bool) -> list[StateBytes]:
    """Of `count` requests that pass the states together, each with its own picture where `pictures`."""
    settings = StoreSettings(url=url, max_queue=2 * count, max_queue_bytes=1 << 34)
    store = connect(settings)
    consumer = Consumer(store, settings, FAKE_INFO.id, WORKER, LOST_AFTER_S)
    consumer.open()
    heart = beating(settings, consumer)
    try:
        empty = used(store)
        asyncio.run(submit(settings, count, pictures))
        found = [StateBytes(STATES[0], (used(store) - empty) / count)]
        return found + [StateBytes(state, (used(store) - empty) / count) for state in passed(consumer, count)]
    finally:
        heart.stop()
        store.flushall()
        store.close()


def beating(settings: StoreSettings, consumer: Consumer) -> Heartbeat:
    """Announces a worker: without one nothing is admitted."""
    announcement = Announcement(worker=WORKER, model=FAKE_INFO, capacity=1)
    made = Heartbeat(connect(settings), Keys(), announcement, lambda: consumer.held, 1.0, LOST_AFTER_S)
    made.turned_at = float("inf")
    made.start()
    return made


def passed(consumer: Consumer, count: int) -> Iterator[str]:
    """Yields the name of each state that all requests have just reached."""
    held = taken(consumer, count)
    for delivery in held:
        delivery.writer.add(Started(prompt_tokens=100, at=time.time()))
    consumer.flush()
    yield STATES[1]
    for new, state in ((64, STATES[2]), (256 - 64, STATES[3])):
        for number in range(new):  # an entry a token and request, as a worker writes one a step
            for delivery in held:
                delivery.writer.add(Token(choice=0, token_id=number, text=" word"))
            consumer.flush()
        yield state
    for delivery in held:
        delivery.writer.add(Done(at=time.time(), completion_tokens=256))
    while consumer.held:
        consumer.flush()
    yield STATES[4]


def taken(consumer: Consumer, count: int) -> list[Delivery]:
    held: list[Delivery] = []
    while len(held) < count:
        held += consumer.take(64)
    return held


async def submit(settings: StoreSettings, count: int, pictures: bool) -> None:
    broker = Broker.connect(settings)
    for number in range(count):
        request, arrays = asked(number, pictures)
        await broker.submit(request, arrays)
    await broker.close()


def asked(number: int, pictures: bool) -> tuple[Generate, dict[str, np.ndarray]]:
    text, deadline = f"{number} {TEXT}"[:400], time.time() + LONGEST_S
    if not pictures:
        return generate(text, deadline=deadline), {}
    part, _ = media(number)
    array = np.random.default_rng(number).random(PICTURE, np.float32)
    return generate(text, deadline=deadline, media=[part]), {part.blob: array}


def used(store: "redis.Redis[bytes]") -> int:
    gc.collect()
    return int(store.info("memory")["used_memory"])

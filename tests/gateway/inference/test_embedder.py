"""Vectors are given whatever becomes of what the store keeps of them."""

from collections.abc import AsyncGenerator
from typing import Any, cast

from service.broker.errors import StoreUnavailable
from service.broker.gateway.request_record import RequestRecord
from service.broker.protocol import Done, Event, Vectors
from service.gateway.inference.embedding.embedder import LARGE, _answer
from service.gateway.inference.service import RequestService

RECORD = RequestRecord("embd-1", "ann", "fake", "interactive", 0.0, 60.0, b"1-0")


class FailingBroker:
    """A broker whose events come; then the store is away."""

    def __init__(self) -> None:
        self.asked = 0

    async def follow(self, _: RequestRecord) -> AsyncGenerator[list[Event], None]:
        yield [Vectors(dim=LARGE // 4 + 1, data=[bytes(LARGE + 4)]), Done(cancelled=False, at=0.0)]

    async def keep_shortly(self, _: RequestRecord, seconds: int) -> None:
        self.asked = seconds
        raise StoreUnavailable("away")


class Service:
    def __init__(self) -> None:
        self.broker = FailingBroker()


async def test_large_vectors_are_answered_though_the_store_fails_after_them() -> None:
    service: Any = Service()
    (found,) = await _answer(cast(RequestService, service), RECORD, None)
    assert len(found) == LARGE + 4
    assert service.broker.asked > 0

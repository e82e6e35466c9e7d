"""The list of models: a reader of it that is cancelled ends, whatever the store does in that moment."""

import asyncio
from contextlib import suppress
from typing import cast

from redis.exceptions import ConnectionError as StoreGone

from service.broker.connection import AsyncStore
from service.broker.errors import StoreUnavailable
from service.broker.gateway.model_registry import ModelRegistry
from service.broker.keys import Keys


class BreaksAsItsReaderIsCancelled:
    victim: asyncio.Task[None] | None = None

    async def zrange(self, *_: object) -> list[bytes]:
        assert self.victim is not None
        asyncio.get_running_loop().call_soon(self.victim.cancel)
        raise StoreGone

    async def time(self) -> tuple[int, int]:
        await asyncio.sleep(60)
        return 0, 0


async def test_a_cancellation_in_the_moment_the_store_breaks_is_not_lost() -> None:
    store = BreaksAsItsReaderIsCancelled()
    registry = ModelRegistry(cast(AsyncStore, store), Keys())

    async def repeat() -> None:  # as a line of a batch, until the store is back
        with suppress(StoreUnavailable):
            await registry.models()
        await asyncio.sleep(60)

    task = store.victim = asyncio.create_task(repeat())
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()

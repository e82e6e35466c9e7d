"""The models of live workers, by their announcements, read once a second, more often while workers are waited for."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pandagpt_core.types import ModelInfo
from service.broker.connection import DRIVER_ERRORS, AsyncStore, raise_translated, store_errors
from service.broker.keys import QUEUE_LIFE, SILENT_LIFE, Keys
from service.broker.protocol import Announcement, read_announcement

FRESH = 1.0  # seconds that an answer is good for
SILENT_FRESH = 0.1  # seconds, while workers are waited for


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A model, how many workers take requests for it and how many only finish theirs; `capacity` is of the ready."""

    info: ModelInfo
    ready: int
    draining: int
    capacity: int


class ModelRegistry:
    """The models of one store."""

    def __init__(self, store: AsyncStore, keys: Keys) -> None:
        self._store, self._keys = store, keys
        self._lock = asyncio.Lock()
        self._known: Mapping[str, LiveModel] = {}
        self._lost: Mapping[str, float] = {}
        self.silent: frozenset[str] = frozenset()  # models without a live worker that may have one in a moment
        self._until = 0.0

    async def models(self) -> Mapping[str, LiveModel]:
        """Live models by id; also those whose workers all drain. Raises StoreUnavailable."""
        async with self._lock:
            if time.monotonic() >= self._until:
                self._known = await self._read()
                self._until = time.monotonic() + (SILENT_FRESH if self.silent else FRESH)
            return self._known

    async def last_known(self, model: str) -> ModelInfo | None:
        """As its last worker announced it; the model is listed from now on. Raises StoreUnavailable."""
        with store_errors():
            known: Any = await self._store.get(self._keys.known(model))
            announcement = read_announcement(known)
            if announcement is None:
                return None
            await self._store.zadd(self._keys.models, {model: 0}, nx=True)
            await self._store.expire(self._keys.models, QUEUE_LIFE)
        return announcement.model

    async def _read(self) -> dict[str, LiveModel]:
        listed: Any
        clock: Any
        try:
            # Not by `gather`: it loses a cancellation that comes in the moment in which one of them fails.
            listed = await self._store.zrange(self._keys.models, 0, -1)
            clock = await self._store.time()
            # Announcements go by the store's clock; a cluster answers by node.
            seconds, micros = clock if isinstance(clock, tuple) else next(iter(clock.values()))
            now = int(seconds) * 1000 + int(micros) // 1000
            models = [name.decode() for name in listed]
            pipe: Any = self._store.pipeline(transaction=False)
            for model in models:
                pipe.zrange(self._keys.ready(model), 0, -1, withscores=True)
                pipe.zrangebyscore(self._keys.draining(model), f"({now}", "+inf")
                pipe.hgetall(self._keys.workers(model))
            answers = await pipe.execute() if models else []
        except DRIVER_ERRORS as error:
            raise_translated(error)
        entered = dict(zip(models, answers[::3], strict=True))
        ready = {model: [worker for worker, until in workers if until > now] for model, workers in entered.items()}
        self.silent = self._silent(entered, ready, now)
        states = list(zip(ready.values(), answers[1::3], answers[2::3], strict=True))
        announced = [
            {worker: read_announcement(packed.get(worker)) for worker in (*sorted(ready), *sorted(draining))}
            for ready, draining, packed in states
        ]
        found = {
            model: _live_model(ready, draining, read)
            for model, (ready, draining, _), read in zip(models, states, announced, strict=True)
        }
        return {name: model for name, model in sorted(found.items()) if model is not None}

    def _silent(
        self, entered: Mapping[str, Sequence[tuple[bytes, float]]], ready: Mapping[str, Sequence[bytes]], now: int
    ) -> frozenset[str]:
        """Models whose workers all fell silent, and those that a store forgot which lost its data."""
        here = time.monotonic()
        lost = {**self._lost, **{name: here for name in self._known if name not in entered}}
        self._lost = {name: at for name, at in lost.items() if name not in entered and at > here - SILENT_LIFE}
        latest = {name: max(until for _, until in workers) for name, workers in entered.items() if workers}
        fell = {name for name, until in latest.items() if not ready[name] and until > now - 1000 * SILENT_LIFE}
        return frozenset(fell | set(self._lost))


def _live_model(
    ready: Sequence[bytes], draining: Sequence[bytes], announced: Mapping[bytes, Announcement | None]
) -> LiveModel | None:
    """None where no worker's announcement can be read."""
    announcements = [announcement for announcement in announced.values() if announcement is not None]
    if not announcements:
        return None
    infos = [announcement.model for announcement in announcements]
    capacity = sum(one.capacity for worker in ready if (one := announced[worker]) is not None)
    return LiveModel(_common(infos), len(ready), len(draining), capacity)


def _common(infos: Sequence[ModelInfo]) -> ModelInfo:
    """The first; without digests of towers, in which workers of an earlier version do not name media, and without
    speech where some of the workers write down none, or by another recogniser."""
    common = infos[0]
    if any(info.tower_digests != common.tower_digests for info in infos):
        common = replace(common, tower_digests={})
    if any(info.speech != common.speech for info in infos):
        common = replace(common, speech=None)
    return common

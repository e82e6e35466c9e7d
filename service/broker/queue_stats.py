"""The state of every model's queue and of the store itself, in a few commands a model: for metrics and autoscalers.

It needs no worker: a queue whose workers are all gone is what an operator most wants to see.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from pandagpt_core.types import Priority
from service.broker.connection import SyncStore, store_errors, translated
from service.broker.keys import GROUP, PRIORITIES, RETURNED, Keys
from service.broker.protocol import read_announcement


@dataclass(frozen=True, slots=True)
class LaneStats:
    """One lane of one model: requests that wait for a worker and that workers hold, the age in seconds of the oldest
    that waits (0 without one), the bytes of all of them with their media."""

    model: str
    priority: Priority
    waiting: int
    running: int
    oldest_s: float
    held_bytes: int


@dataclass(frozen=True, slots=True)
class ModelStats:
    """Workers of a model that take requests and that only finish theirs; dead letters now and ever written.

    `versions`: the live workers by the version of their package; "" where none is announced.
    """

    model: str
    ready: int
    draining: int
    dead: int
    dead_ever: int
    versions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StoreStats:
    """`seconds` is the time of one round trip; `memory_limit` is 0 where the store has none. `unreplicated_bytes`: the
    writes that the nearest of its `replicas` has not acknowledged yet, which a failover now would lose; 0 without
    any."""

    seconds: float
    memory_used: int
    memory_limit: int
    evicted_keys: int
    replicas: int
    unreplicated_bytes: int
    lanes: tuple[LaneStats, ...]
    models: tuple[ModelStats, ...]


class QueueStats:
    """`read` is all. A process of any role may call it."""

    def __init__(self, store: SyncStore, keys: Keys) -> None:
        self._store, self._keys = store, keys

    def read(self) -> StoreStats:
        """Raises StoreUnavailable."""
        with store_errors():
            began = time.monotonic()
            now_ms = _milliseconds(self._store.time())
            seconds = time.monotonic() - began
            info = _nodes(self._store.info())
            names: Any = self._store.zrange(self._keys.models, 0, -1)
            models = [name.decode() for name in names]
            return StoreStats(
                seconds,
                sum(int(node.get("used_memory", 0)) for node in info),
                sum(int(node.get("maxmemory", 0)) for node in info),
                sum(int(node.get("evicted_keys", 0)) for node in info),
                sum(len(_offsets(node)) for node in info),
                sum(unreplicated(node) for node in info),
                tuple(self._lane(model, lane, now_ms) for model in models for lane in PRIORITIES),
                tuple(self._model(model, now_ms) for model in models),
            )

    def _lane(self, model: str, lane: Priority, now_ms: int) -> LaneStats:
        key = self._keys.queue(model, lane)
        pipe: Any = self._store.pipeline(transaction=False)
        pipe.xlen(key)
        pipe.zrange(self._keys.waiting(model, lane), 0, -1)
        pipe.xpending(key, GROUP)
        pipe.xpending_range(key, GROUP, "-", "+", 1, RETURNED)
        pipe.get(self._keys.load(model, lane))
        length, waiting, pending, returned, load = (_answer(one) for one in pipe.execute(raise_on_error=False))
        held = {one["name"]: int(one["pending"]) for one in (pending or {}).get("consumers") or ()}
        running = sum(held.values()) - held.get(RETURNED.encode(), 0)
        ids = [*(waiting or ()), *(one["message_id"] for one in returned or ())]
        oldest = min((int(entry.partition(b"-")[0]) for entry in ids), default=now_ms)
        return LaneStats(
            model, lane, int(length or 0) - running, running, max(0, now_ms - oldest) / 1000, int(load or 0)
        )

    def _model(self, model: str, now_ms: int) -> ModelStats:
        keys, alive = self._keys, f"({now_ms}"
        pipe: Any = self._store.pipeline(transaction=False)
        pipe.zrangebyscore(keys.ready(model), alive, "+inf")
        pipe.zrangebyscore(keys.draining(model), alive, "+inf")
        pipe.hgetall(keys.workers(model))
        pipe.xlen(keys.dead(model))
        pipe.xinfo_stream(keys.dead(model))
        ready, draining, announced, dead, stream = (_answer(one) for one in pipe.execute(raise_on_error=False))
        ever = (stream or {}).get("entries-added", dead or 0)  # Redis 7 on; before it the letters that are left
        ready, draining, announced = ready or (), draining or (), announced or {}
        versions = Counter(_version(announced.get(worker)) for worker in (*ready, *draining))
        return ModelStats(model, len(ready), len(draining), int(dead or 0), int(ever), versions)


def _version(raw: bytes | None) -> str:
    announcement = read_announcement(raw)
    return announcement.version if announcement else ""


def _offsets(node: Mapping[str, Any]) -> list[int]:
    """Acknowledged offset of each replica that follows, in bytes of the replication stream."""
    each = (node.get(f"slave{number}") for number in range(int(node.get("connected_slaves", 0))))
    return [int(one["offset"]) for one in each if isinstance(one, Mapping) and one.get("state") == "online"]


def unreplicated(node: Mapping[str, Any]) -> int:
    """Bytes that no replica has acknowledged, by INFO's replication section; 0 without replicas."""
    offsets = _offsets(node)
    return max(0, int(node.get("master_repl_offset", 0)) - max(offsets)) if offsets else 0


def _answer(answer: Any) -> Any:
    """A command's answer; None where its key or group is not there yet. Raises the store's failures."""
    if isinstance(answer, ResponseError) and translated(answer) is None:
        return None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _milliseconds(answer: Any) -> int:
    seconds, micros = answer if isinstance(answer, tuple) else next(iter(answer.values()))
    return int(seconds) * 1000 + int(micros) // 1000


def _nodes(answer: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """INFO of one server, or of each node of a cluster."""
    values = list(answer.values())
    return values if values and isinstance(values[0], Mapping) else [answer]

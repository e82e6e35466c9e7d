"""The requests of one priority for one model, as a worker sees it: read, claim, settle, give back."""

import math
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from redis.exceptions import ResponseError

from pandagpt_core.types import Priority
from service.broker import scripts
from service.broker.connection import SyncStore
from service.broker.keys import DEAD_LIFE, GROUP, QUEUE_LIFE, RETURNED, Keys, settle_keys
from service.settings import StoreSettings

LONG_IDLE = 365 * 86_400_000  # milliseconds; older than any `lost_after`, so that anyone may claim it
Entries = list[tuple[bytes, dict[bytes, bytes]]]
TakenEntry = tuple["PriorityQueue", bytes, dict[bytes, bytes]]


class PriorityQueue:
    """The stream, its group and its byte count. The driver's errors pass through; callers translate them."""

    def __init__(
        self, store: SyncStore, keys: Keys, settings: StoreSettings, model: str, name: Priority, worker: str
    ) -> None:
        self.name = name
        self.key = keys.queue(model, name)
        self.worker = worker
        self._store, self._settings = store, settings
        self._settle_keys = settle_keys(keys, model, name)
        self.waiting = keys.waiting(model, name)
        self.take_keys = (self.key, self.waiting, keys.turns(model, name))

    def ensure_group(self) -> None:
        """Make the group, reading from the queue's start, and the queue if need be."""
        try:
            self._store.xgroup_create(self.key, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        self._store.expire(self.key, QUEUE_LIFE)

    def sweep(self, idle: float) -> int:
        """Remove consumers that hold nothing and were silent for `idle` seconds: dead workers leave theirs behind."""
        return int(self._store.eval(scripts.SWEEP, 1, self.key, GROUP, round(idle * 1000)))

    def read(self, count: int) -> Entries:
        """Entries that no worker was given yet, in the order of their turns, without waiting."""
        return [(entry, fields) for _, entry, fields in take(self._store, [self], count)]

    def claim(self, lost_after: float, count: int) -> Entries:
        """Entries whose worker has not refreshed them for `lost_after` seconds, the handed-back ones among them."""
        idle = round(lost_after * 1000)
        try:
            answer: Any = self._store.xautoclaim(self.key, GROUP, self.worker, idle, count=count)
        except ResponseError as error:
            _revive(self, error)
            return []
        # 6.2 answers two items and leaves nils for deleted entries; 7 and later drop those and list them third.
        return [(entry, fields) for entry, fields in answer[1] if fields is not None]

    def unheld(self, held: Collection[bytes], count: int) -> Entries:
        """At most `count` entries that the group has as this worker's and that are not among the `held` ones."""
        try:
            pending: Any = self._store.xpending_range(self.key, GROUP, "-", "+", len(held) + count, self.worker)
        except ResponseError as error:
            _revive(self, error)
            return []
        names = [one["message_id"] for one in pending if one["message_id"] not in held][:count]
        found: Entries = []
        for name in keep(self._store, self.key, self.worker, self.worker, 0, names):
            entries: Any = self._store.xrange(self.key, name, name)
            found += entries
        return found

    def settle(self, entry: bytes, reason: str = "") -> bool:
        """Take an entry off for good, with a dead letter if there is a reason. True for the first caller only."""
        arguments = (GROUP, entry, reason, f"{time.time():.3f}", self._settings.dead_letters, DEAD_LIFE)
        return bool(self._store.eval(scripts.SETTLE, len(self._settle_keys), *self._settle_keys, *arguments))

    def give_back(self, entries: Sequence[bytes]) -> None:
        keep(self._store, self.key, self.worker, RETURNED, LONG_IDLE, entries)

    def leave(self) -> None:
        """Remove our consumer from the group, unless it still holds something."""
        if not self._store.xpending_range(self.key, GROUP, "-", "+", 1, self.worker):
            self._store.xgroup_delconsumer(self.key, GROUP, self.worker)


def keep(store: SyncStore, key: str, owner: str, new_owner: str, idle: int, entries: Sequence[bytes]) -> list[bytes]:
    """Refresh (same owner, idle 0) or hand over entries; answers those that were the owner's. See keep.lua."""
    if not entries:
        return []
    kept: Any = store.eval(scripts.KEEP, 1, key, GROUP, owner, new_owner, idle, QUEUE_LIFE, *entries)
    return list(kept)


def take(store: SyncStore, queues: Sequence[PriorityQueue], count: int) -> list[TakenEntry]:
    """At most `count` entries that no worker was given yet: of the first queue as long as it has any, then of the next,
    and within each in the order of their turns. The queues share one hash tag. See take.lua."""
    names = [name for queue in queues for name in queue.take_keys]
    command = ("EVAL", scripts.TAKE, len(names), *names, GROUP, queues[0].worker, count, QUEUE_LIFE)
    try:
        answer: Any = store.execute_command(*command)  # type: ignore[no-untyped-call]  # the driver's
    except ResponseError as error:
        for queue in queues:
            _revive(queue, error)
        answer = store.execute_command(*command)  # type: ignore[no-untyped-call]  # the driver's
    return [
        (queues[lane - 1], entry, dict(zip(fields[::2], fields[1::2], strict=True))) for lane, entry, fields in answer
    ]


def wait_for_any(store: SyncStore, queues: Sequence[PriorityQueue], seconds: float) -> Iterator[TakenEntry]:
    """The first new entry of each queue, waiting for one to come. The queues share one hash tag."""
    block = max(1, math.ceil(seconds * 1000))
    try:
        answer: Any = store.xreadgroup(GROUP, queues[0].worker, {queue.key: ">" for queue in queues}, 1, block)
    except ResponseError as error:
        for queue in queues:
            _revive(queue, error)
        return
    found = {key.decode(): entries for key, entries in answer or []}
    for queue in queues:
        for entry, fields in found.get(queue.key, []):
            store.zrem(queue.waiting, entry)
            yield queue, entry, fields


def _revive(queue: PriorityQueue, error: ResponseError) -> None:
    """The queue's key expired or was flushed, and its group with it: make it anew. Other errors pass."""
    if not str(error).startswith("NOGROUP"):
        raise error
    queue.ensure_group()

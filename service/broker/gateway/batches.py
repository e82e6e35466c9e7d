"""Batches in the store: their records, the results of their lines, and the lease of the gateway that runs them.

A line's result is written once whoever ran it (`HSETNX`), so a gateway that takes over may run a line again. A status
follows only those that may come before it, so that a cancel is never lost and never undoes an end.
"""

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, get_args

import msgspec

from service.broker import scripts
from service.broker.connection import AsyncStore, store_errors
from service.broker.keys import Keys

BatchStatus = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]
ENDED: Sequence[BatchStatus] = ("failed", "completed", "expired", "cancelled")
BEFORE: Mapping[BatchStatus, Sequence[BatchStatus]] = MappingProxyType(
    {
        "validating": (),
        "in_progress": ("validating",),
        "finalizing": ("in_progress",),
        "completed": ("finalizing",),
        "expired": ("finalizing",),
        "cancelling": ("validating", "in_progress"),
        "cancelled": ("cancelling",),
        "failed": tuple(status for status in get_args(BatchStatus) if status not in ENDED),
    }
)
LONGEST_WINDOW = 7 * 86_400  # seconds
LEASE_S = 10
READ_BYTES = 4 << 20  # of results that are read at a time
RESULTS_LIFE = 3600  # seconds that results stay once they stand in files


class StoredBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as its caller made it; times in Unix seconds. `share`, `weight`, `cache_group` and `key_class` are
    those of the caller's key.

    `output_file` and `error_file` are the ids that its files will have.
    """

    id: str
    tenant: str
    name: str
    share: str
    cache_group: str
    endpoint: str
    input_file: str
    output_file: str
    error_file: str
    window: str
    created: int
    expires: int
    metadata: dict[str, str] = {}
    key_class: str = "custom"  # a batch that an older version stored has none, and no weight
    weight: float = 1.0


class BatchProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of a batch. `times` has the time of each status; `errors` the reasons why its file was refused."""

    status: BatchStatus = "validating"
    total: int = 0
    completed: int = 0
    failed: int = 0
    times: dict[str, int] = {}
    errors: list[dict[str, Any]] = []


class BatchStore:
    """All methods raise StoreUnavailable."""

    def __init__(self, store: AsyncStore, keys: Keys, life_s: float) -> None:
        """`life_s`: how long a batch is known after its window."""
        self._store, self._keys, self._life = store, keys, life_s
        self._longest = round(LONGEST_WINDOW + life_s)

    async def add(self, batch: StoredBatch) -> None:
        """Repeated, also by a command that the store gets late, it leaves the status that the batch has by then."""
        life = round(batch.expires - time.time() + self._life)
        key, names = self._keys.batch(batch.id), self._keys.batches_of(batch.tenant)
        with store_errors():
            await self._store.eval(scripts.EXPIRING, 1, key, life, "HSET", "batch", msgspec.msgpack.encode(batch))
            await self._store.eval(scripts.EXPIRING, 1, key, life, "HSETNX", "status", "validating")
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.zadd(names, {batch.id: batch.created})
            pipe.zremrangebyscore(names, "-inf", batch.created - self._longest)
            pipe.expire(names, self._longest)
            pipe.zadd(self._keys.batches, {batch.id: batch.created})
            pipe.expire(self._keys.batches, self._longest)  # a later batch of a short window ends no earlier one
            await pipe.execute()

    async def withdraw(self, batch: StoredBatch) -> None:
        """Cancel a batch whose `add` failed, also where the store gets a command of that later."""
        key, life = self._keys.batch(batch.id), round(batch.expires - time.time() + self._life)
        with store_errors():
            await self._store.eval(scripts.EXPIRING, 1, key, life, "HSETNX", "status", "cancelled")
        await self.advance(batch.id, "cancelling")

    async def find(self, batch_id: str) -> tuple[StoredBatch, BatchProgress] | None:
        """None for one that is not there any more."""
        found = await self.find_each([batch_id])
        return found[0] if found else None

    async def find_each(self, batch_ids: Sequence[str]) -> list[tuple[StoredBatch, BatchProgress]]:
        """By one round trip; without those that are not there any more."""
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            for batch_id in batch_ids:
                pipe.hgetall(self._keys.batch(batch_id))
            found = await pipe.execute()
        return [_read(fields) for fields in found if b"batch" in fields and b"status" in fields]

    async def of_tenant(self, tenant: str) -> list[str]:
        """The tenant's batches, newest first."""
        with store_errors():
            names: Any = await self._store.zrange(self._keys.batches_of(tenant), 0, -1)
        return [name.decode() for name in reversed(names)]

    async def reader_of(self, tenant: str, file_id: str) -> str | None:
        """The id of a batch of the tenant that has not ended and reads that file, if there is one."""
        unfinished = set(await self.unfinished())
        names = [name for name in await self.of_tenant(tenant) if name in unfinished] if unfinished else []
        for batch, progress in await self.find_each(names):
            if batch.input_file == file_id and progress.status not in ENDED:
                return batch.id
        return None

    async def unfinished(self) -> list[str]:
        """All batches that have not ended, oldest first."""
        with store_errors():
            names: Any = await self._store.zrange(self._keys.batches, 0, -1)
        return [name.decode() for name in names]

    async def forget(self, batch_id: str) -> None:
        """No gateway runs it any more."""
        with store_errors():
            await self._store.zrem(self._keys.batches, batch_id)

    async def advance(self, batch_id: str, status: BatchStatus, **fields: str | int | bytes) -> BatchStatus | None:
        """Set the status with these fields, unless the batch is in one that does not come before it (`BEFORE`).

        The status that it has now; None for a batch that is not there any more.
        """
        before = BEFORE[status]
        flat = [part for field in fields.items() for part in field]
        arguments = (status, int(time.time()), len(before), *before, *flat)
        with store_errors():
            held: Any = await self._store.eval(scripts.ADVANCE, 1, self._keys.batch(batch_id), *arguments)
        now: BatchStatus | None = held.decode() or None
        if now is None or now in ENDED:
            await self.forget(batch_id)
            with store_errors():
                await self._store.expire(self._keys.batch_results(batch_id), RESULTS_LIFE)
        return now

    async def record(
        self, batch: StoredBatch, line: int, result: bytes, failed: bool, tried_before: bool = False
    ) -> bool:
        """Keep and count a line's result, unless it has one; `result` is a line of JSON. Returns whether it is the
        first, also by an earlier try whose answer was lost (`tried_before`)."""
        names = (self._keys.batch_results(batch.id), self._keys.batch(batch.id))
        life = round(batch.expires - time.time() + self._life)
        value = (b"e" if failed else b"o") + result
        arguments = (line, value, life, "failed" if failed else "completed", int(tried_before))
        with store_errors():
            return bool(await self._store.eval(scripts.RECORD, 2, *names, *arguments))

    async def results(self, batch_id: str, lines: Sequence[int]) -> AsyncIterator[bytes | None]:
        """Of each line `o` or `e`, for an output or an error, and its JSON; None where it has none.

        At most `READ_BYTES` of them, or one that is larger, are in memory.
        """
        key = self._keys.batch_results(batch_id)
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            for line in lines:
                pipe.hstrlen(key, str(line))
            sizes: list[int] = await pipe.execute()
        for group in _groups(lines, sizes):
            with store_errors():
                pipe = self._store.pipeline(transaction=False)
                for line in group:
                    pipe.hget(key, str(line))
                found: list[bytes | None] = await pipe.execute()
            for one in found:
                yield one

    async def result_bytes(self, batch_id: str) -> int:
        """Bytes of the results of the batch's lines."""
        with store_errors():
            found: Any = await self._store.hget(self._keys.batch(batch_id), "bytes")
        return int(found or 0)

    async def have(self, batch_id: str, lines: Sequence[int]) -> list[bool]:
        """For each of the lines, whether it has a result."""
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            for line in lines:
                pipe.hexists(self._keys.batch_results(batch_id), str(line))
            found = await pipe.execute()
        return [bool(one) for one in found]

    async def hold(self, gateway: str) -> bool:
        """Take the lease, or keep it. Returns whether this gateway has it."""
        with store_errors():
            holder: Any = await self._store.eval(scripts.CLAIM, 1, self._keys.batch_lease, gateway, gateway, LEASE_S)
        return bool(holder == gateway.encode())

    async def let_go(self, gateway: str) -> None:
        """Another gateway may take the lease at once."""
        with store_errors():
            await self._store.eval(scripts.RELEASE, 1, self._keys.batch_lease, gateway)


def _groups(lines: Sequence[int], sizes: Sequence[int]) -> Iterator[list[int]]:
    """The lines in order, each group's results as large as READ_BYTES at most, or one line that is larger."""
    group, total = list[int](), 0
    for line, size in zip(lines, sizes, strict=True):
        if group and total + size > READ_BYTES:
            yield group
            group, total = [], 0
        group.append(line)
        total += size
    if group:
        yield group


def _read(packed: Mapping[bytes, bytes]) -> tuple[StoredBatch, BatchProgress]:
    fields: dict[str, Any] = {key.decode(): value for key, value in packed.items()}
    progress = BatchProgress(
        status=fields["status"].decode(),
        total=int(fields.get("total", 0)),
        completed=int(fields.get("completed", 0)),
        failed=int(fields.get("failed", 0)),
        times={name[3:]: int(value) for name, value in fields.items() if name.startswith("at:")},
        errors=msgspec.json.decode(fields.get("errors", b"[]")),
    )
    return msgspec.msgpack.decode(fields["batch"], type=StoredBatch), progress

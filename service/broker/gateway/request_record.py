"""What the gateways note of a request, and who may see it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pandagpt_core.types import Priority
from service.broker.connection import AsyncStore, store_errors
from service.broker.errors import DuplicateRequest, UnknownRequest
from service.broker.keys import Keys
from service.broker.protocol import Generate, Request
from service.settings import StoreSettings


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request as admitted. `entry` is its place in the lane, None until the store has confirmed it."""

    id: str
    tenant: str
    model: str
    lane: Priority
    created: float
    deadline: float
    n: int
    entry: bytes | None
    cancelled: bool


class RequestRecords:
    """The records of one store. All methods raise StoreUnavailable."""

    def __init__(self, store: AsyncStore, keys: Keys, settings: StoreSettings) -> None:
        self._store, self._keys = store, keys
        self._retention = settings.request_ttl_s

    def life(self, deadline: float) -> int:
        """Expiry in seconds of everything that is kept about a request."""
        return round(max(deadline - time.time(), 0.0) + self._retention)

    async def create(self, request: Request) -> None:
        """Raises DuplicateRequest where the id is taken, by whomever."""
        key = self._keys.record(request.id)
        fields: dict[str, str] = {
            "tenant": request.tenant,
            "model": request.model,
            "lane": request.priority,
            "created": repr(request.created),
            "deadline": repr(request.deadline),
            "n": str(request.n if isinstance(request, Generate) else 1),
        }
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=True)  # nobody finds half a record
            for name, value in fields.items():
                pipe.hsetnx(key, name, value)
            pipe.expire(key, self.life(request.deadline))
            created, *_ = await pipe.execute()
        if not created:
            raise DuplicateRequest("a request with this id was already sent; ids are used once", param="id")

    async def placed(self, request_id: str, entry: bytes) -> None:
        with store_errors():
            await self._set(self._keys.record(request_id), {"entry": entry})

    async def mark_cancelled(self, record: RequestRecord) -> None:
        """Workers look at this when they take a request."""
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.hset(self._keys.record(record.id), "cancelled", "1")
            pipe.expire(self._keys.record(record.id), self.life(record.deadline))
            await pipe.execute()

    async def forget(self, request_id: str) -> None:
        with store_errors():
            await self._store.delete(self._keys.record(request_id))

    async def find(self, request_id: str, tenant: str | None = None) -> RequestRecord:
        """Raises UnknownRequest, also for a request of another tenant than the one given."""
        with store_errors():
            found: Any = await self._store.hgetall(self._keys.record(request_id))
        fields = {key.decode(): value for key, value in found.items()}
        known = "deadline" in fields and tenant in (None, fields["tenant"].decode())
        if not known:
            raise UnknownRequest("no request of this id")
        return RequestRecord(
            id=request_id,
            tenant=fields["tenant"].decode(),
            model=fields["model"].decode(),
            lane="batch" if fields["lane"] == b"batch" else "interactive",
            created=float(fields["created"]),
            deadline=float(fields["deadline"]),
            n=int(fields["n"]),
            entry=fields.get("entry"),
            cancelled="cancelled" in fields,
        )

    async def _set(self, key: str, fields: Mapping[Any, Any]) -> None:
        await self._store.hset(key, mapping=fields)

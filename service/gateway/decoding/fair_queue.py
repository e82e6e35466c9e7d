"""The order of decoding: of the tenants that wait, the next is the one that has used the least of the children's time.

Start-time fair queueing (Goyal, Vin, Cheng, 1996) with costs that are known only afterwards: a tenant is charged the
seconds that its media took, and those under way count as they pass. A small file with a large picture in it so counts
by its picture. A tenant that comes new, or back, starts at the level of those who are there.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

from service.gateway.errors import GatewayError

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Waits for a `T`. At most `max_waiting` wait: above it the tenant that waits most gives up its last place."""

    def __init__(self, max_waiting: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_waiting, self._clock = max_waiting, clock
        self.waiting: dict[str, deque[asyncio.Future[T]]] = {}  # places by tenant
        self._used: dict[str, float] = {}
        self._level = 0.0
        self._began: dict[str, list[float]] = {}

    def __len__(self) -> int:
        return sum(len(queue) for queue in self.waiting.values())

    @property
    def running(self) -> Counter[str]:
        """Media under way by tenant."""
        return Counter({tenant: len(began) for tenant, began in self._began.items()})

    def enter(self, tenant: str) -> asyncio.Future[T]:
        """A place in the queue. Raises `overloaded`."""
        if len(self) >= self._max_waiting:
            self._make_room(tenant)
        self._come(tenant)
        place: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(tenant, deque()).append(place)
        return place

    def leave(self, tenant: str, place: asyncio.Future[T]) -> None:
        queue = self.waiting.get(tenant, deque())
        if place in queue:
            queue.remove(place)
        if not queue:
            self.waiting.pop(tenant, None)

    def tenants(self, *, running: bool = True) -> Collection[str]:
        """The tenants that wait; with `running=False` only those without a running decode."""
        for tenant, queue in list(self.waiting.items()):
            for place in [place for place in queue if place.done()]:  # cancelled, and about to leave by itself
                self.leave(tenant, place)
        return [tenant for tenant in self.waiting if running or not self._began.get(tenant)]

    def next(self, among: Collection[str]) -> asyncio.Future[T]:
        """The place of the tenant that has used least, taken out of the queue. Its medium begins now."""
        tenant = min(among, key=self._used_by_now)
        place = self.waiting[tenant][0]
        self.leave(tenant, place)
        self._begin(tenant)
        return place

    def pass_by(self, tenant: str) -> None:
        """A medium of the tenant begins now and never waited, for nobody does."""
        self._come(tenant)
        self._begin(tenant)

    def ended(self, tenant: str) -> None:
        """One of its media is over, the oldest under way."""
        began = self._began[tenant]
        self._used[tenant] += self._clock() - began.pop(0)
        if not began:
            del self._began[tenant]
        self._forget()

    def _come(self, tenant: str) -> None:
        self._used[tenant] = max(self._used.get(tenant, 0.0), self._level)

    def _begin(self, tenant: str) -> None:
        self._level = max(self._level, self._used[tenant])
        self._began.setdefault(tenant, []).append(self._clock())

    def _used_by_now(self, tenant: str) -> float:
        now = self._clock()
        return self._used[tenant] + sum(now - began for began in self._began.get(tenant, ()))

    def _forget(self) -> None:
        """Tenants who are away and no further than the rest: they would start at the level anyway."""
        if not self.waiting and not self._began:
            self._level = max(self._used.values(), default=0.0)
        for tenant in [name for name, used in self._used.items() if used <= self._level]:
            if tenant not in self.waiting and tenant not in self._began:
                del self._used[tenant]

    def _make_room(self, tenant: str) -> None:
        full = GatewayError("overloaded", f"{len(self)} media wait for decoding; the limit is reached.")
        most = max(self.waiting, key=lambda name: len(self.waiting[name]))
        if len(self.waiting[most]) <= len(self.waiting.get(tenant, ())) + 1:
            raise full
        last = self.waiting[most][-1]
        self.leave(most, last)
        last.set_exception(full)

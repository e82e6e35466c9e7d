"""A store that is away for a moment, as while it restarts, is waited for and costs no caller an error.

So are workers that it missed meanwhile, until they have announced themselves to it again.

Only work that may be begun anew is bridged: a submit that failed is cancelled by its departure, and the next one goes
by an id of its own.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from service.broker.errors import BrokerError, NoWorker, StoreUnavailable, WorkersSilent

_T = TypeVar("_T")
BeforeNext = Callable[[], Awaitable[object]]
AWAY = (StoreUnavailable, WorkersSilent)
PAUSE_S = 0.1  # between tries


async def bridged(work: Callable[[], Awaitable[_T]], seconds: float, before_next: BeforeNext | None = None) -> _T:
    """The result of the first try that finds the store and a worker. So many seconds after the first that did not, or
    where the store refuses, the error is the caller's. `before_next` has to end before another try."""
    try:
        return await work()
    except AWAY as error:
        return await begun_anew(error, work, seconds, before_next)


async def begun_anew(
    error: BrokerError, work: Callable[[], Awaitable[_T]], seconds: float, before_next: BeforeNext | None = None
) -> _T:
    """The same after a first try that ended by this error of `AWAY`. Store and workers have so many seconds each."""
    until = dict[type[BrokerError], float]()  # work of a try beside the store, as decoding media, takes nothing of it
    while _passing(error, until) and (left := _left(error, until, seconds)) > 0:
        try:
            async with asyncio.timeout(left):
                await asyncio.sleep(PAUSE_S)
                if before_next is not None:
                    await before_next()
        except TimeoutError:
            break
        try:
            return await work()
        except (StoreUnavailable, NoWorker) as another:
            error = another
    raise error


def _passing(error: BrokerError, until: Mapping[type[BrokerError], float]) -> bool:
    """Whether another try may succeed. A store that was away may have lost the workers' announcements."""
    if isinstance(error, StoreUnavailable):
        return error.passing
    return isinstance(error, WorkersSilent) or StoreUnavailable in until


def _left(error: BrokerError, until: dict[type[BrokerError], float], seconds: float) -> float:
    """Seconds to wait for the missing side: the store or a worker."""
    now, missing = time.monotonic(), StoreUnavailable if isinstance(error, StoreUnavailable) else NoWorker
    return until.setdefault(missing, now + seconds) - now

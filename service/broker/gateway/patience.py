"""A store that is away for a moment, as while it restarts, is waited for and costs no caller an error.

Only work that may be begun anew is bridged: a submit that failed is cancelled by its departure, and the next one goes
by an id of its own.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.broker.errors import StoreUnavailable

_T = TypeVar("_T")
BeforeNext = Callable[[], Awaitable[object]]
PAUSE_S = 0.1  # between tries


async def bridged(work: Callable[[], Awaitable[_T]], seconds: float, before_next: BeforeNext | None = None) -> _T:
    """The result of the first try that the store answers. So many seconds after the first that it did not, or where it
    refuses, the error is the caller's. `before_next` has to end before another try."""
    try:
        return await work()
    except StoreUnavailable as error:
        return await begun_anew(error, work, seconds, before_next)


async def begun_anew(
    error: StoreUnavailable, work: Callable[[], Awaitable[_T]], seconds: float, before_next: BeforeNext | None = None
) -> _T:
    """The same after a first try that ended by this error."""
    until = time.monotonic() + seconds  # what a try does beside the store, as decoding media, takes nothing of it
    while error.passing and (now := time.monotonic()) < until:
        try:
            async with asyncio.timeout(until - now):
                await asyncio.sleep(PAUSE_S)
                if before_next is not None:
                    await before_next()
        except TimeoutError:
            break
        try:
            return await work()
        except StoreUnavailable as another:
            error = another
    raise error

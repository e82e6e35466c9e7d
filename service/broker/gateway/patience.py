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
PAUSE_S = 0.1  # between tries


async def bridged(
    work: Callable[[], Awaitable[_T]], seconds: float, before_next: Callable[[], Awaitable[object]] | None = None
) -> _T:
    """The result of the first try that the store answers. After so many seconds, or where the store refuses, the error
    is the caller's. `before_next` has to end before another try."""
    until = time.monotonic() + seconds
    while True:
        try:
            return await work()
        except StoreUnavailable as error:
            if not error.passing or time.monotonic() >= until:
                raise
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    await asyncio.sleep(PAUSE_S)
                    if before_next is not None:
                        await before_next()
            except TimeoutError:
                raise error from None

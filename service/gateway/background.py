"""Tasks of a gateway that no request waits for, and the one that measures how late its event loop is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field

from prometheus_client import Histogram

from service.broker.errors import StoreUnavailable
from service.broker.gateway.patience import begun_anew

LAG_INTERVAL_S = 0.25  # between looks


@dataclass(slots=True)
class BackgroundTasks:
    """Held until they end, and cancelled by `close`, after which none begins."""

    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _closed: bool = False

    def run(self, work: Coroutine[None, None, None]) -> None:
        if self._closed:
            work.close()
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def until_stored(self, write: Callable[[], Awaitable[None]], seconds: float) -> asyncio.Event:
        """Begin a write that goes on without its caller until the store has it, or for so long. Set after the first
        try: nobody waits for a store that is away."""
        tried = asyncio.Event()

        async def tries() -> None:
            try:
                await write()
            except StoreUnavailable as error:
                tried.set()
                with suppress(StoreUnavailable):
                    await begun_anew(error, write, seconds)
            finally:
                tried.set()

        self.run(tries())
        if self._closed:
            tried.set()
        return tried

    def after(self, seconds: float, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Begin the work after so long: until then it is a timer, and no task."""
        asyncio.get_running_loop().call_later(seconds, self._begin, work)

    async def close(self) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        self.run(work())


async def measure_lag(histogram: Histogram, interval_s: float = LAG_INTERVAL_S) -> None:
    """Until cancelled. Every open stream waits for whatever holds the loop up."""
    while True:
        due = time.perf_counter() + interval_s
        await asyncio.sleep(interval_s)
        histogram.observe(max(0.0, time.perf_counter() - due))

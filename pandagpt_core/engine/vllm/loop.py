"""An event loop on a thread of its own, for a library that wants one, called from code that has none."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs until `close`. Every method may be called from any other thread."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Start it; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the loop's thread, where it finds the loop running, and wait for it."""

        async def called() -> T:
            return function()

        return self.submit(called()).result()

    def close(self, grace: float = 5.0) -> None:
        """Cancel what runs, give it `grace` seconds to end, and stop. A second time does nothing."""
        if not self._thread.is_alive():
            return
        self.submit(self._cancel_all(grace)).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel_all(self, grace: float) -> None:
        others = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=grace)

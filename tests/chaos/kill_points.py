"""Harm at each store command in turn, to whole processes under load: each reaches the store through a proxy of its own.

`test_every_store_command.py` and its neighbours do it path by path with nothing beside; here all paths run at once.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tests.chaos.store_proxy import HARMS, Harm, StoreProxy

_T = TypeVar("_T")
COMMANDS = (
    8  # of a process, counted from any moment: a turn of a worker, and what a request costs a gateway, have fewer
)
STOPPED_S = 9.0  # longer than the processes' limit of a command
FATAL: tuple[Harm, ...] = ("killed", "killed after")
POINTS: tuple[tuple[int, Harm], ...] = tuple((at, harm) for at in range(1, COMMANDS + 1) for harm in HARMS)


@dataclass
class Proxies:
    """By the name of the process behind each; they run in a thread of their own."""

    _loop: asyncio.AbstractEventLoop
    _stack: AsyncExitStack
    proxies: dict[str, StoreProxy] = field(default_factory=dict)

    def reached(self, name: str, url: str) -> str:
        """A proxy's address for the process of that name."""
        return self._do(self._listen(name, urlsplit(url).netloc))

    def arm(self, name: str, at: int, harm: Harm) -> None:
        self._loop.call_soon_threadsafe(self.proxies[name].arm, at, harm)

    def harmed(self, name: str) -> bool:
        return self.proxies[name].harmed

    async def close(self) -> None:
        await asyncio.gather(*(proxy.close() for proxy in self.proxies.values()))
        await self._stack.aclose()

    async def _listen(self, name: str, store: str) -> str:
        proxy = self.proxies[name] = StoreProxy(store, 0, "cut", STOPPED_S)
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        self._stack.callback(server.close)
        return f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


@contextmanager
def proxies() -> Iterator[Proxies]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxies", daemon=True)
    thread.start()
    made = Proxies(loop, AsyncExitStack())
    try:
        yield made
    finally:
        made._do(made.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

"""A gateway in the test's own event loop, on a port of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from service import settings
from service.gateway import server
from tests.conftest import Valkey


@asynccontextmanager
async def running(valkey: Valkey, **gateway: Any) -> AsyncIterator[tuple[server.GatewayServer, int]]:
    """A gateway on a free loopback port."""
    given: dict[str, dict[str, object]] = {
        "gateway": {"port": 0, "header_timeout_s": 1.0, "max_header_bytes": 2000, **gateway},
        "store": {"url": valkey.url},
        "decode": {"processes": 1},
    }
    made = server.make(settings.load(given))
    task = asyncio.create_task(made._serve(None))  # `serve` would take over the test's signals
    while not made.started:
        assert not task.done()
        await asyncio.sleep(0.01)
    try:
        yield made, made.servers[0].sockets[0].getsockname()[1]
    finally:
        made.should_exit = True
        await task

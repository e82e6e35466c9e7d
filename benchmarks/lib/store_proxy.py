"""A proxy in front of the store that counts what passes: commands, and round trips of each connection.

with store_proxy(valkey.settings, tmp_path / "proxy") as proxy: Broker.connect(proxy.settings)
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import hiredis

from service.settings import StoreSettings

PIECE = 1 << 16


@dataclass
class RoundTrip:
    """The commands that a connection sent before it waited for an answer, each as its words."""

    commands: list[list[bytes]] = field(default_factory=list)

    def __str__(self) -> str:
        return "+".join(command[0].decode().upper() for command in self.commands)

    def names(self, key: str) -> bool:
        return any(key.encode() in word for command in self.commands for word in command[1:])


class StoreProxy:
    def __init__(self, store: StoreSettings, path: Path) -> None:
        self.settings = store.model_copy(update={"url": f"unix://{path}"})
        self.trips: list[RoundTrip] = []  # of all connections, in the order they began
        self._store, self._path = urlsplit(store.required_url()).path, path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> None:
        self._thread.start()
        listening = asyncio.start_unix_server(self._serve, self._path)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # aborted transports close their sockets in the next turns of the loop

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        server_in, server_out = await asyncio.open_unix_connection(self._store)
        waiting = [False]  # whether the client waits for an answer
        parser = hiredis.Reader()
        try:
            await asyncio.gather(
                self._requests(client_in, server_out, parser, waiting), self._answers(server_in, client_out, waiting)
            )
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for writer in (server_out, client_out):
                writer.transport.abort()

    async def _requests(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, parser: hiredis.Reader, waiting: list[bool]
    ) -> None:
        while data := await source.read(PIECE):
            if not waiting[0]:
                waiting[0] = True
                trip = RoundTrip()
                self.trips.append(trip)
            parser.feed(data)
            while (command := parser.gets()) is not False:
                trip.commands.append(command)
            target.write(data)
            await target.drain()
        target.transport.abort()

    async def _answers(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, waiting: list[bool]) -> None:
        while data := await source.read(PIECE):
            waiting[0] = False
            target.write(data)
            await target.drain()
        target.transport.abort()


@contextlib.contextmanager
def store_proxy(store: StoreSettings, path: Path) -> Iterator[StoreProxy]:
    proxy = StoreProxy(store, path)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()

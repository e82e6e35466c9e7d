"""A proxy between a process and the real store that does harm at one command, counted from the first.

It reads the store's protocol as far as it must: where one command ends and the next begins.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

Harm = Literal["cut", "answer lost", "stopped", "killed", "killed after"]
HARMS: tuple[Harm, ...] = ("cut", "answer lost", "stopped", "killed", "killed after")
PAUSE = 0.3  # seconds that a stopped command stands still, unless its client leaves before
LATE_S = 0.05  # seconds by which a stopped command comes after its client's leave, and so after its repeat
UNTIL_IT_LEAVES = 60.0  # in place of PAUSE: the client's own limit of a command ends the stop
MARK = b"store-proxy-was-here"
_GREETINGS = (b"CLIENT", b"SELECT", b"AUTH")  # of each new connection, by the driver; not counted


@dataclass(frozen=True)
class _Passage:
    """A connection through the proxy. `pump` carries answers back until `harmed` is set."""

    client: asyncio.StreamReader
    store: asyncio.StreamWriter
    harmed: asyncio.Event
    pump: "asyncio.Task[None]"


class StoreProxy:
    """`cut`: the connection breaks before the command arrives; `answer lost`: after it was done; `stopped`: it arrives
    late; `killed`, `killed after`: all connections break, before or after it, and none is made any more.

    `store`: the path of its Unix socket, or host:port. `at` 0 harms nothing.
    """

    def __init__(self, store: str, at: int, harm: Harm, pause_s: float = PAUSE) -> None:
        self._store, self._at, self._harm, self._pause_s = store, at, harm, pause_s
        self.count = 0
        self.counts = True  # false while nothing is to be harmed yet
        self.harmed = False
        self.died = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    def arm(self, at: int, harm: Harm) -> None:
        """Harm command `at` from now; new connections are made again where they were not."""
        self.count, self._at, self._harm, self.harmed = 0, at, harm, False
        self.died.clear()

    async def serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        await self._serve(client, back)

    async def close(self) -> None:
        """End what connections are left."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        if self.died.is_set():
            back.close()
            return
        try:
            answers, store = await _opened(self._store)
        except OSError:
            back.close()
            return
        if self.died.is_set():  # meanwhile
            back.close()
            store.close()
            return
        self._writers |= {back, store}
        harmed = asyncio.Event()
        pump = asyncio.create_task(_pump(answers, back, harmed))
        pump.add_done_callback(lambda _: back.close())  # a store that is gone closes its connections
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            passage = _Passage(client, store, harmed, pump)
            while await self._pass_on(await _command(client), passage):
                pass
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)
        for writer in (back, store):
            self._writers.discard(writer)
            writer.close()

    async def _pass_on(self, command: bytes, passage: "_Passage") -> bool:
        """Whether the connection goes on."""
        if self.counts and command.split(b"\r\n", 3)[2].upper() not in _GREETINGS:
            self.count += 1
            if self.count == self._at:
                return await self._do_harm(command, passage)
        passage.store.write(command)
        return True

    async def _do_harm(self, command: bytes, passage: "_Passage") -> bool:
        self.harmed = True
        if self._harm == "stopped":
            late, left = await self._stopped(passage.client)
            passage.store.write(command + late)
            return not left
        if self._harm in ("answer lost", "killed after"):
            passage.harmed.set()
            passage.store.write(command + b"*2\r\n$4\r\nECHO\r\n$%d\r\n%b\r\n" % (len(MARK), MARK))
            await passage.pump  # ends when the store has done it
        if self._harm in ("killed", "killed after"):
            self.died.set()
            for writer in self._writers:
                writer.transport.abort()
        return False

    async def _stopped(self, client: asyncio.StreamReader) -> tuple[bytes, bool]:
        """Bytes that came behind the command meanwhile, and true where the client left."""
        late = b""
        try:
            async with asyncio.timeout(self._pause_s):
                while data := await client.read(65536):
                    late += data
        except TimeoutError:
            return late, False
        await asyncio.sleep(LATE_S)
        return late, True


async def _opened(store: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if store.startswith("/"):
        return await asyncio.open_unix_connection(store)
    host, _, port = store.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _command(client: asyncio.StreamReader) -> bytes:
    head = await client.readuntil(b"\r\n")
    parts = [head]
    for _ in range(int(head[1:])):
        size = await client.readuntil(b"\r\n")
        parts += [size, await client.readexactly(int(size[1:]) + 2)]
    return b"".join(parts)


async def _pump(answers: asyncio.StreamReader, back: asyncio.StreamWriter, harmed: asyncio.Event) -> None:
    lost = b""
    while data := await answers.read(65536):
        if not harmed.is_set():
            back.write(data)
            continue
        lost += data
        if MARK in lost:
            return


@contextlib.asynccontextmanager
async def store_proxy(store: str, at: int, harm: Harm, pause_s: float = PAUSE) -> AsyncIterator[tuple[StoreProxy, str]]:
    """The proxy and its address, in front of the store at that Unix socket."""
    proxy = StoreProxy(store, at, harm, pause_s)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        yield proxy, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()
        await proxy.close()

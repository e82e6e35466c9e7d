"""A real gateway in the test's own event loop, and a measure of how long that loop is held.

The loop's processor time is measured, not the wall's: other work on the machine must not fail a test. Nor must an older
processor: the time is given as that of the processor on which the bound was set, by what a fixed piece of Python takes.
"""

import asyncio
import functools
import gc
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.gateway.running import running

__all__ = ["Watch", "running", "send", "watched"]


REFERENCE_S = 0.008  # `_piece` on the processor on which the bounds were set (AMD EPYC, Zen 4)


@functools.cache
def slowness() -> float:
    """Times that this processor takes longer than the reference, at least 1: the best of some runs."""
    return max(1.0, min(_piece() for _ in range(9)) / REFERENCE_S)


def _piece() -> float:
    begun = time.thread_time()
    sum(number * number for number in range(200_000))
    return time.thread_time() - begun


@dataclass
class Watch:
    """`stall`: longest time that one turn of the loop worked (seconds of the reference processor). `grown`: resident
    bytes above the start."""

    stall: float = 0.0
    start: int = field(default_factory=lambda: resident())
    most: int = 0

    @property
    def grown(self) -> int:
        return self.most - self.start


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


@asynccontextmanager
async def watched() -> AsyncIterator[Watch]:
    """Watch this loop while the block runs. The collector passes over what other tests left: it is none of ours."""
    slowness()  # before anything is watched
    gc.collect()
    gc.freeze()
    watch = Watch()

    async def look() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            watch.stall = max(watch.stall, (time.thread_time() - before) / slowness())
            watch.most = max(watch.most, resident())

    task = asyncio.create_task(look())
    await asyncio.sleep(0)
    try:
        yield watch
    finally:
        task.cancel()
        gc.unfreeze()


async def send(port: int, pieces: Sequence[bytes], *, patience_s: float = 20.0, pause_s: float = 0.0) -> bytes:
    """Send bytes until they end or the server hangs up; what it answered, empty where it only hung up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = asyncio.create_task(reader.read())
    try:
        for piece in pieces:
            if answered.done():
                break
            writer.write(piece)
            await writer.drain()
            if pause_s:
                await asyncio.sleep(pause_s)
    except OSError:
        pass
    try:
        return await asyncio.wait_for(answered, patience_s)
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()

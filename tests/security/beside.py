"""A real gateway in the test's own event loop, and a measure of how long that loop is held.

The loop's processor time is measured, not the wall's: other work on the machine must not fail a test. Nor must an older
processor: the time is given as that of the processor on which the bound was set, by what a fixed piece of Python takes.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from tests.gateway.running import running

__all__ = ["HELD_S", "Watch", "least_held", "running", "send", "watched"]


HELD_S = 0.1  # the most that one callback of a gateway's loop may work (seconds of the reference processor)
REFERENCE_S = 0.008  # `_piece` on the processor on which the bounds were set (AMD EPYC, Zen 4)


def slowness() -> float:
    """Times that this processor takes longer than the reference now, at least 1: the best of some runs. A core that
    others share takes longer."""
    return max(1.0, min(_piece() for _ in range(9)) / REFERENCE_S)


def _piece() -> float:
    begun = time.thread_time()
    sum(number * number for number in range(200_000))
    return time.thread_time() - begun


@dataclass
class Watch:
    """`stall`: longest time that one callback of the loop worked (seconds of the reference processor), `staller` what
    it was. `grown`: resident bytes above the start."""

    stall: float = 0.0
    staller: str = ""
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
    gc.collect()
    gc.freeze()
    watch, slow = Watch(), slowness()

    async def look() -> None:
        while True:
            await asyncio.sleep(0.001)
            watch.most = max(watch.most, resident())

    task = asyncio.create_task(look())
    try:
        with _timed(watch, slow):
            yield watch
    finally:
        task.cancel()
        gc.unfreeze()


@contextmanager
def _timed(watch: Watch, slow: float) -> Iterator[None]:
    """Time each callback of this loop while the block runs; of those in which it begins and ends, its own part."""
    loop, run, begun, ended = asyncio.get_running_loop(), asyncio.Handle._run, time.thread_time(), False

    def note(what: object) -> None:
        if not ended and (took := (time.thread_time() - begun) / slow) > watch.stall:
            watch.stall, watch.staller = took, repr(what)[:300]

    def timed(handle: Any) -> None:
        nonlocal begun
        if handle._loop is loop:
            begun = time.thread_time()
            run(handle)
            note(handle)
        else:
            run(handle)

    with mock.patch.object(asyncio.Handle, "_run", timed):
        try:
            yield
        finally:
            note("the block itself")
            ended = True


async def least_held(attempt: Callable[[], Awaitable[Watch]]) -> Watch:
    """The watch of the first attempt within the bound, of three. A fault holds the loop each time; on a busy machine
    memory that is new to a process may take twice its time once."""
    for _ in range(3):
        watch = await attempt()
        if watch.stall < HELD_S:
            break
    return watch


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

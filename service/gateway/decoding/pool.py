"""The pool of decoding children: bytes in, arrays out, whatever a caller sends.

A child is a separate interpreter that has locked itself down (`sandbox`). A crash, a hang or nonsense on the pipe costs
the one medium it was working on; the child is killed and replaced. What it answers is checked before it is believed.
"""

import asyncio
import logging
import math
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import numpy as np

from service.gateway.decoding.protocol import (
    LENGTH,
    MAX_HEADER_BYTES,
    Decoded,
    DecodeJob,
    DecoderReady,
    Header,
    Refused,
    from_child,
    pack,
)
from service.gateway.errors import GatewayError

log = logging.getLogger(__name__)

SLICE = 256 * 1024  # written at a time, between which the event loop may do other things
MAX_ARRAY_BYTES = 64 << 20  # the largest recipe, video, gives 18 MB
DTYPES = ("<f4", "<i8", "|u1")
MAX_AXES = 8
START_S = 60.0  # imports on a busy machine
END_S = 5.0  # seconds that a killed child may take to be gone
_QUIET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "LC_ALL": "C.UTF-8"}

Params = Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """`command` starts a child; times in seconds a medium."""

    command: Sequence[str]
    processes: int = 2
    max_waiting: int = 64
    cpu_s: float = 30.0
    wall_s: float = 60.0
    recycle: int = 200


def child_command(memory_bytes: int, limits: object) -> list[str]:
    """The command of a real child. `limits` is a `pandagpt_core.media.Limits`."""
    told = msgspec.json.encode(limits).decode()
    return [sys.executable, "-I", "-m", "service.gateway.decoding.child", str(memory_bytes), told]


class ChildLost(Exception):
    """A child died, hung or broke the protocol."""


class DecodePool:
    """At most `processes` media are decoded at once and `max_waiting` wait; beyond that `overloaded`."""

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._slots: asyncio.Queue[_Child | None] = asyncio.Queue()  # one a process; None where the child is gone
        self._children: set[_Child] = set()  # all that were started and not yet seen to end
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self.enforced: tuple[str, ...] = ()

    async def start(self) -> None:
        """Children start in the background; the first media wait for them."""
        for _ in range(self._options.processes):
            self._in_background(self._refill())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for child in tuple(self._children):
            await self._end(child)

    async def decode(self, recipe: str, data: bytes, params: Params) -> np.ndarray:
        """The recipe's array. Raises `invalid_media` for what cannot be decoded within the limits, `overloaded`."""
        if self._waiting >= self._options.max_waiting:
            raise GatewayError("overloaded", f"{self._waiting} media wait for decoding; the limit is reached.")
        self._waiting += 1
        try:
            child = await self._slots.get()
        finally:
            self._waiting -= 1
        healthy = False
        try:
            child = child or await self._start_child()
            answer, body = await self._ask(child, recipe, data, params)
            healthy = child.jobs < self._options.recycle
        except ChildLost as lost:
            log.warning("a decoding child was lost", extra={"reason": str(lost)})
            raise GatewayError("invalid_media", f"cannot be decoded: {lost}.") from None
        finally:
            self._give_back(child, healthy)
        if isinstance(answer, Refused):
            raise GatewayError(answer.code, answer.message, param=answer.param)
        return np.frombuffer(body, answer.dtype).reshape(answer.shape)

    async def _ask(self, child: "_Child", recipe: str, data: bytes, params: Params) -> tuple[Decoded | Refused, bytes]:
        job = DecodeJob(recipe=recipe, params=dict(params), size=len(data), cpu_s=self._options.cpu_s)
        try:
            async with asyncio.timeout(self._options.wall_s):
                return await child.ask(job, data)
        except TimeoutError:
            raise ChildLost(f"it took longer than the limit of {self._options.wall_s:g} s") from None
        except (OSError, EOFError, msgspec.MsgspecError, UnicodeDecodeError):
            raise ChildLost("the decoder stopped, perhaps at a limit of memory or processor time") from None

    def _give_back(self, child: "_Child | None", healthy: bool) -> None:
        if child is not None and healthy:
            self._slots.put_nowait(child)
        else:
            self._in_background(self._refill(child))

    async def _refill(self, dead: "_Child | None" = None) -> None:
        fresh = None
        try:
            if dead is not None:
                await self._end(dead)
            fresh = await self._start_child()
        except ChildLost:
            log.error("a decoding child does not start")  # the next medium in line tries again
        finally:
            self._slots.put_nowait(fresh)

    async def _start_child(self) -> "_Child":
        environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ} | _QUIET
        process = await asyncio.create_subprocess_exec(
            *self._options.command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment
        )
        child = _Child(process)
        self._children.add(child)
        try:
            async with asyncio.timeout(START_S):
                ready, _ = await child.receive()
        except (OSError, EOFError, TimeoutError, msgspec.MsgspecError, UnicodeDecodeError):
            await self._end(child)
            raise ChildLost("the decoder does not start") from None
        except asyncio.CancelledError:
            await self._end(child)
            raise
        if isinstance(ready, DecoderReady) and tuple(ready.enforced) != self.enforced:
            self.enforced = tuple(ready.enforced)
            log.info("decoding children are confined", extra={"names": ", ".join(self.enforced)})
        return child

    async def _end(self, child: "_Child") -> None:
        await child.kill()
        self._children.discard(child)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Child:
    """One process and its pipes."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._to, self._from = process, process.stdin, process.stdout
        self.jobs = 0

    async def ask(self, job: DecodeJob, data: bytes) -> tuple[Decoded | Refused, bytes]:
        self.jobs += 1
        self._to.write(pack(job))
        view = memoryview(data)
        for at in range(0, len(view), SLICE):
            self._to.write(view[at : at + SLICE])
            await self._to.drain()
        answer, body = await self.receive()
        if not isinstance(answer, Decoded | Refused):
            raise EOFError("out of turn")
        return answer, body

    async def receive(self) -> tuple[Header, bytes]:
        (length,) = LENGTH.unpack(await self._from.readexactly(LENGTH.size))
        if length > MAX_HEADER_BYTES:
            raise EOFError("header too long")
        header = from_child.decode(await self._from.readexactly(length))
        if not isinstance(header, Decoded):
            return header, b""
        if not _believable(header):
            raise EOFError("no such array")
        return header, await self._from.readexactly(header.size)

    async def kill(self) -> None:
        """End it and let go of its pipes. Bounded: what the loop does not notice in time is left to it."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._to.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                # Beside one another: the end is only told once the pipe is empty, and a full buffer stops reading.
                await asyncio.gather(self._process.wait(), self._drained())

    async def _drained(self) -> None:
        with suppress(OSError):
            while await self._from.read(SLICE):
                pass


def _believable(answer: Decoded) -> bool:
    if answer.dtype not in DTYPES or len(answer.shape) > MAX_AXES or any(axis < 0 for axis in answer.shape):
        return False
    return answer.size <= MAX_ARRAY_BYTES and answer.size == math.prod(answer.shape) * np.dtype(answer.dtype).itemsize

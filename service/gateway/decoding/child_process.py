"""One decoding child as the gateway has it: a process and its pipes. Its answers are checked before they are used."""

import asyncio
import math
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import numpy as np

from service.gateway.decoding.protocol import (
    LENGTH,
    MAX_HEADER_BYTES,
    Decoded,
    DecoderReady,
    Header,
    Refused,
    from_child,
)

SLICE = 256 * 1024  # written at a time, between which the event loop may do other things
MAX_ARRAY_BYTES = 64 << 20  # the largest recipe, video, gives 18 MB
DTYPES = ("<f4", "<i8", "<i2", "|u1")
MAX_AXES = 8
START_S = 60.0  # imports on a busy machine
END_S = 5.0  # seconds that a killed child may take to be gone
_QUIET = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "LC_ALL": "C.UTF-8",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # its own pools reserve most of a child's address space
    "ARROW_IO_THREADS": "1",
}
BROKEN = (OSError, EOFError, msgspec.MsgspecError, UnicodeDecodeError)  # signs of a dead or lying child


class ChildLost(Exception):
    """A child died, hung or broke the protocol."""


def child_command(memory_bytes: int, limits: object) -> list[str]:
    """The command of a real child. `limits` is a `pandagpt_core.media.Limits`."""
    encoded = msgspec.json.encode(limits).decode()
    return [sys.executable, "-I", "-m", "service.gateway.decoding.child", str(memory_bytes), encoded]


async def start(command: Sequence[str]) -> "ChildProcess":
    """A process that is not ready yet: `receive` gives its `DecoderReady`."""
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ} | _QUIET
    return ChildProcess(
        await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment)
    )


class ChildProcess:
    """`jobs` counts its media, `enforced` names the layers of its sandbox, `absent` why others do not hold."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._to, self._from = process, process.stdin, process.stdout
        self._reading = asyncio.Lock()
        self.jobs = 0
        self.enforced: tuple[str, ...] = ()
        self.absent: dict[str, str] = {}

    @property
    def forbidden(self) -> bool:
        """Whether it was killed for a system call that its list does not allow."""
        return self._process.returncode == -signal.SIGSYS

    async def greet(self) -> None:
        """Wait until it is ready. Raises one of `BROKEN`, or TimeoutError."""
        async with asyncio.timeout(START_S):
            ready, _ = await self.receive()
        if not isinstance(ready, DecoderReady):
            raise EOFError("out of turn")
        self.enforced, self.absent = tuple(ready.enforced), ready.absent

    async def decode(self, job: bytes, data: bytes, wall_s: float) -> tuple[Decoded | Refused, bytes]:
        """`job` is a packed `DecodeJob`. Raises ChildLost."""
        self.jobs += 1
        view = memoryview(data)
        try:
            async with asyncio.timeout(wall_s):
                self._to.write(job)
                for at in range(0, len(view), SLICE):
                    self._to.write(view[at : at + SLICE])
                    await self._to.drain()
                answer, body = await self.receive()
        except TimeoutError:
            raise ChildLost(f"it took longer than the limit of {wall_s:g} s") from None
        except BROKEN:
            raise ChildLost("the decoder stopped, perhaps at a limit of memory or processor time") from None
        if not isinstance(answer, Decoded | Refused):
            raise ChildLost("the decoder answers out of turn")
        return answer, body

    async def receive(self) -> tuple[Header, bytes]:
        async with self._reading:
            return await self._receive()

    async def _receive(self) -> tuple[Header, bytes]:
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
        """End it and let go of its pipes. Bounded: an end that the loop does not notice in time is left to it."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                # Not `Process.kill`: before Python 3.12 it takes the status of a child that has just ended, for nobody.
                os.kill(self._process.pid, signal.SIGKILL)
        self._to.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                # Beside one another: the loop notices the end once the pipe is empty, and a full buffer stops reading.
                await asyncio.gather(self._process.wait(), self._drained())

    async def _drained(self) -> None:
        with suppress(OSError):
            async with self._reading:  # an answer that is waited for ends with the child
                while await self._from.read(SLICE):
                    pass


def _believable(answer: Decoded) -> bool:
    if answer.dtype not in DTYPES or len(answer.shape) > MAX_AXES or any(axis < 0 for axis in answer.shape):
        return False
    return answer.size <= MAX_ARRAY_BYTES and answer.size == math.prod(answer.shape) * np.dtype(answer.dtype).itemsize

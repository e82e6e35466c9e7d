"""Pools of decoding children: bytes in, arrays out, for all that callers send.

A child is a separate interpreter that has locked itself down (`sandbox`). A crash, a hang or nonsense on the pipe costs
the one medium it was working on; the child is killed and replaced.

Tenants share the children by what they use of them (`fair_queue`). Where one tenant holds several children, or the only
one, another does not wait for an end of that: a spare child is started for tenants of whom nothing is being decoded.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pandagpt_core.media import Notes
from pandagpt_core.media.params import Params
from pandagpt_core.media.scientific.magic import needs_library
from service.gateway.background import BackgroundTasks
from service.gateway.decoding import child_process
from service.gateway.decoding.child_process import ChildLost, ChildProcess, child_command
from service.gateway.decoding.fair_queue import FairQueue
from service.gateway.decoding.protocol import LIBRARIES, DecodeJob, Refused, pack
from service.gateway.decoding.sandbox import LAYERS
from service.gateway.errors import GatewayError

__all__ = ["ChildLost", "DecodePool", "DecodePools", "Params", "PoolOptions", "child_command"]
log = logging.getLogger(__name__)
SPARE_S = 30.0  # seconds that the spare child is kept without work


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """`command` starts a child; times in seconds a medium. Without `processes` there is the spare child alone."""

    command: Sequence[str]
    processes: int = 2
    max_waiting: int = 64
    cpu_s: float = 30.0
    wall_s: float = 60.0
    recycle: int = 200


@dataclass(slots=True, eq=False)
class _Slot:
    """A place for one child; None where it is gone and could not be replaced."""

    child: ChildProcess | None = None
    spare: bool = False


class DecodePool:
    """At most `processes` media are decoded at once, one more by the spare child, and `max_waiting` wait."""

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._queue: FairQueue[_Slot] = FairQueue(options.max_waiting)
        self._idle: deque[_Slot] = deque()
        self._spare: _Slot | None = None
        self._spare_idle = False
        self._children: set[ChildProcess] = set()  # the started ones that have not been seen to end
        self._background = BackgroundTasks()
        self.enforced: tuple[str, ...] = ()

    async def start(self) -> None:
        """Children start in the background; the first media wait for them."""
        for _ in range(self._options.processes):
            self._background.run(self._refill(_Slot()))

    async def close(self) -> None:
        await self._background.close()
        for child in tuple(self._children):
            await self._end(child)

    async def decode(self, recipe: str, data: bytes, params: Params, tenant: str = "") -> np.ndarray:
        """The recipe's array. Raises as `read`."""
        return (await self.read(recipe, data, params, tenant))[0]

    async def read(self, recipe: str, data: bytes, params: Params, tenant: str = "") -> tuple[np.ndarray, Notes]:
        """The recipe's array and what its reader remarked. Raises `invalid_media` where the bytes cannot be decoded in
        the limits, `overloaded`."""
        slot = await self._turn(tenant)
        healthy = False
        try:
            slot.child = slot.child or await self._start_child()
            job = DecodeJob(recipe=recipe, params=dict(params), size=len(data), cpu_s=self._options.cpu_s)
            answer, body = await slot.child.decode(pack(job), data, self._options.wall_s)
            healthy = slot.child.jobs < self._options.recycle
        except ChildLost as lost:
            log.warning("a decoding child was lost", extra={"reason": str(lost)})
            raise GatewayError("invalid_media", f"cannot be decoded: {lost}.") from None
        finally:
            self._queue.ended(tenant)
            self._give_back(slot, healthy)
        if isinstance(answer, Refused):
            raise GatewayError(answer.code, answer.message, param=answer.param)
        return np.frombuffer(body, answer.dtype).reshape(answer.shape), answer.notes

    async def _turn(self, tenant: str) -> _Slot:
        if self._idle and not self._queue.waiting:
            self._queue.pass_by(tenant)
            return self._idle.popleft()
        place = self._queue.enter(tenant)
        self._hand_out()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # its turn had just come
                self._queue.ended(tenant)
                self._give_back(place.result(), healthy=True)
            else:
                self._queue.leave(tenant, place)
            raise

    # Choice of the child and the tenant

    def _hand_out(self) -> None:
        if not self._queue.waiting:
            return
        while self._idle and (waiting := self._queue.tenants()):
            self._queue.next(waiting).set_result(self._idle.popleft())
        newcomers = self._queue.tenants(running=False)
        if not newcomers or not self._crowded():
            return
        if self._spare is None:
            self._spare = _Slot(spare=True)
            self._background.run(self._refill(self._spare))
        elif self._spare_idle:
            self._spare_idle = False
            self._queue.next(newcomers).set_result(self._spare)

    def _crowded(self) -> bool:
        """Whether one tenant holds more than one child, or the only one; always where there are none but a spare."""
        return max(self._queue.running.values(), default=0) > 1 or self._options.processes <= 1

    def _give_back(self, slot: _Slot, healthy: bool) -> None:
        if slot.child is not None and healthy:
            self._free(slot)
        else:
            self._background.run(self._refill(slot))

    def _free(self, slot: _Slot) -> None:
        if slot.spare:
            self._spare_idle = True
            self._background.run(self._retire(slot))
        else:
            self._idle.append(slot)
        self._hand_out()

    async def _retire(self, slot: _Slot) -> None:
        """End the spare child, unless somebody needs it before its time is over."""
        child, jobs = slot.child, slot.child.jobs if slot.child else 0
        await asyncio.sleep(SPARE_S)
        if self._spare is slot and self._spare_idle and slot.child is child and (child is None or child.jobs == jobs):
            self._spare, self._spare_idle = None, False
            if child is not None:
                await self._end(child)

    # Children

    async def _refill(self, slot: _Slot) -> None:
        dead, slot.child = slot.child, None
        try:
            if dead is not None:
                await self._end(dead)
            slot.child = await self._start_child()
        except ChildLost:
            log.error("a decoding child does not start")  # the next medium in line tries again
        finally:
            self._free(slot)

    async def _start_child(self) -> ChildProcess:
        child = await child_process.start(self._options.command)
        self._children.add(child)
        try:
            await child.greet()
        except (*child_process.BROKEN, TimeoutError):
            await self._end(child)
            raise ChildLost("the decoder does not start") from None
        except asyncio.CancelledError:
            await self._end(child)
            raise
        self._report(child.enforced, child.absent)
        return child

    def _report(self, enforced: tuple[str, ...], absent: Mapping[str, str]) -> None:
        """Once, unless a later child differs. A line for each layer that does not hold: its reason is not cut off."""
        if enforced == self.enforced:
            return
        self.enforced = enforced
        log.info("decoding children are confined", extra={"names": ", ".join(enforced)})
        for layer in [layer for layer in LAYERS if layer not in enforced]:
            reason = absent.get(layer, "unknown")
            log.warning("this system lacks a layer of the decoding sandbox", extra={"names": layer, "reason": reason})

    async def _end(self, child: ChildProcess) -> None:
        await child.kill()
        self._children.discard(child)
        if child.forbidden:
            log.error("a decoding child was killed for a system call that decoding does not need")


class DecodePools:
    """The interface of `DecodePool`; the recipe and the medium's first bytes choose.

    The second pool's children have large libraries too and read scientific files, meshes and laser scans. A locked
    child can import nothing, and the libraries cost a child 150 MB. So that pool has no child until a file needs one,
    and ends it when none has for some seconds.
    """

    def __init__(self, options: PoolOptions) -> None:
        self._usual = DecodePool(options)
        self._with_libraries = DecodePool(replace(options, command=[*options.command, LIBRARIES], processes=0))

    async def start(self) -> None:
        await self._usual.start()
        await self._with_libraries.start()

    async def close(self) -> None:
        await self._usual.close()
        await self._with_libraries.close()

    async def decode(self, recipe: str, data: bytes, params: Params, tenant: str = "") -> np.ndarray:
        """The recipe's array. Raises as `read`."""
        return (await self.read(recipe, data, params, tenant))[0]

    async def read(self, recipe: str, data: bytes, params: Params, tenant: str = "") -> tuple[np.ndarray, Notes]:
        """As `DecodePool.read`."""
        pool = self._with_libraries if needs_library(recipe, data) else self._usual
        return await pool.read(recipe, data, params, tenant)

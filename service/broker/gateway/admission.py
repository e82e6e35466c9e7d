"""Admission to a model's queue: a look at its room before media are decoded, and the script that queues a request."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import redis.asyncio

from pandagpt_core.types import Priority
from service.broker import scripts
from service.broker.connection import DRIVER_ERRORS, AsyncStore, raise_translated, store_errors
from service.broker.errors import BrokerError, Draining, DuplicateRequest, NoWorker, Overloaded, WorkersSilent
from service.broker.keys import GROUP, QUEUE_LIFE, SILENT_LIFE, Keys
from service.broker.media_cache import MediaCache
from service.broker.protocol import Request
from service.settings import StoreSettings

Field = str | bytes | int | float
PIPELINE_BYTES = 32 << 20  # arrays that one pipeline carries, beyond its first


@dataclass(frozen=True, slots=True)
class Capacity:
    """The room of a queue at the last look: the requests that wait in it, and the bytes that it can still take."""

    waiting: int
    free_bytes: int


class Admission:
    """The queues of one store. All methods raise Overloaded, NoWorker, Draining and StoreUnavailable.

    from_zero: models whose requests may wait for their first worker.
    """

    def __init__(
        self,
        store: AsyncStore,
        keys: Keys,
        settings: StoreSettings,
        media: MediaCache,
        from_zero: Collection[str] = (),
    ) -> None:
        self._store, self._keys, self._settings, self._media = store, keys, settings, media
        self._from_zero = frozenset(from_zero)

    async def check(
        self, model: str, priority: Priority, size: int = 0, share: str = "", weight: float = 1.0
    ) -> Capacity:
        """The room for one more request of `size` bytes of the caller that `share` names."""
        return (await self.look_up(model, priority, (), 0.0, size, share, weight))[0]

    async def look_up(
        self,
        model: str,
        priority: Priority,
        media: Sequence[str],
        life_s: float,
        size: int = 0,
        share: str = "",
        weight: float = 1.0,
    ) -> tuple[Capacity, set[str]]:
        """`check`, and in the same round trip the media that the store does not have; the others live on for `life_s`
        at least."""
        pipe: Any = self._store.pipeline(transaction=False)
        pipe.execute_command(*self._eval(model, priority, "", size, (share, weight)))
        self._media.look_up(pipe, media, life_s)
        try:
            room, *answers = await pipe.execute()
        except DRIVER_ERRORS as error:
            raise_translated(error)
        if room[0] != b"free":
            self._refuse(room, model, size)
        capacity = Capacity(int(room[1]), self._settings.max_queue_bytes - int(room[2]))
        return capacity, self._media.missing(media, answers)

    async def check_letter(self, model: str, letter: str) -> None:
        """Raises DuplicateRequest where there is no such dead letter any more."""
        with store_errors():
            if not await self._store.xrange(self._keys.dead(model), letter, letter):
                raise DuplicateRequest("this dead letter was retried or dropped meanwhile", param="id")

    async def admit(
        self,
        request: Request,
        payload: bytes,
        arrays: Mapping[str, np.ndarray],
        life: int,
        fields: Mapping[str, Field],
        letter: str = "",
        weight: float = 1.0,
    ) -> bytes:
        """Store the arrays, write the record (`fields`, for `life` seconds) and queue the request; its entry's id.

        The last two are one step, in one pipeline with the arrays where those are not many. `letter`: the dead letter
        that the request was; in the same step it goes, and the record of its earlier run. `weight`: of the request's
        share. Raises DuplicateRequest too.
        """
        size = len(payload) + sum(array.nbytes for array in arrays.values())
        clustered = isinstance(self._store, redis.asyncio.RedisCluster)
        *earlier, last = [*_groups(arrays), {}] if clustered and arrays else _groups(arrays)
        share = (request.share or request.tenant, weight)
        rest = (*share, life, letter, *(item for pair in fields.items() for item in pair))
        command = self._eval(request.model, request.priority, payload, size, rest, request.id)
        media_life = request.deadline - time.time()
        try:
            for group in earlier:
                await self._media.put(self._store.pipeline(transaction=False), group, media_life).execute()
            # In this order on one server. A cluster's nodes keep no order among them.
            pipe: Any = self._media.put(self._store.pipeline(transaction=False), last, media_life)
            pipe.execute_command(*command)
            answer = (await pipe.execute())[-1]
        except DRIVER_ERRORS as error:
            raise_translated(error)
        if answer[0] != b"queued":
            self._refuse(answer, request.model, size)
        return bytes(answer[1])

    def _eval(
        self,
        model: str,
        priority: Priority,
        payload: bytes | str,
        size: int,
        rest: tuple[Field, ...],
        request_id: str | None = None,
    ) -> tuple[Field, ...]:
        """The command; without the id of a request it is a look."""
        names = self._keys.admission(model, priority)
        if request_id is not None:
            names = (*names, self._keys.record(request_id), self._keys.dead(model))
        may_wait = int(model in self._from_zero)
        limits = (self._settings.max_queue, self._settings.max_queue_bytes, QUEUE_LIFE, may_wait, 1000 * SILENT_LIFE)
        return ("EVAL", scripts.ADMIT, len(names), *names, GROUP, payload, size, *limits, *rest)

    def _refuse(self, answer: Any, model: str, size: int) -> NoReturn:
        outcome, waiting, held = answer[0].decode(), answer[1], answer[2]
        most, most_bytes = self._settings.max_queue, self._settings.max_queue_bytes
        refusals: dict[str, BrokerError] = {
            "no_worker": NoWorker(f"no worker serves {model} now"),
            "silent": WorkersSilent(f"no worker of {model} gives a sign of life"),
            "draining": Draining(f"every worker of {model} is going away; try again"),
            "full": Overloaded(f"{waiting} requests wait for {model}; at most {most} may"),
            "heavy": Overloaded(f"waiting requests hold {held} bytes, this one {size}; at most {most_bytes} together"),
            "duplicate": DuplicateRequest("a request with this id was already sent; ids are used once", param="id"),
        }
        raise refusals[outcome]


def _groups(arrays: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The arrays in groups of about `PIPELINE_BYTES`; at least one group."""
    groups: list[dict[str, np.ndarray]] = [{}]
    size = 0
    for name, array in arrays.items():
        if groups[-1] and size + array.nbytes > PIPELINE_BYTES:
            groups.append({})
            size = 0
        groups[-1][name] = array
        size += array.nbytes
    return groups

"""Admission to a model's queue: a check before media are decoded, and the script that queues a request."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pandagpt_core.types import Priority
from service.broker import scripts
from service.broker.connection import AsyncStore, store_errors
from service.broker.errors import BrokerError, Draining, DuplicateRequest, NoWorker, Overloaded
from service.broker.keys import GROUP, QUEUE_LIFE, Keys
from service.broker.protocol import Request
from service.settings import StoreSettings

Field = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Capacity:
    """The room of a queue at the last look: the requests that wait in it, and the bytes that it can still take."""

    waiting: int
    free_bytes: int


class Admission:
    """The queues of one store. All methods raise Overloaded, NoWorker, Draining and StoreUnavailable.

    from_zero: models whose requests may wait for their first worker.
    """

    def __init__(self, store: AsyncStore, keys: Keys, settings: StoreSettings, from_zero: Collection[str] = ()) -> None:
        self._store, self._keys, self._settings = store, keys, settings
        self._from_zero = frozenset(from_zero)

    async def check(self, model: str, priority: Priority, size: int = 0, share: str = "") -> Capacity:
        """The room for one more request of `size` bytes of the caller that `share` names."""
        with store_errors():
            answer: Any = await self._store.execute_command(*self.check_command(model, priority, size, share))
        return self.capacity(answer, model, size)

    def check_command(self, model: str, priority: Priority, size: int = 0, share: str = "") -> tuple[Field, ...]:
        """The command of `check`, for a pipeline; `capacity` reads its answer."""
        return self._eval(model, self._keys.admission(model, priority), "", size, (share,))

    def capacity(self, answer: Any, model: str, size: int = 0) -> Capacity:
        self._raise_refusal(answer, model, size)
        return Capacity(int(answer[1]), self._settings.max_queue_bytes - int(answer[2]))

    def admit_command(
        self, request: Request, payload: bytes, size: int, life: int, fields: Mapping[str, Field]
    ) -> tuple[Field, ...]:
        """The command that writes the record (`fields`, for `life` seconds) and queues the request, in one step."""
        rest = (request.share or request.tenant, life, *(item for pair in fields.items() for item in pair))
        names = (*self._keys.admission(request.model, request.priority), self._keys.record(request.id))
        return self._eval(request.model, names, payload, size, rest)

    def entry(self, answer: Any, model: str, size: int) -> bytes:
        """The queue entry's id from the answer to `admit_command`. Raises DuplicateRequest too."""
        self._raise_refusal(answer, model, size)
        return bytes(answer[1])

    def _eval(
        self, model: str, names: tuple[str, ...], payload: bytes | str, size: int, rest: tuple[Field, ...]
    ) -> tuple[Field, ...]:
        may_wait = int(model in self._from_zero)
        limits = (self._settings.max_queue, self._settings.max_queue_bytes, QUEUE_LIFE, may_wait)
        return ("EVAL", scripts.ADMIT, len(names), *names, GROUP, payload, size, *limits, *rest)

    def _raise_refusal(self, answer: Any, model: str, size: int) -> None:
        outcome, waiting, held = answer[0].decode(), answer[1], answer[2]
        if outcome in ("free", "queued"):
            return
        most, most_bytes = self._settings.max_queue, self._settings.max_queue_bytes
        refusals: dict[str, BrokerError] = {
            "no_worker": NoWorker(f"no worker serves {model} now"),
            "draining": Draining(f"every worker of {model} is going away; try again"),
            "full": Overloaded(f"{waiting} requests wait for {model}; at most {most} may"),
            "heavy": Overloaded(f"waiting requests hold {held} bytes, this one {size}; at most {most_bytes} together"),
            "duplicate": DuplicateRequest("a request with this id was already sent; ids are used once", param="id"),
        }
        raise refusals[outcome]

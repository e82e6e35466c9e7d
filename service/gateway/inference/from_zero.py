"""Models that scale from zero: their requests wait in the queue for the first worker, which an autoscaler starts.

The last announcement of a worker has the inputs of such a model. The queue's metrics need no worker, so the autoscaler
sees the waiting request.
"""

from collections.abc import Collection
from contextlib import suppress

from pandagpt_core.types import ModelInfo
from service.broker.errors import BrokerError
from service.broker.gateway.client import Broker
from service.broker.gateway.request_record import RequestRecord


class FromZero:
    """`models` by id; a request waits `wait_s` seconds for a worker."""

    def __init__(self, broker: Broker, models: Collection[str], wait_s: float) -> None:
        self._broker, self.models, self.wait_s = broker, frozenset(models), wait_s

    @property
    def only(self) -> str | None:
        """Name of the only such model, for a request that names none; None if there are others or none."""
        return next(iter(self.models)) if len(self.models) == 1 else None

    def has(self, model: str) -> bool:
        return model in self.models

    def __bool__(self) -> bool:
        return bool(self.models)

    async def find(self, model: str) -> ModelInfo | None:
        """None for a model that does not scale from zero, or that no worker ever announced."""
        return await self._broker.last_known(model) if self.has(model) else None

    async def asleep(self, live: Collection[str]) -> dict[str, ModelInfo]:
        """Models that scale from zero and are not live, by id."""
        found = {name: await self.find(name) for name in sorted(self.models - set(live))}
        return {name: info for name, info in found.items() if info is not None}

    async def end_unserved(self, record: RequestRecord) -> None:
        """End a request that has waited so long as `no_worker`, if none has taken it and there is none."""
        with suppress(BrokerError):
            await self._broker.give_up_waiting(record)

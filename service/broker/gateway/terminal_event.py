"""The end of a request as a gateway writes it, where no worker will."""

import time
from typing import Any

from redis.exceptions import ResponseError

from service.broker import protocol, scripts
from service.broker.connection import AsyncStore, store_errors, translated
from service.broker.gateway.request_record import RequestRecord, RequestRecords
from service.broker.keys import DEAD_LIFE, GROUP, Keys
from service.broker.protocol import End, Failed
from service.settings import StoreSettings


class TerminalEvents:
    """Raises StoreUnavailable where the store fails."""

    def __init__(self, store: AsyncStore, keys: Keys, records: RequestRecords, settings: StoreSettings) -> None:
        self._store, self._keys, self._records = store, keys, records
        self._dead_letters = settings.dead_letters

    async def write(self, record: RequestRecord, attempt: int, end: End) -> bool:
        """Write an end as a fence of its own, if no other attempt got there first, and take the request off its lane.

        A worker that holds the request finds its next entry refused and drops it.
        """
        key = self._keys.events(record.id)
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.execute_command("XADD", key, f"{attempt}-0", "events", protocol.encode([end]))
            pipe.expire(key, self._records.life(record.deadline))
            written, _ = await pipe.execute(raise_on_error=False)
            if isinstance(written, ResponseError) and translated(written) is None:
                return False
            if isinstance(written, Exception):
                raise written
            if record.entry is not None:
                await self._settle(record, record.entry)
        return True

    async def _settle(self, record: RequestRecord, entry: bytes) -> None:
        keys = self._keys
        names = (keys.queue(record.model, record.lane), keys.load(record.model, record.lane), keys.dead(record.model))
        unused = ("", "", self._dead_letters, DEAD_LIFE)  # no dead letter
        await self._store.eval(scripts.SETTLE, 3, *names, GROUP, entry, *unused)


def failed(code: str, message: str) -> Failed:
    return Failed(code=code, message=message, at=time.time())

"""Readers that come and leave: a request is cancelled when no client reads it any more, or runs on for a later one."""

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace

from service.broker.errors import BrokerError, StoreUnavailable
from service.broker.gateway.client import Broker
from service.broker.gateway.readers import Readers, RequestReaders
from service.broker.gateway.request_record import RequestRecord
from service.gateway.background import BackgroundTasks


@dataclass(frozen=True, slots=True)
class LeavingReaders:
    broker: Broker
    readers: RequestReaders
    background: BackgroundTasks

    async def come(self, record: RequestRecord) -> RequestRecord:
        """The record by which this reader leaves. One that fails to come, or leaves meanwhile, counts no longer. Raises
        StoreUnavailable."""
        record = replace(record, reader=secrets.token_hex(8))
        try:
            await self.readers.attach(record.id, record.reader)
        except (StoreUnavailable, asyncio.CancelledError):
            self.leave(record)
            raise
        return record

    def leave(self, record: RequestRecord, in_background: bool = False) -> None:
        """A reader left before the end: cancel the request, now or after its grace, unless another reader comes. One in
        the background runs on."""
        if in_background:
            self.background.run(self.hand_over(record))
            return
        left = self.broker.leave(record)
        if record.grace_s > 0:
            self.background.run(self._after_grace(record, left))

    async def hand_over(self, record: RequestRecord) -> None:
        """This gateway leaves before the request's end: it runs on, to its end or deadline, for any reader."""
        with suppress(BrokerError):
            await self.readers.detach(record.id)

    async def _after_grace(self, record: RequestRecord, left: "asyncio.Future[Readers | None]") -> None:
        before = await left
        if before is not None and before.now <= 0:
            self.background.after(before.grace_s, lambda: self._cancel_unread(record.id, record.tenant, before.ever))

    async def _cancel_unread(self, request_id: str, tenant: str, ever: int) -> None:
        with suppress(BrokerError):
            if (await self.readers.count(request_id)).ever == ever:
                await self.broker.cancel(request_id, tenant)

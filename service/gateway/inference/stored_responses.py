"""Responses that are kept: found, ended and deleted."""

from dataclasses import dataclass

from service.broker.errors import UnknownRequest
from service.broker.gateway.request_record import RequestRecord
from service.broker.protocol import Done, Failed
from service.gateway.errors import GatewayError
from service.gateway.inference.responses.conversations import KeptConversation
from service.gateway.inference.service import RequestService


@dataclass(frozen=True, slots=True)
class StoredResponses:
    """A response is a request whose conversation is kept. All methods raise StoreUnavailable."""

    requests: RequestService

    async def find(self, request_id: str, tenant: str) -> tuple[RequestRecord, KeptConversation]:
        """Raises `request_not_found`."""
        try:
            record = await self.requests.find(request_id, tenant)
        except UnknownRequest:
            raise GatewayError("request_not_found", "There is no such response.") from None
        return record, await self.requests.conversations.find(record.id)

    async def end(self, record: RequestRecord) -> None:
        """Cancel it where it runs, and return once it has ended."""
        events = await self.requests.broker.history(record)
        if not any(isinstance(event, Done | Failed) for event in events):
            await self.requests.broker.cancel_record(record)
            await self.requests.until_ended(record)

    async def delete(self, request_id: str, tenant: str) -> None:
        """End it, and forget it and its conversation. Raises `request_not_found`."""
        record, _ = await self.find(request_id, tenant)
        await self.end(record)
        await self.requests.broker.delete(record)

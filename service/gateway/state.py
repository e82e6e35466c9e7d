"""State of one gateway process, made by the lifespan and handed to routes: no globals."""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

from prometheus_client import CollectorRegistry
from starlette.requests import Request

from service.broker.gateway.batches import BatchStore
from service.broker.gateway.client import Broker
from service.gateway.access.auth import KeyRing
from service.gateway.access.rate_limit import RateLimiter
from service.gateway.access.tenants import Tenants
from service.gateway.inference.embedding.answering import EmbedResponder
from service.gateway.inference.respond import Responder
from service.gateway.inference.service import RequestService
from service.gateway.inference.stored_responses import StoredResponses
from service.gateway.inference.validated import RequestLimits
from service.gateway.media.fetch import Fetcher
from service.gateway.media.files import FileStore
from service.gateway.media.media_uuids import MediaUuids
from service.gateway.media.multipart import FormLimits
from service.gateway.media.sources import MediaSources, SizeBudget
from service.gateway.streaming.event_stream import check_stays
from service.metrics import GatewayMetrics


@dataclass(slots=True)
class GatewayState:
    """`metrics_here`: whether this port answers /metrics. `fetcher` is None where media are not fetched from URLs.

    `terminating` is set by the first signal: the gateway is not ready and answers with `connection: close`, but still
    takes requests. `leaving` is set when the requests that still run have had their time: it takes no more.
    """

    host: str
    keys: KeyRing
    tenants: Tenants
    requests: RequestService
    responder: Responder
    files: FileStore
    batches: BatchStore
    uuids: MediaUuids
    limiter: RateLimiter
    metrics: GatewayMetrics
    registry: CollectorRegistry
    metrics_here: bool
    sources: MediaSources
    limits: RequestLimits
    form_limits: FormLimits
    fetcher: Fetcher | None = None
    terminating: bool = False

    @property
    def broker(self) -> Broker:
        return self.requests.broker

    @property
    def embedding(self) -> EmbedResponder:
        return EmbedResponder(self.requests, self.responder.usage, self.leaving)

    @property
    def responses(self) -> StoredResponses:
        return StoredResponses(self.requests)

    @property
    def leaving(self) -> asyncio.Event:
        return self.responder.leaving

    def check_accepting(self) -> None:
        """Raises `draining`."""
        check_stays(self.leaving)

    def lease(self, request: Request, tenant: str) -> AbstractAsyncContextManager[object]:
        """The tenant's share of the rate limits while the request lasts, where there are any; every answer has what is
        left in its headers. Entering it raises `rate_limit_exceeded`.
        """
        if not self.limiter.limits:
            return nullcontext()
        lease = self.limiter.lease(tenant)
        request.state.limits = lease.headers
        return lease

    def sources_of(self, tenant: str) -> MediaSources:
        """Sources for the links of one request of this tenant: its own files among them."""
        budget = SizeBudget(self.form_limits.max_total_bytes)
        fetch = self.sources.fetch if self.fetcher is None else partial(budget.read, self.fetcher.session())
        return replace(
            self.sources,
            open_file=partial(budget.read, partial(self.files.open, tenant)),
            recall=partial(self.uuids.recall, tenant),
            remember=partial(self.uuids.remember, tenant),
            fetch=fetch,
        )

    async def close(self) -> None:
        await self.limiter.close()
        await self.files.close()
        await self.requests.close()


def gateway_of(request: Request) -> GatewayState:
    gateway: GatewayState = request.app.state.gateway
    return gateway

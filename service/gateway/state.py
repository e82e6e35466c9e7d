"""Everything one gateway process owns, made by the lifespan and handed to routes: no globals."""

import asyncio
import importlib.metadata
import logging
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from prometheus_client import CollectorRegistry
from starlette.requests import Request

from pandagpt_core.types import ModelInfo
from service.broker.errors import BrokerError, Draining, NoWorker
from service.broker.gateway.client import Broker
from service.broker.gateway.readers import Readers, RequestReaders
from service.broker.gateway.request_record import RequestRecord
from service.gateway.auth import KeyRing
from service.gateway.errors import GatewayError
from service.gateway.inference.idempotency import Idempotency
from service.gateway.inference.validated import RequestLimits
from service.gateway.media.fetch import Fetcher
from service.gateway.media.files import FileStore
from service.gateway.media.multipart import FormLimits
from service.gateway.media.resolve import MediaResolver
from service.gateway.media.sources import MediaSources, SizeBudget
from service.gateway.rate_limit import RateLimiter, RateLimitLease
from service.gateway.streaming.chunks import ResponseMetadata, read_metadata
from service.gateway.streaming.event_stream import StreamTimeouts
from service.metrics import GatewayMetrics

log = logging.getLogger(__name__)


@dataclass(slots=True)
class GatewayState:
    """`metrics_here`: whether this port answers /metrics. `terminating` is set by the first signal: the gateway is
    not ready and answers with `connection: close`, but still takes what comes. `draining` is set when it takes
    nothing more, `leaving` when what still runs has had its time.

    `fetcher` is None where media are not fetched from URLs.
    """

    host: str
    keys: KeyRing
    broker: Broker
    readers: RequestReaders
    retries: Idempotency
    files: FileStore
    intake: MediaResolver
    limiter: RateLimiter
    metrics: GatewayMetrics
    links: MediaSources
    bounds: RequestLimits
    form: FormLimits
    pace: StreamTimeouts
    request_timeout_s: float
    disconnect_grace_s: float
    retry_grace_s: float
    default_model: str | None
    registry: CollectorRegistry
    metrics_here: bool
    given_salt: bytes | None = None
    fetcher: Fetcher | None = None
    terminating: bool = False
    draining: bool = False
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    _salt: bytes | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def salt(self) -> bytes:
        """What separates tenants: the settings' salt, else one kept in the store."""
        if self._salt is None:
            self._salt = self.given_salt or await self.broker.salt()
        return self._salt

    async def model(self, name: str | None) -> ModelInfo:
        """The live model of that name, or the default. Raises `model_not_found`, `no_worker`, `draining`."""
        if self.draining:
            raise Draining("this gateway is going away; try again")
        models = await self.broker.models()
        wanted = name or self.default_model or next((id_ for id_, live in models.items() if live.ready), None)
        wanted = wanted or next(iter(models), None)
        if wanted is not None and wanted in models:
            return models[wanted].info
        if not models or wanted == self.default_model:
            raise NoWorker("no worker serves this model now")
        raise GatewayError("model_not_found", "There is no such model.", param="model")

    def admit(self, request: Request, tenant: str) -> RateLimitLease:
        """The tenant's share of the limits while the request lasts; whatever the answer, it tells what is left of them.

        Entering it raises `rate_limit_exceeded`.
        """
        admission = self.limiter.admit(tenant)
        request.state.limits = admission.headers
        return admission

    def grace_s(self, retried: bool) -> float:
        """How long a request lives on without a reader. Whoever gave it an `Idempotency-Key` means to come back."""
        return max(self.disconnect_grace_s, self.retry_grace_s if retried else 0.0)

    async def join(self, request_id: str, tenant: str) -> tuple[RequestRecord, ResponseMetadata]:
        """Read along with a request that exists. Raises `request_not_found`, also where it has no events to fold."""
        record = await self.broker.find(request_id, tenant)
        metadata = read_metadata(record.response)
        await self.readers.attach(request_id)
        return record, metadata

    def links_of(self, tenant: str) -> MediaSources:
        """What the links of one request of this tenant may point to: its own files among them."""
        meter = SizeBudget(self.form.max_total_bytes)
        fetch = meter.through(self.fetcher.session()) if self.fetcher is not None else self.links.fetch
        return replace(self.links, open_file=meter.through(partial(self.files.open, tenant)), fetch=fetch)

    async def gone(self, request_id: str, tenant: str) -> None:
        """A reader of this request left before its end: cancel it, now or after the grace time if nobody else comes."""
        with suppress(BrokerError):
            readers = await self.readers.detach(request_id)
            if readers.now > 0:
                return
            if readers.grace_s <= 0:
                await self.broker.cancel(request_id, tenant)
                return
            self.in_background(self._cancel_unless_read(request_id, tenant, readers))

    async def hand_over(self, request_id: str) -> None:
        """This gateway leaves before the request's end: it runs on for whoever reads it next, to its own end or
        deadline. Nobody here could still cancel it later."""
        with suppress(BrokerError):
            await self.readers.detach(request_id)

    async def _cancel_unless_read(self, request_id: str, tenant: str, before: Readers) -> None:
        await asyncio.sleep(before.grace_s)
        with suppress(BrokerError):
            if (await self.readers.count(request_id)).ever == before.ever:
                await self.broker.cancel(request_id, tenant)

    async def abandon(self, request_id: str, tenant: str) -> None:
        """Cancel a request that nobody can read any more."""
        with suppress(BrokerError):
            await self.broker.cancel(request_id, tenant)

    def in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.limiter.close()
        await self.broker.close()


def gateway_of(request: Request) -> GatewayState:
    gateway: GatewayState = request.app.state.gateway
    return gateway


def version() -> str:
    return importlib.metadata.version("pandagpt")

"""The gateway as an ASGI application: routes, errors, middleware, and a lifespan that owns everything else.

uvicorn.run(create_app(settings))
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager

from fastapi import FastAPI
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, make_wsgi_app
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from pandagpt_core.media import Limits
from service.broker.connection import connect_async
from service.broker.errors import BrokerError
from service.broker.gateway.batches import BatchStore
from service.broker.gateway.client import Broker
from service.broker.gateway.idempotency_keys import IdempotencyKeys
from service.broker.gateway.rate_limits import RateLimits, RateStore
from service.broker.gateway.readers import RequestReaders
from service.broker.keys import Keys
from service.broker.queue_metrics import QueueMetrics
from service.gateway.access.auth import KeyRing, read_keys
from service.gateway.access.keys_reload import KeysFile
from service.gateway.access.rate_limit import RateLimiter, UsageMeter
from service.gateway.access.tenants import Tenants
from service.gateway.background import measure_lag
from service.gateway.decoding.pool import DecodePools, PoolOptions, child_command
from service.gateway.error_handlers import HANDLERS, log_fields
from service.gateway.errors import ERRORS
from service.gateway.inference.batches.runner import BatchRunner
from service.gateway.inference.from_zero import FromZero
from service.gateway.inference.idempotency import REPLAYED, Idempotency
from service.gateway.inference.parsing.form import FILE_FIELDS
from service.gateway.inference.respond import Responder
from service.gateway.inference.responses.conversations import Conversations
from service.gateway.inference.service import RequestService, ServiceOptions
from service.gateway.inference.validated import RequestLimits
from service.gateway.media.fetch import Fetcher
from service.gateway.media.files import FileStore, Quota
from service.gateway.media.media_uuids import MediaUuids
from service.gateway.media.multipart import FormLimits
from service.gateway.media.pictures import Pictures
from service.gateway.media.resolve import MediaResolver
from service.gateway.media.sources import MediaSources
from service.gateway.middleware import (
    BodyLimitMiddleware,
    BodyLimits,
    HeadMiddleware,
    RequestContextMiddleware,
)
from service.gateway.openapi import document
from service.gateway.page.guide import read_guide
from service.gateway.page.site import make_site
from service.gateway.routes import routers
from service.gateway.state import GatewayState
from service.gateway.streaming.event_stream import StreamTimeouts
from service.metrics import GatewayMetrics
from service.metrics.exposition import operators_port
from service.metrics.process import register_process
from service.settings import Settings
from service.tracing import Tracer, make_tracer
from service.version import version

log = logging.getLogger(__name__)
_RATES = [f"x-ratelimit-{what}-{of}" for of in ("requests", "tokens") for what in ("limit", "remaining", "reset")]
_EXPOSED = ["x-request-id", "x-ignored-params", "retry-after", "retry-after-ms", "x-should-retry", *REPLAYED, *_RATES]


def create_app(settings: Settings) -> FastAPI:
    """The application. Raises SettingsError for keys that cannot be read; connects when it starts, not before."""
    keys_file = settings.gateway.keys_file
    keys = KeyRing(read_keys(keys_file) if keys_file else None)
    registry = CollectorRegistry()
    metrics = GatewayMetrics.on(registry, ERRORS)
    register_process(registry, "gateway")
    tracer = make_tracer(settings.tracing, "gateway")
    app = FastAPI(
        title="PandaGPT",
        version=version(),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(settings, keys, registry, metrics, tracer),
        middleware=_middleware(settings, metrics, tracer),
        exception_handlers=HANDLERS,
    )
    app.state.site = make_site(settings.gateway.samples) if settings.gateway.page else None
    app.state.guide = read_guide(settings.gateway.guide)
    for router in routers(with_ollama=settings.gateway.ollama):
        app.include_router(router)
    document.install(
        app, [route for router in routers() for route in router.routes if isinstance(route, APIRoute)], settings.gateway
    )
    return app


def terminate(app: FastAPI) -> None:
    """From now on not ready, and each connection's next answer is its last. For signals."""
    gateway: GatewayState = app.state.gateway
    gateway.terminating = True


def leave(app: FastAPI) -> None:
    """The grace is over: streams are handed over, and nothing new is taken."""
    gateway: GatewayState = app.state.gateway
    gateway.leaving.set()


def _lifespan(
    settings: Settings, keys: KeyRing, registry: CollectorRegistry, metrics: GatewayMetrics, tracer: Tracer
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        queues = QueueMetrics.connect(settings.store)
        registry.register(queues)
        pool = DecodePools(pool_options(settings))
        gateway = make_state(settings, keys, registry, metrics, pool)
        app.state.gateway = gateway
        stack = ExitStack()
        if port := settings.gateway.admin_port:
            stack.enter_context(operators_port(settings.gateway.host, port, make_wsgi_app(registry)))
        gateway.requests.background.run(measure_lag(metrics.loop_lag_seconds))
        gateway.requests.background.run(gateway.tenants.follow())
        if settings.gateway.keys_file is not None:
            gateway.requests.background.run(KeysFile(settings.gateway.keys_file, keys).follow())
        if settings.gateway.batch_lines:
            gateway.requests.background.run(batch_runner(gateway, settings.gateway.batch_lines).follow())
        if gateway.fetcher is not None:
            gateway.fetcher.announce_unreachable()
        await pool.start()
        await _look_at_store(gateway)
        try:
            yield
        finally:
            await pool.close()
            await gateway.close()
            queues.close()
            await asyncio.to_thread(tracer.close)  # it sends what waits
            stack.close()

    return lifespan


def batch_runner(gateway: GatewayState, lines: int) -> BatchRunner:
    """The gateway's runner of batches, each of which has so many lines at once."""
    return BatchRunner(
        gateway.batches,
        gateway.files,
        gateway.requests,
        gateway.limits,
        gateway.responder.usage,
        gateway.sources_of,
        lines,
    )


async def _look_at_store(gateway: GatewayState) -> None:
    """A store that is down now may come up; one that is too old or refuses us will not, and is worth a line too."""
    try:
        await gateway.broker.check()
    except BrokerError as error:
        log.warning("the store cannot be used yet", extra=log_fields(error))


def make_state(
    settings: Settings, keys: KeyRing, registry: CollectorRegistry, metrics: GatewayMetrics, pool: DecodePools
) -> GatewayState:
    """State of a gateway, made of its settings; nothing is connected or started yet."""
    ours = settings.gateway
    largest = min(ours.max_part_bytes, settings.media.bytes)  # a part that no decoder takes need not be received
    store = connect_async(settings.store)
    broker = Broker(store, settings.store, ours.from_zero)
    names, life = Keys(settings.store.namespace), ours.request_timeout_s + settings.store.request_ttl_s
    rates = RateLimits(ours.rate_requests, ours.rate_tokens, ours.max_concurrent)
    service = RequestService(
        broker,
        RequestReaders(store, names, life),
        Idempotency(IdempotencyKeys(store, names, life), broker),
        MediaResolver(pool, broker, metrics, ours.request_timeout_s),
        Pictures(pool, store, names, life),
        FromZero(broker, ours.from_zero, ours.from_zero_wait_s),
        Conversations(store, names, life),
        ServiceOptions(
            ours.request_timeout_s,
            ours.disconnect_grace_s,
            ours.retry_grace_s,
            ours.default_model,
            ours.default_tokens,
            ours.tools,
            settings.store.patience_s,
        ),
    )
    limiter = RateLimiter(RateStore(store, names, rates), settings.store.patience_s)
    timeouts = StreamTimeouts(ours.keep_alive_s, ours.send_timeout_s, ours.send_buffer_bytes)
    return GatewayState(
        host=ours.host,
        keys=keys,
        tenants=Tenants(
            ours.salt.get_secret_value().encode() if ours.salt else None, broker.salt, settings.store.patience_s
        ),
        requests=service,
        responder=Responder(service, UsageMeter(limiter, metrics.usage_tokens), metrics, timeouts, asyncio.Event()),
        batches=BatchStore(store, names, settings.store.file_ttl_s),
        uuids=MediaUuids(store, names, settings.store.embedding_ttl_s),
        files=FileStore(store, names, Quota(ours.max_files, ours.max_files_bytes, settings.store.file_ttl_s)),
        limiter=limiter,
        metrics=metrics,
        registry=registry,
        metrics_here=not ours.admin_port,
        sources=MediaSources(largest),
        limits=RequestLimits(
            max_messages=ours.max_messages,
            max_media=ours.max_media,
            max_text_chars=ours.max_text_chars,
            max_tokens=ours.max_tokens,
            max_choices=ours.max_choices,
            max_embed_inputs=ours.max_embed_inputs,
            max_embed_chars=ours.max_embed_chars,
            lenient=ours.lenient,
        ),
        form_limits=FormLimits(
            file_fields=dict.fromkeys(FILE_FIELDS, largest),
            max_total_bytes=ours.max_body_bytes,
            max_field_bytes=ours.max_field_bytes,
            max_files=ours.max_media,
            max_fields=ours.max_fields,
        ),
        fetcher=Fetcher(settings.fetch, largest) if settings.fetch.hosts else None,
    )


def pool_options(settings: Settings) -> PoolOptions:
    ours, limits = settings.decode, Limits(**settings.media.model_dump())
    return PoolOptions(
        child_command(ours.memory_bytes, limits),
        processes=ours.processes,
        max_waiting=ours.max_waiting,
        cpu_s=ours.cpu_s,
        wall_s=ours.wall_s,
        recycle=ours.recycle,
    )


def _middleware(settings: Settings, metrics: GatewayMetrics, tracer: Tracer) -> list[Middleware]:
    ours = settings.gateway
    limits = BodyLimits(ours.max_header_bytes, ours.max_body_bytes, ours.body_timeout_s)
    stack = [Middleware(RequestContextMiddleware, metrics=metrics, tracer=tracer)]
    if ours.cors_origins:
        origins = list(ours.cors_origins)
        stack.append(
            Middleware(
                CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"], expose_headers=_EXPOSED
            )
        )
    return [*stack, Middleware(BodyLimitMiddleware, limits=limits), Middleware(HeadMiddleware)]

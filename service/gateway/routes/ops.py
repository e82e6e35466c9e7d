"""For operators: health, metrics, version, and the written interface."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client.exposition import choose_encoder
from starlette.responses import HTMLResponse

from service.broker.errors import Draining, NoWorker
from service.gateway.access.auth import Caller, OperatorAccess, Scope, public
from service.gateway.errors import GatewayError
from service.gateway.page.reference import page
from service.gateway.schema.documented import documented
from service.gateway.schema.resources import Live, Ready, Version
from service.gateway.state import gateway_of
from service.version import version

router = APIRouter(tags=["operations"])
_anyone = [Depends(public)]


@router.get("/health/live", dependencies=_anyone, responses=documented(Live))
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/health", dependencies=_anyone, response_model=None, responses=documented(Ready), operation_id="health")
@router.get("/ping", dependencies=_anyone, response_model=None, responses=documented(Ready), operation_id="ping")
@router.get("/health/ready", dependencies=_anyone, response_model=None, responses=documented(Ready))
async def ready(request: Request) -> dict[str, Any]:
    """A request sent now would find a store that takes writes, and a worker or a model that may wait for one; else 503
    with the reason.

    `/health` is vLLM's name for it, `/ping` that of SageMaker.
    """
    gateway = gateway_of(request)
    if gateway.terminating or gateway.leaving.is_set():
        raise Draining("this gateway is going away")
    await gateway.broker.check_writes()
    models = await gateway.broker.registry.models()
    takers = sorted(name for name, live in models.items() if live.ready)
    if not takers and not gateway.requests.from_zero:
        raise Draining("every worker is going away") if models else NoWorker("no worker serves any model")
    return {"status": "ok", "models": takers}


@router.get("/version", dependencies=_anyone, responses=documented(Version))
async def get_version() -> dict[str, str]:
    """The service's version."""
    return {"version": version()}


@router.get("/metrics", response_model=None, response_class=Response, responses=documented(None, "text/plain"))
async def metrics(request: Request, _caller: Annotated[Caller, Depends(OperatorAccess(Scope.METRICS))]) -> Response:
    """Prometheus' text form, or OpenMetrics where that is asked for; for callers on this machine and keys that may.

    On its own port where one is set.
    """
    gateway = gateway_of(request)
    if not gateway.metrics_here:
        raise GatewayError("not_found", "There is no such endpoint.")
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    text = await asyncio.to_thread(encode, gateway.registry)  # it reads the store
    return Response(text, media_type=media_type)


@router.get("/openapi.json", dependencies=_anyone, include_in_schema=False)
async def openapi(request: Request) -> dict[str, Any]:
    return dict(await asyncio.to_thread(request.app.openapi))  # built at first use


@router.get("/docs", dependencies=_anyone, include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(page(await asyncio.to_thread(request.app.openapi)), headers=policy)

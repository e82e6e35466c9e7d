"""/v1/batches: requests of an uploaded file, run by one gateway at a time in the class `batch`."""

import asyncio
import secrets
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from service.broker.errors import StoreUnavailable
from service.broker.gateway.batches import ENDED, LONGEST_WINDOW, BatchProgress, BatchStore, StoredBatch
from service.gateway.access.auth import Access, Caller, Scope
from service.gateway.background import BackgroundTasks
from service.gateway.errors import GatewayError
from service.gateway.inference.parsing.json_body import read_json_body
from service.gateway.json_answer import json_answer
from service.gateway.media.files import new_file_id
from service.gateway.schema.batches import BatchBody, BatchList, BatchObject
from service.gateway.schema.documented import documented, json_body
from service.gateway.state import GatewayState, gateway_of

router = APIRouter(tags=["batches"])
_Owner = Annotated[Caller, Depends(Access(Scope.INFER))]
_BODY = json_body("BatchBody")
_ID = r"^batch_[0-9a-f]{32}$"
_Known = Annotated[
    str | None, Query(pattern=_ID, description="The last id of the page before. Default: the first page.")
]
_Limit = Annotated[int, Query(ge=1, le=100, description="Most batches of one page (batches)")]
_BatchId = Annotated[str, Path(description="A batch's id")]
WITHDRAWAL_S = 60.0  # for which it is tried
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TIMES = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


@router.post("/v1/batches", response_model=None, responses=documented(BatchObject), openapi_extra=_BODY)
async def create_batch(request: Request, caller: _Owner) -> dict[str, Any]:
    """Take an uploaded file of requests; one gateway runs them, and their answers become a file."""
    gateway = gateway_of(request)
    async with gateway.lease(request, caller.tenant):
        body = await read_json_body(request, BatchBody)
        if body.endpoint == "/v1/embeddings" and Scope.EMBED not in caller.scopes:
            raise GatewayError("permission_denied", "This key may not use that endpoint (embed).")
        window = int(body.completion_window[:-1]) * _UNITS[body.completion_window[-1]]
        if window > LONGEST_WINDOW:
            words = f"completion_window is {window} seconds; the limit is {LONGEST_WINDOW}."
            raise GatewayError("invalid_request", words, param="completion_window")
        gateway.check_accepting()
        batch = _batch(body, caller, int(time.time()), window)
        await _hold_file(gateway, batch)
        await _enter(gateway.batches, gateway.requests.background, batch)
    return _object(batch, BatchProgress())


@router.get("/v1/batches", response_model=None, responses=documented(BatchList))
async def list_batches(request: Request, caller: _Owner, limit: _Limit = 20, after: _Known = None) -> Response:
    """The key's batches, newest first, those beyond `after`."""
    store = gateway_of(request).batches
    names = await store.of_tenant(caller.tenant)
    beyond = names[names.index(after) + 1 :] if after in names else names if after is None else []
    shown = [_object(*one) for one in await store.find_each(beyond[:limit])]
    ends = {"first_id": shown[0]["id"] if shown else None, "last_id": shown[-1]["id"] if shown else None}
    return await json_answer({"object": "list", "data": shown, **ends, "has_more": limit < len(beyond)})


@router.get("/v1/batches/{batch_id}", response_model=None, responses=documented(BatchObject))
async def get_batch(request: Request, batch_id: _BatchId, caller: _Owner) -> dict[str, Any]:
    """Progress of a batch, and its files once it has ended."""
    return _object(*await _found(gateway_of(request), batch_id, caller.tenant))


@router.post("/v1/batches/{batch_id}/cancel", response_model=None, responses=documented(BatchObject))
async def cancel_batch(request: Request, batch_id: _BatchId, caller: _Owner) -> dict[str, Any]:
    """Run no further line, and end those that run; the answers so far come into the output file. A batch that has ended
    stays as it is."""
    gateway = gateway_of(request)
    batch, _ = await _found(gateway, batch_id, caller.tenant)
    await gateway.batches.advance(batch.id, "cancelling")
    return _object(*await _found(gateway, batch_id, caller.tenant))


async def _hold_file(gateway: GatewayState, batch: StoredBatch) -> None:
    """Check the input file, and keep it for as long as the batch needs it."""
    try:
        info = await gateway.files.info(batch.tenant, batch.input_file)
        if info.purpose == "batch":
            await gateway.files.keep_until(batch.tenant, batch.input_file, batch.expires)
    except GatewayError as error:
        raise GatewayError(error.code, error.message, param="input_file_id") from None
    if info.purpose != "batch":
        words = f"The file's purpose is {info.purpose}; it must be batch."
        raise GatewayError("invalid_request", words, param="input_file_id")


async def _enter(batches: BatchStore, background: BackgroundTasks, batch: StoredBatch) -> None:
    """Have it run. A caller who gets an error, or leaves, has no batch: sent again, it is not run twice."""
    try:
        await batches.add(batch)
    except (StoreUnavailable, asyncio.CancelledError):
        background.until_stored(lambda: batches.withdraw(batch), WITHDRAWAL_S)
        raise


def _batch(body: BatchBody, caller: Caller, now: int, window: int) -> StoredBatch:
    return StoredBatch(
        id=f"batch_{secrets.token_hex(16)}",
        tenant=caller.tenant,
        name=caller.name,
        share=caller.share,
        weight=caller.weight,
        cache_group=caller.cache_group,
        endpoint=body.endpoint,
        input_file=body.input_file_id,
        output_file=new_file_id(),
        error_file=new_file_id(),
        window=body.completion_window,
        created=now,
        expires=now + window,
        metadata=body.metadata or {},
        key_class=caller.seen.key_class,
    )


async def _found(gateway: GatewayState, batch_id: str, tenant: str) -> tuple[StoredBatch, BatchProgress]:
    """Raises `batch_not_found`, also for another key's."""
    found = await gateway.batches.find(batch_id) if batch_id.isascii() and len(batch_id) <= 64 else None
    if found is None or found[0].tenant != tenant:
        raise GatewayError("batch_not_found", "There is no such batch.")
    return found


def _object(batch: StoredBatch, progress: BatchProgress) -> dict[str, Any]:
    ended = progress.status in ENDED and progress.status != "failed"
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": progress.errors} if progress.errors else None,
        "input_file_id": batch.input_file,
        "completion_window": batch.window,
        "status": progress.status,
        "output_file_id": batch.output_file if ended and progress.completed else None,
        "error_file_id": batch.error_file if ended and progress.failed else None,
        "created_at": batch.created,
        "expires_at": batch.expires,
        **{f"{name}_at": progress.times.get(name) for name in _TIMES},
        "request_counts": {"total": progress.total, "completed": progress.completed, "failed": progress.failed},
        "metadata": batch.metadata or None,
    }

"""`Idempotency-Key`: a request that is sent again under the same key is answered by the one that already runs.

The key is claimed for a request's id before anything is done. A repeat with the same body reads
that request's events from the start; another body is refused. A request that was turned away at the door, was
cancelled, or failed for a passing reason (any 503) leaves its key free; one that ended otherwise is answered again.
"""

import dataclasses
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header

from service.broker.errors import StoreUnavailable, UnknownRequest
from service.broker.gateway.client import Broker
from service.broker.gateway.idempotency_keys import IdempotencyKeys, KeyClaim
from service.broker.keys import new_request_id
from service.gateway.errors import ERRORS, GatewayError
from service.gateway.inference.validated import EmbedRequest, GenerateRequest, TranscribeRequest

AnyRequest = GenerateRequest | EmbedRequest | TranscribeRequest
TRIES = 3  # others may free and claim the key meanwhile
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="A name for this request, chosen by the caller. Sent again with the same body, it is answered by "
        "the request that already runs or ran, and `idempotent-replayed: true` says so; another body is refused.",
    ),
]
REPLAYED = {"idempotent-replayed": "true"}


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """The id that a request goes by. `replayed`: it was sent before. `key` and `claim` are None where the caller gave
    no key."""

    id: str
    tenant: str
    key: str | None = None
    claim: KeyClaim | None = None
    replayed: bool = False


class Idempotency:
    """All methods raise StoreUnavailable."""

    def __init__(self, claims: IdempotencyKeys, broker: Broker) -> None:
        self._claims, self._broker = claims, broker

    async def begin(self, tenant: str, key: str, wanted: AnyRequest, model: str) -> IdempotentRequest:
        """The request under a fresh id, or under the id of the one it repeats. Raises `idempotency_conflict`."""
        request_id = new_request_id(wanted.id_kind, model)
        fresh = KeyClaim(request_id, fingerprint(wanted, model))
        held = await self._claims.make(tenant, key, fresh)
        for _ in range(TRIES):
            if held == fresh:
                return IdempotentRequest(request_id, tenant, key, fresh)
            if held.fingerprint != fresh.fingerprint:
                raise GatewayError("idempotency_conflict", "This Idempotency-Key was used for another request.")
            try:
                instead = fresh if await self._is_void(tenant, held.request_id) else None
            except UnknownRequest:  # on its way in, or its gateway died there: the same id may be sent in again
                instead = dataclasses.replace(held, repeats=held.repeats + 1)
            if instead is None:
                break
            held = await self._claims.make(tenant, key, instead, held)
            if held == instead != fresh:
                break
        return IdempotentRequest(held.request_id, tenant, key, held, replayed=True)

    async def give_up(self, request: IdempotentRequest) -> None:
        """The request was turned away: its key is free again, if this was the first to use it. Best effort."""
        if request.key is not None and request.claim is not None and not request.replayed:
            with suppress(StoreUnavailable):
                await self._claims.release(request.tenant, request.key, request.claim)

    async def _is_void(self, tenant: str, request_id: str) -> bool:
        """Whether the earlier request ended in a way that a repeat should not get: given up, cancelled, or a passing
        failure. Raises UnknownRequest."""
        try:
            state = await self._broker.state(request_id, tenant)
        except UnknownRequest:
            if await self._broker.was_refused(request_id):
                return True
            raise
        if state.error is not None:
            return ERRORS[state.error.code].status == 503 if state.error.code in ERRORS else False
        return state.status == "cancelled" or state.cancelling


def fingerprint(request: AnyRequest, model: str) -> str:
    """A hash of all that decides the answer, not of the body's bytes (a form's boundary changes every time)."""
    fields = {one.name: getattr(request, one.name) for one in dataclasses.fields(request)}
    fields.pop("names_places", None)  # the model's, which is in the hash; gateways of other versions have no such field
    media = [medium.identity for medium in request.media]
    decisive = {**fields, "media": media, "model": model, "ignored": None, "options": _options(request)}
    text = repr((type(request).__name__, sorted(decisive.items())))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _options(request: AnyRequest) -> list[tuple[str, object]]:
    return sorted(request.options.items()) if isinstance(request, GenerateRequest) else []

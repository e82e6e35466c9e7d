"""Conversations kept beside their requests, for `previous_response_id`.

The input alone is kept; the answer stands in the request's events.
"""

from typing import Any

import msgspec

from pandagpt_core.types import Modality, Turn
from service.broker.connection import AsyncStore, store_errors
from service.broker.keys import Keys
from service.gateway.errors import GatewayError
from service.gateway.inference.validated import GenerateRequest
from service.gateway.media.medium import MediaInput

MAX_KEPT_BYTES = 16 << 20


class KeptMedium(msgspec.Struct, frozen=True):
    """A medium of a kept conversation, as `MediaInput` has it."""

    modality: Modality
    data: bytes
    sha256: str
    turn: int
    params: dict[str, float | str]
    weight: float
    is_vector: bool = False
    recalled: bool = False


class KeptConversation(msgspec.Struct, frozen=True, kw_only=True):
    """`shape` are the fields of the response object that repeat its request's. `instructions` counts the turns in front
    that only this response has. `too_large`: the bytes of its media, where they were not kept."""

    shape: dict[str, Any]
    turns: list[Turn]
    media: list[KeptMedium]
    instructions: int = 0
    too_large: int = 0


_decoder = msgspec.msgpack.Decoder(KeptConversation)


class Conversations:
    """All methods raise StoreUnavailable."""

    def __init__(self, store: AsyncStore, keys: Keys, life_s: float) -> None:
        """`life_s`: how long a conversation stays."""
        self._store, self._keys, self._life = store, keys, round(life_s) + 1

    async def keep(self, request_id: str, wanted: GenerateRequest, shape: dict[str, Any], instructions: int) -> None:
        size = sum(len(medium.data) for medium in wanted.media)
        fits = size <= MAX_KEPT_BYTES
        kept = KeptConversation(
            shape=shape,
            turns=list(wanted.turns),
            media=[_kept(medium) for medium in wanted.media] if fits else [],
            instructions=instructions,
            too_large=0 if fits else size,
        )
        with store_errors():
            await self._store.set(self._keys.response(request_id), msgspec.msgpack.encode(kept), ex=self._life)

    async def find(self, request_id: str) -> KeptConversation:
        """Raises `request_not_found`."""
        with store_errors():
            found: Any = await self._store.get(self._keys.response(request_id))
        if found is None:
            raise GatewayError("request_not_found", "There is no such response.")
        return _decoder.decode(found)


def carried_on(kept: KeptConversation, answer: Turn, before: int) -> tuple[list[Turn], list[MediaInput]]:
    """The turns of a kept conversation and its answer, without its own instructions, behind `before` other turns.

    Raises `invalid_request` for one whose media were too large to keep.
    """
    if kept.too_large:
        size = f"The media of that response have {kept.too_large} bytes; to be gone on with they may have"
        raise GatewayError("invalid_request", f"{size} {MAX_KEPT_BYTES}.", param="previous_response_id")
    turns = [*kept.turns[kept.instructions :], answer]
    shift = before - kept.instructions
    media = [
        MediaInput(
            one.modality,
            one.data,
            one.sha256,
            one.turn + shift,
            "previous_response_id",
            one.params,
            weight=one.weight,
            is_vector=one.is_vector,
            recalled=one.recalled,
        )
        for one in kept.media
    ]
    return turns, media


def _kept(medium: MediaInput) -> KeptMedium:
    return KeptMedium(
        medium.modality,
        medium.data,
        medium.sha256,
        medium.turn,
        dict(medium.params),
        medium.weight,
        medium.is_vector,
        medium.recalled,
    )

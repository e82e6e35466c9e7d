"""From media with their bytes to media parts of a request: what the store lacks is decoded, and nothing else."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pandagpt_core.media import digest
from pandagpt_core.modalities import MODALITIES
from pandagpt_core.types import ModelInfo, Priority
from service.broker.gateway.admission import Capacity
from service.broker.gateway.client import Broker
from service.broker.media_cache import media_name
from service.broker.protocol import MediaRef
from service.gateway.auth import Caller
from service.gateway.decoding.pool import DecodePool
from service.gateway.errors import GatewayError
from service.gateway.media.medium import MediaInput
from service.metrics import GatewayMetrics


@dataclass(frozen=True, slots=True)
class ResolvedMedia:
    """The media of a request as a worker takes them, and the arrays that the store lacks; `capacity` of the queue."""

    refs: list[MediaRef] = field(default_factory=list)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    capacity: Capacity | None = None


class MediaResolver:
    """Decodes the media of requests, each of them only where the store has neither its embedding nor its array."""

    def __init__(self, pool: DecodePool, broker: Broker, metrics: GatewayMetrics) -> None:
        self._pool, self._broker, self._metrics = pool, broker, metrics

    async def resolve(
        self, media: Sequence[MediaInput], info: ModelInfo, caller: Caller, priority: Priority
    ) -> ResolvedMedia:
        """Raises `unsupported_modality`, `invalid_media`, each naming the caller's field; before the work of decoding
        the errors of a full queue."""
        if not media:
            return ResolvedMedia()
        check_modalities(media, info)
        refs = [_ref(medium, info, caller.cache_group) for medium in media]
        capacity, missing = await self._broker.look_up(info.id, priority, [ref.blob for ref in refs])
        todo = {ref.blob: medium for ref, medium in zip(refs, media, strict=True) if ref.blob in missing}
        for medium, ref in zip(media, refs, strict=True):
            outcome = "miss" if ref.blob in missing else "hit"
            self._metrics.media_lookups.labels(medium.modality.value, outcome).inc()
            self._metrics.media_bytes.labels(medium.modality.value).inc(len(medium.data))
        tasks = [asyncio.create_task(self._decode(medium, info, caller.share)) for medium in todo.values()]
        try:
            arrays = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()  # of the others where one failed
        return ResolvedMedia(refs, dict(zip(todo, arrays, strict=True)), capacity)

    async def _decode(self, medium: MediaInput, info: ModelInfo, share: str) -> np.ndarray:
        try:
            with self._metrics.media_seconds.labels(medium.modality.value).time():
                return await self._pool.decode(info.recipes[medium.modality], medium.data, medium.params, share)
        except GatewayError as error:
            self._metrics.media_failures.labels(medium.modality.value, error.code).inc()
            param = f"{medium.params_at}{error.param}" if _is_parameter(medium, error.param) else medium.where
            raise GatewayError(
                error.code, f"{medium.where}: {error.message}", param=param, retry_after_s=error.retry_after_s
            ) from None


def _is_parameter(medium: MediaInput, name: str | None) -> bool:
    return any(parameter.name == name for parameter in MODALITIES[medium.modality].parameters)


def check_modalities(media: Sequence[MediaInput], info: ModelInfo) -> None:
    for medium in media:
        if medium.modality not in info.recipes:
            takes = ", ".join(modality.value for modality in info.recipes) or "none"
            raise GatewayError(
                "unsupported_modality",
                f"The model does not take {medium.modality.value}; it takes {takes}.",
                param=medium.where,
            )


def _ref(medium: MediaInput, info: ModelInfo, tenant: str) -> MediaRef:
    # The bytes were hashed while they were read; their hash stands for them in the medium's name.
    name = digest(bytes.fromhex(medium.sha256), medium.modality.value, info.recipes[medium.modality], medium.params)
    return MediaRef(
        modality=medium.modality,
        digest=name,
        blob=media_name(tenant, info.encoder_digest, name),
        turn=medium.turn,
        weight=medium.weight,
    )

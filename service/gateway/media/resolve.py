"""From media with their bytes to media parts of a request: only media that the store lacks are decoded."""

import asyncio
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec
import numpy as np

from pandagpt_core.media import Notes, digest
from pandagpt_core.modalities import MODALITIES
from pandagpt_core.types import Modality, ModelInfo, Priority
from service.broker.gateway.admission import Capacity
from service.broker.gateway.client import Broker
from service.broker.media_cache import media_name
from service.broker.protocol import MediaRef
from service.gateway.access.auth import Caller
from service.gateway.decoding.pool import DecodePools
from service.gateway.errors import GatewayError
from service.gateway.media.media_uuids import not_cached
from service.gateway.media.medium import MediaInput
from service.metrics import GatewayMetrics

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ResolvedMedia:
    """The media of a request as a worker takes them, and the arrays that the store lacks; `capacity` of the queue.

    `notes` are what the readers remarked, in the order of the media. `speech` are sounds for a recogniser. `warnings`
    are for the caller, each with the medium's field in front. `sentences` go in front of the text of a turn, by its
    number: which of its files hold nothing, a line a medium.
    """

    refs: list[MediaRef] = field(default_factory=list)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    capacity: Capacity | None = None
    notes: Sequence[Notes] = ()
    speech: Sequence[MediaRef] = ()
    warnings: list[str] = field(default_factory=list)
    sentences: Mapping[int, str] = field(default_factory=dict)


class MediaResolver:
    """Decodes the media of requests, each of them only where the store has neither its embedding nor its array."""

    def __init__(self, pool: DecodePools, broker: Broker, metrics: GatewayMetrics, life_s: float) -> None:
        """`life_s`: of a request, and so of its media in the store at least."""
        self.pool, self._broker, self._metrics, self._life_s = pool, broker, metrics, life_s

    async def resolve(
        self, media: Sequence[MediaInput], info: ModelInfo, caller: Caller, priority: Priority, speech: bool = False
    ) -> ResolvedMedia:
        """With `speech` also the sounds as the model's recogniser reads them, where it has one.

        Raises `unsupported_modality`, `invalid_media`, each naming the caller's field; before the work of decoding
        the errors of a full queue."""
        if not media:
            return ResolvedMedia()
        check_modalities(media, info)
        check_vectors(media, info)
        spoken = _speech_refs(media, info, caller.cache_group) if speech else []
        refs = [_ref(medium, info, caller.cache_group) for medium in media]
        names = [ref.blob for ref in (*refs, *(ref for _, ref in spoken))]
        capacity, missing = await self._broker.look_up(info.id, priority, names, self._life_s)
        given = {ref.blob: _row(medium) for ref, medium in zip(refs, media, strict=True) if medium.is_vector}
        if given:
            await self._broker.keep_embeddings(given)
            missing -= given.keys()
        # Of two with the same bytes, one of which is recalled by its name, the one that has them is read.
        with_bytes_last = sorted(zip(refs, media, strict=True), key=lambda pair: not pair[1].recalled)
        todo = {ref.blob: medium for ref, medium in with_bytes_last if ref.blob in missing}
        for medium, ref in zip(media, refs, strict=True):
            outcome = "miss" if ref.blob in missing else "hit"
            self._metrics.media_lookups.labels(medium.modality.value, outcome).inc()
            self._metrics.media_bytes.labels(medium.modality.value).inc(len(medium.data))
        tasks = [asyncio.create_task(self._decode(medium, info, caller.share)) for medium in todo.values()]
        try:
            read = await _all_of(tasks)
        finally:
            for task in tasks:
                task.cancel()  # of the others where one failed
        arrays = {blob: array for blob, (array, _) in zip(todo, read, strict=True)}
        notes = await self._notes(refs, {blob: found for blob, (_, found) in zip(todo, read, strict=True)})
        # A medium that holds nothing has no weight: a sentence in the prompt stands for it (`inference/messages.py`).
        heard = [
            msgspec.structs.replace(ref, weight=0.0) if one.empty else ref for ref, one in zip(refs, notes, strict=True)
        ]
        at_hand: list[MediaRef] = []
        samples: dict[str, np.ndarray] = {}
        if spoken:
            at_hand, samples = await self._speech(spoken, missing, notes, media, info, caller.share)
        held = {**arrays, **samples}
        return ResolvedMedia(heard, held, capacity, notes, at_hand, _warnings(media, notes), _sentences(media, notes))

    async def _speech(
        self,
        spoken: Sequence[tuple[int, MediaRef]],
        missing: Container[str],
        notes: Sequence[Notes],
        media: Sequence[MediaInput],
        info: ModelInfo,
        share: str,
    ) -> tuple[list[MediaRef], dict[str, np.ndarray]]:
        """Of the sounds (by their place) those that hold something and are known or at hand, with new samples."""
        samples: dict[str, np.ndarray] = {}
        at_hand = []
        for at, ref in spoken:
            if notes[at].empty or (ref.blob in missing and media[at].recalled):
                continue
            at_hand.append(ref)
            if info.speech is not None and ref.blob in missing and ref.blob not in samples:
                params = {"seconds": info.speech.context_seconds}
                samples[ref.blob], _ = await self._read(replace(media[at], params=params), info.speech.recipe, share)
        return at_hand, samples

    async def samples(
        self, medium: MediaInput, info: ModelInfo, name: str, caller: Caller, priority: Priority
    ) -> ResolvedMedia:
        """A sound as the model's recogniser reads it, under a name that no other request uses.

        Raises `invalid_media`, before the work of decoding the errors of a full queue.
        """
        assert info.speech is not None, "the model writes down speech"
        capacity = await self._broker.capacity(info.id, priority)
        self._metrics.media_bytes.labels(medium.modality.value).inc(len(medium.data))
        array, notes = await self._read(medium, info.speech.recipe, caller.share)
        blob = media_name(caller.cache_group, info.speech.digest, name)
        ref = MediaRef(modality=medium.modality, digest=medium.sha256, blob=blob, turn=0)
        return ResolvedMedia([ref], {blob: array}, capacity, [notes], warnings=_warnings([medium], [notes]))

    async def inspect(self, medium: MediaInput, recipe: str, share: str) -> tuple[np.ndarray, Notes]:
        """The medium's array under a recipe, and what its reader remarked. Raises `invalid_media`."""
        return await self._read(medium, recipe, share)

    async def _notes(self, refs: Sequence[MediaRef], fresh: Mapping[str, Notes]) -> list[Notes]:
        """The notes on each medium, from this decoding or an earlier one."""
        worth_keeping = {blob: notes for blob, notes in fresh.items() if notes.warnings or notes.spans or notes.empty}
        remarks = {blob: msgspec.msgpack.encode(notes) for blob, notes in worth_keeping.items()}
        if remarks:
            await self._broker.keep_notes(remarks)
        known = dict(fresh)
        if cached := [ref.blob for ref in refs if ref.blob not in fresh]:
            kept = await self._broker.notes(cached)
            known |= {blob: _decoder.decode(packed) for blob, packed in kept.items()}
        return [known.get(ref.blob, Notes()) for ref in refs]

    async def _decode(self, medium: MediaInput, info: ModelInfo, share: str) -> tuple[np.ndarray, Notes]:
        if medium.array is not None:
            return medium.array, Notes()
        if medium.recalled:
            refused = not_cached()
            raise GatewayError(refused.code, f"{medium.where}: {refused.message}", param=medium.where)
        return await self._read(medium, info.recipes[medium.modality], share)

    async def _read(self, medium: MediaInput, recipe: str, share: str) -> tuple[np.ndarray, Notes]:
        try:
            with self._metrics.media_seconds.labels(medium.modality.value).time():
                return await self.pool.read(recipe, medium.data, medium.params, share)
        except GatewayError as error:
            self._metrics.media_failures.labels(medium.modality.value, error.code).inc()
            param = f"{medium.params_at}{error.param}" if _is_parameter(medium, error.param) else medium.where
            raise GatewayError(
                error.code, f"{medium.where}: {error.message}", param=param, retry_after_s=error.retry_after_s
            ) from None


_decoder = msgspec.msgpack.Decoder(Notes)


async def _all_of(tasks: Sequence[asyncio.Task[_T]]) -> list[_T]:
    """Results in order. Raises the error of one that failed, which `gather` raises in place of a cancellation too."""
    if tasks:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        if task.done():
            task.result()
    return [task.result() for task in tasks]


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


def check_vectors(media: Sequence[MediaInput], info: ModelInfo) -> None:
    """Raises `invalid_request` for a vector that is not of the model's shared space."""
    for medium in media:
        width = len(medium.data) // 4
        if medium.is_vector and width != info.embedding_dim:
            takes = f"embeddings of {info.embedding_dim} numbers" if info.embedding_dim else "no embeddings"
            reason = f"{medium.where} has {width} numbers; {info.id} takes {takes}."
            raise GatewayError("invalid_request", reason, param=medium.where)


def _warnings(media: Sequence[MediaInput], notes: Sequence[Notes]) -> list[str]:
    return [f"{medium.where}: {words}" for medium, one in zip(media, notes, strict=True) for words in one.warnings]


def _sentences(media: Sequence[MediaInput], notes: Sequence[Notes]) -> dict[int, str]:
    """Of a black film whose sound is a medium too there is none: a small model would repeat it and not name the
    sound."""
    holding = {(medium.turn, medium.sha256) for medium, one in zip(media, notes, strict=True) if not one.empty}
    sentences: dict[int, str] = {}
    for medium, one in zip(media, notes, strict=True):
        if one.empty and (medium.turn, medium.sha256) not in holding:
            sentences[medium.turn] = sentences.get(medium.turn, "") + f"{one.empty}\n"
    return sentences


def _row(medium: MediaInput) -> np.ndarray:
    """[1, E] float32."""
    return np.frombuffer(medium.data, "<f4")[None]


def _speech_refs(media: Sequence[MediaInput], info: ModelInfo, tenant: str) -> list[tuple[int, MediaRef]]:
    """Of each sound whose bytes are known: its place among the media, and its name for the model's recogniser."""
    speech = info.speech
    if speech is None or not speech.context_tokens:
        return []
    found = []
    for at, medium in enumerate(media):
        if medium.modality == Modality.AUDIO and not medium.is_vector and medium.weight:
            params = {"seconds": speech.context_seconds, "tokens": float(speech.context_tokens)}
            name = digest(bytes.fromhex(medium.sha256), medium.modality.value, speech.recipe, params)
            blob = media_name(tenant, speech.digest, name)
            found.append((at, MediaRef(modality=medium.modality, digest=name, blob=blob, turn=medium.turn)))
    return found


def _ref(medium: MediaInput, info: ModelInfo, tenant: str) -> MediaRef:
    # The bytes were hashed while they were read; their hash stands for them in the medium's name.
    recipe = "embedding" if medium.is_vector else info.recipes[medium.modality]
    name = digest(bytes.fromhex(medium.sha256), medium.modality.value, recipe, medium.params)
    return MediaRef(
        modality=medium.modality,
        digest=name,
        blob=media_name(tenant, info.digest_of(medium.modality), name),
        turn=medium.turn,
        weight=medium.weight,
    )

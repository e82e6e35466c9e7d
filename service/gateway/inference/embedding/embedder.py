"""From inputs to unit vectors: texts in windows, one request for all of them, windows and dimensions made one again."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from pandagpt_core.types import Modality, ModelInfo, Priority
from service.broker.errors import StoreUnavailable
from service.broker.gateway.request_record import RequestRecord
from service.broker.protocol import Done, Failed, Vectors
from service.gateway.access.auth import Caller
from service.gateway.errors import GatewayError
from service.gateway.inference.embedding.inputs import LEAST_LENGTH, EmbedInput
from service.gateway.inference.service import RequestService, Submitted
from service.gateway.inference.validated import EmbedRequest
from service.gateway.media.medium import MediaInput
from service.gateway.media.text_windows import Cut, TextWindow, text_windows
from service.gateway.observation import Events
from service.gateway.streaming.chunks import count_items, failure

LARGE = 1 << 20  # bytes of an answer that is kept for a moment only
LARGE_LIFE = 60  # seconds


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """Options of an embedding. `cut`: the end to cut off a text beyond the window; "none" refuses such a text."""

    cut: Cut = "none"
    dimensions: int | None = None
    priority: Priority = "interactive"


@dataclass(frozen=True, slots=True)
class Embedded:
    """Unit vectors [N, E] float32, one an input. `tokens` are those that the text tower read, `items` media."""

    vectors: np.ndarray
    tokens: int
    submitted: Submitted
    items: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Use:
    """A medium of the request: of which input, and how much of it (tokens of a window)."""

    input: int
    medium: MediaInput
    tokens: int = 0


async def embed(
    service: RequestService,
    inputs: Sequence[EmbedInput],
    how: EmbedOptions,
    info: ModelInfo,
    caller: Caller,
    key: str | None = None,
    started: Callable[[RequestRecord], None] | None = None,
) -> Embedded:
    """`started` is called with the request's record once it is queued. Raises `invalid_request` for options that the
    model lacks and for a text too long, and a request's failures."""
    check_dimensions(how.dimensions, info)
    uses = [*await _texts(service, inputs, how.cut, info, caller), *_media(inputs)]
    uses.sort(key=lambda use: use.input)
    request = EmbedRequest(tuple(use.medium for use in uses), model=info.id, priority=how.priority)
    submitted = await service.submit(request, info, caller, key)
    if started is not None:
        started(submitted.record)
    data = await _answer(service, submitted.record, key)
    vectors = _joined(np.stack([np.frombuffer(one, "<f4") for one in data]), uses, len(inputs))
    items = count_items([use.medium.modality for use in uses if use.tokens == 0])
    tokens = sum(use.tokens for use in uses)
    return Embedded(_shortened(vectors, how.dimensions), tokens, submitted, items)


def check_dimensions(dimensions: int | None, info: ModelInfo) -> None:
    """Raises `invalid_request` for vectors that the model does not have."""
    if not info.embedding_dim:
        raise GatewayError("invalid_request", "The model offers no embeddings.", param="model")
    if dimensions not in (None, info.embedding_dim, *info.dimensions):
        sizes = " or ".join(str(size) for size in sorted({*info.dimensions, info.embedding_dim}))
        raise GatewayError(
            "invalid_request", f"dimensions is {dimensions}; the model's vectors have {sizes}.", param="dimensions"
        )


async def _texts(
    service: RequestService, inputs: Sequence[EmbedInput], cut: Cut, info: ModelInfo, caller: Caller
) -> list[_Use]:
    held = [(at, one, one.text) for at, one in enumerate(inputs) if one.text is not None]
    if not held:
        return []
    if Modality.TEXT not in info.recipes:
        raise GatewayError("unsupported_modality", "The model does not take text.", param=held[0][1].where)
    try:
        windows = await text_windows(
            service.resolver.pool, info.recipes[Modality.TEXT], [text for _, _, text in held], cut, caller.share
        )
    except GatewayError as error:
        raise _named(error, [one.where for _, one, _ in held]) from None
    _check_whole(windows, [one.where for _, one, _ in held], cut)
    return [
        _Use(held[window.text][0], _text_medium(window, held[window.text][1].where), window.tokens)
        for window in windows
    ]


def _named(error: GatewayError, where: Sequence[str]) -> GatewayError:
    """The refusal with the field's name in place of `[index]`, by which the decoder names a text."""
    places = {f"[{index}]": place for index, place in enumerate(where)}
    return GatewayError(error.code, error.message, param=places.get(error.param or "", error.param or "input"))


def _check_whole(windows: Sequence[TextWindow], where: Sequence[str], cut: Cut) -> None:
    long = next((window for window in windows if not window.is_whole), None) if cut == "none" else None
    if long is not None:
        size = f"has {long.total} tokens; the model's text tower reads {long.tokens - 2}"
        choices = 'send truncate ("start", "end") or chunk ("mean")'
        name = where[long.text]
        raise GatewayError("invalid_request", f"{name} {size} at once: {choices}.", param=name)


def _text_medium(window: TextWindow, where: str) -> MediaInput:
    data = np.ascontiguousarray(window.ids).tobytes()
    name = hashlib.sha256(data).hexdigest()
    # `ids` sets its name in caches apart from that of a text of these bytes.
    return MediaInput(Modality.TEXT, data, name, 0, where, params={"ids": 1.0}, array=window.ids)


def _media(inputs: Sequence[EmbedInput]) -> list[_Use]:
    return [_Use(at, one.medium) for at, one in enumerate(inputs) if one.medium is not None]


async def _answer(service: RequestService, record: RequestRecord, key: str | None) -> list[bytes]:
    """The vectors as little-endian float32 bytes."""
    events, ended = service.broker.follow(record), False
    try:
        found = await _vectors(events)
        ended = True
    finally:
        if not ended and key is None:  # a client that gave a key may come back for the answer
            service.leaving.leave(record)
        await events.aclose()
    if key is None and sum(map(len, found)) > LARGE:
        with suppress(StoreUnavailable):  # the vectors are here; that the store keeps them longer is no failure
            await asyncio.shield(service.broker.keep_shortly(record, LARGE_LIFE))
    return found


async def _vectors(events: Events) -> list[bytes]:
    vectors: list[bytes] = []
    while True:
        for event in await anext(events):
            match event:
                case Vectors():
                    vectors = event.data
                case Failed():
                    raise failure(event)
                case Done():
                    if event.cancelled:
                        raise GatewayError("invalid_request", "The request was cancelled.")
                    return vectors
                case _:
                    pass


def _joined(vectors: np.ndarray, uses: Sequence[_Use], count: int) -> np.ndarray:
    """[N, E]: of each input its vector, or of a text in windows their mean, weighed by tokens, as a unit vector."""
    if len(uses) == count:
        return vectors
    sums = np.zeros((count, vectors.shape[1]), dtype=np.float64)
    for use, vector in zip(uses, vectors, strict=True):
        sums[use.input] += max(1, use.tokens) * vector.astype(np.float64)
    joined, pieces = _units(sums), Counter(use.input for use in uses)
    for use, vector in zip(uses, vectors, strict=True):
        if pieces[use.input] == 1:
            joined[use.input] = vector  # as the worker gave it, to the last bit
    return joined


def _shortened(vectors: np.ndarray, dimensions: int | None) -> np.ndarray:
    if dimensions is None or dimensions == vectors.shape[1]:
        return vectors
    first = vectors[:, :dimensions].astype(np.float64)
    if not (np.linalg.norm(first, axis=1) > LEAST_LENGTH).all():
        words = f"The first {dimensions} numbers of a vector are all zero, so that they make no vector of length 1."
        raise GatewayError("invalid_request", words, param="dimensions")
    return _units(first)


def _units(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: np.ndarray = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return units

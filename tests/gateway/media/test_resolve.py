"""Media of a request: only what the store lacks is decoded, once, and refusals name the caller's field."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from pandagpt_core.media import Notes
from pandagpt_core.types import Modality
from service.broker.gateway.admission import Capacity
from service.broker.gateway.client import Broker
from service.gateway.access.auth import Caller
from service.gateway.decoding.pool import DecodePools
from service.gateway.errors import GatewayError
from service.gateway.media.medium import MediaInput
from service.gateway.media.resolve import MediaResolver, ResolvedMedia
from service.metrics import GatewayMetrics
from tests.fakes import FAKE_INFO

CALLER = Caller("one", "tenant", frozenset(), share="share", cache_group="group")

LIFE_S = 3600.0  # of a request


@dataclass
class Store:
    """A broker's media alone. `held`: names that it has. `life_s`: that of the media at the last look."""

    held: set[str] = field(default_factory=set)
    life_s: float = 0.0
    notes_held: dict[str, bytes] = field(default_factory=dict)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)

    async def look_up(
        self, _model: str, _priority: str, names: Sequence[str], life_s: float
    ) -> tuple[Capacity, set[str]]:
        self.life_s = life_s
        return Capacity(0, 1 << 20), set(names) - self.held

    async def notes(self, names: Sequence[str]) -> dict[str, bytes]:
        return {name: self.notes_held[name] for name in names if name in self.notes_held}

    async def keep_notes(self, notes: Mapping[str, bytes]) -> None:
        self.notes_held |= notes

    async def keep_embeddings(self, vectors: Mapping[str, np.ndarray]) -> None:
        self.vectors |= vectors


@dataclass
class Decoder:
    """A pool. `read_so_far`: recipe, bytes and share of each medium."""

    read_so_far: list[tuple[str, bytes, str]] = field(default_factory=list)

    async def read(self, recipe: str, data: bytes, _params: object, share: str) -> tuple[np.ndarray, Notes]:
        self.read_so_far.append((recipe, data, share))
        if data == b"bad":
            raise GatewayError("invalid_media", "cannot be decoded")
        return np.zeros(1, np.float32), Notes(empty="[nothing]") if data == b"empty" else Notes()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def decoder() -> Decoder:
    return Decoder()


def medium(data: bytes, **changed: Any) -> MediaInput:
    return replace(MediaInput(Modality.IMAGE, data, hashlib.sha256(data).hexdigest(), 0, "image"), **changed)


async def resolved(store: Store, decoder: Decoder, *media: MediaInput, caller: Caller = CALLER) -> ResolvedMedia:
    metrics = GatewayMetrics.on(CollectorRegistry())
    resolver = MediaResolver(cast(DecodePools, decoder), cast(Broker, store), metrics, LIFE_S)
    return await resolver.resolve(media, FAKE_INFO, caller, "interactive")


async def test_the_same_bytes_are_decoded_once_and_what_the_store_has_never(store: Store, decoder: Decoder) -> None:
    first = await resolved(store, decoder, medium(b"a"), medium(b"a", where="image[1]"), medium(b"b"))
    assert [data for _, data, _ in decoder.read_so_far] == [b"a", b"b"]
    assert len(first.arrays) == 2
    store.held = set(first.arrays)
    again = await resolved(store, decoder, medium(b"a"), medium(b"b"))
    assert len(decoder.read_so_far) == 2
    assert again.arrays == {}
    assert store.life_s == LIFE_S


async def test_what_one_cache_group_keeps_has_another_name_in_the_next(store: Store, decoder: Decoder) -> None:
    (one,) = (await resolved(store, decoder, medium(b"a"))).refs
    (other,) = (await resolved(store, decoder, medium(b"a"), caller=replace(CALLER, cache_group="other"))).refs
    assert one.blob != other.blob


async def test_a_medium_is_decoded_on_its_callers_share(store: Store, decoder: Decoder) -> None:
    await resolved(store, decoder, medium(b"a"))
    assert decoder.read_so_far == [("imagebind-image-v1", b"a", "share")]


@pytest.mark.parametrize(
    ("given", "code", "where"),
    [
        (medium(b"bad", where="image[3]"), "invalid_media", "image[3]"),
        (
            medium(b"", recalled=True, where="messages[0].uuid"),
            "invalid_media",
            "messages[0].uuid",
        ),
        (medium(b"\0" * 4, is_vector=True), "invalid_request", "image"),
    ],
)
async def test_a_refusal_names_the_field(
    store: Store, decoder: Decoder, given: MediaInput, code: str, where: str
) -> None:
    with pytest.raises(GatewayError) as refused:
        await resolved(store, decoder, given)
    assert (refused.value.code, refused.value.param) == (code, where)


async def test_a_modality_without_a_tower_is_refused_before_the_store_is_asked(decoder: Decoder) -> None:
    media = [medium(b"a")]
    metrics = GatewayMetrics.on(CollectorRegistry())
    resolver = MediaResolver(cast(DecodePools, decoder), cast(Broker, None), metrics, LIFE_S)
    with pytest.raises(GatewayError, match="does not take image"):
        await resolver.resolve(media, replace(FAKE_INFO, recipes={}), CALLER, "interactive")
    assert decoder.read_so_far == []


async def test_a_recalled_medium_is_read_of_the_part_that_has_its_bytes(store: Store, decoder: Decoder) -> None:
    named = medium(b"", sha256=hashlib.sha256(b"a").hexdigest(), recalled=True)
    assert len((await resolved(store, decoder, named, medium(b"a"))).arrays) == 1
    assert [data for _, data, _ in decoder.read_so_far] == [b"a"]


async def test_a_vector_is_kept_as_an_embedding_and_not_decoded(store: Store, decoder: Decoder) -> None:
    row = np.arange(FAKE_INFO.embedding_dim, dtype="<f4")
    (ref,) = (await resolved(store, decoder, medium(row.tobytes(), is_vector=True))).refs
    np.testing.assert_array_equal(store.vectors[ref.blob], row[None])
    assert decoder.read_so_far == []


async def test_a_medium_that_holds_nothing_has_no_weight_also_from_the_cache(store: Store, decoder: Decoder) -> None:
    for _ in range(2):
        found = await resolved(store, decoder, medium(b"empty"))
        assert [ref.weight for ref in found.refs] == [0.0]
        assert found.sentences == {0: "[nothing]\n"}
        store.held |= set(found.arrays)
    assert len(decoder.read_so_far) == 1


class CancelledAsItFails(Decoder):
    """The first medium fails in the moment in which the caller is cancelled; the second is still read."""

    victim: asyncio.Task[None] | None = None

    async def read(self, recipe: str, data: bytes, _params: object, share: str) -> tuple[np.ndarray, Notes]:
        if data != b"bad":
            await asyncio.sleep(60)
        assert self.victim is not None
        asyncio.get_running_loop().call_soon(self.victim.cancel)
        raise GatewayError("overloaded", "no decoder is free")


async def test_a_cancellation_in_the_moment_a_medium_fails_is_not_lost(store: Store) -> None:
    decoder = CancelledAsItFails()

    async def repeat() -> None:  # as a batch, which tries a line again that no decoder was free for
        with suppress(GatewayError):
            await resolved(store, decoder, medium(b"bad"), medium(b"slow"))
        await asyncio.sleep(60)

    task = decoder.victim = asyncio.create_task(repeat())
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()

import numpy as np
import pytest

from pandagpt_core.types import Modality
from service.broker.client import Broker
from service.broker.keys import Keys
from service.broker.protocol import Done, Failed, Started, Vectors
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, fake_embedding, worker_thread
from tests.wire import answer, collect, embed, ends_of, generate, media, run, text_of


async def test_a_medium_is_encoded_once_for_all_requests_and_workers(broker: Broker, valkey: Valkey) -> None:
    part, array = media(1)
    with worker_thread(valkey.settings) as first:
        request = generate(media=[part, part])
        await run(broker, request, {part.blob: array})
        assert first.runtime.encoded == {Modality.IMAGE: 1}
        assert await broker.media.missing([part.blob]) == set()
    with worker_thread(valkey.settings) as second:
        request = generate(media=[part])
        events = await run(broker, request)  # no array sent
        assert second.runtime.encoded == {}
    assert text_of(events) == answer(request, [array])
    assert isinstance(events[0], Started)
    assert events[0].cached_items == 1
    labels = {"modality": "image", "outcome": "hit"}
    assert second.registry.get_sample_value("pandagpt_embedding_lookups_total", labels) == 1


async def test_media_of_several_requests_share_a_batch(broker: Broker, valkey: Valkey) -> None:
    wanted = [media(number, modality) for modality in (Modality.IMAGE, Modality.AUDIO) for number in range(4)]
    busy, busy_array = media(99, Modality.IMU)
    with worker_thread(valkey.settings, FakeRuntime(encode_delay=0.3)) as worker:
        requests = [generate(media=[part]) for part, _ in wanted]
        first = generate(media=[busy])
        await broker.submit(first, {busy.blob: busy_array})  # while it is encoded the others gather
        for request, (part, array) in zip(requests, wanted, strict=True):
            await broker.submit(request, {part.blob: array})
        for request, (_, array) in zip(requests, wanted, strict=True):
            assert text_of(await collect(broker, request)) == answer(request, [array])
    assert sorted(worker.runtime.batches) == [(Modality.AUDIO, 4), (Modality.IMAGE, 4), (Modality.IMU, 1)]


async def test_one_bad_medium_fails_its_own_request_only(broker: Broker, valkey: Valkey) -> None:
    good, array = media(1)
    bad, _ = media(2)
    slow, slow_array = media(3, Modality.IMU)
    with worker_thread(valkey.settings, FakeRuntime(encode_delay=0.1)) as worker:
        await broker.submit(generate(media=[slow]), {slow.blob: slow_array})
        requests = generate(media=[good]), generate(media=[good, bad])
        await broker.submit(requests[0], {good.blob: array})
        await broker.submit(requests[1], {bad.blob: np.zeros((0, 3), np.float32)})  # the fake encoder raises
        assert text_of(await collect(broker, requests[0])) == answer(requests[0], [array])
        (end,) = await collect(broker, requests[1])
        assert isinstance(end, Failed)
        assert end.code == "internal_error"
        assert not worker.errors


async def test_an_embedding_that_is_not_finite_never_reaches_the_model(broker: Broker, valkey: Valkey) -> None:
    class Broken(FakeRuntime):
        def encode(self, modality: Modality, arrays: list[np.ndarray]) -> list[np.ndarray]:
            return [np.full(8, np.nan, np.float32) for _ in arrays]

    part, array = media(1)
    with worker_thread(valkey.settings, Broken()):
        (end,) = await run(broker, generate(media=[part]), {part.blob: array})
        assert isinstance(end, Failed)
        assert end.code == "invalid_media"
        assert not valkey.client.exists(Keys().embedding(part.blob))


@pytest.mark.parametrize("spoiled", [None, b"\x80\x04 no array"])
async def test_a_medium_that_is_gone_fails_its_request(broker: Broker, valkey: Valkey, spoiled: bytes | None) -> None:
    part, _ = media(1)
    if spoiled is not None:
        valkey.client.set(Keys().array(part.blob), spoiled, ex=60)
    with worker_thread(valkey.settings):
        (end,) = await run(broker, generate(media=[part]))
        assert isinstance(end, Failed)
        assert end.code == "store_unavailable"
        neighbour = generate()
        assert text_of(await run(broker, neighbour)) == answer(neighbour)


async def test_another_tenants_or_encoders_name_is_refused(broker: Broker, valkey: Valkey) -> None:
    part, array = media(1)
    with worker_thread(valkey.settings) as worker:
        stranger = generate(media=[part], tenant="tenant-b")
        (end,) = await run(broker, stranger, {part.blob: array})
        assert isinstance(end, Failed)
        assert worker.runtime.encoded == {}


async def test_embeddings_come_as_unit_vectors_in_order(broker: Broker, valkey: Valkey) -> None:
    media_and_arrays = [media(2), media(1, Modality.AUDIO), media(2)]
    with worker_thread(valkey.settings):
        request = embed([part for part, _ in media_and_arrays])
        vectors, end = await run(broker, request, {part.blob: array for part, array in media_and_arrays})
        nothing = await run(broker, embed([]))
    assert isinstance(end, Done)
    assert isinstance(vectors, Vectors)
    assert vectors.dim == 8
    for data, (part, array) in zip(vectors.data, media_and_arrays, strict=True):
        expected = fake_embedding(part.modality, array)
        np.testing.assert_allclose(np.frombuffer(data, "<f4"), expected / np.linalg.norm(expected), rtol=1e-6)
    assert [getattr(end, "code", None) for end in ends_of(nothing)] == ["invalid_request"]

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import pytest
import redis
from prometheus_client import CollectorRegistry

from pandagpt_core.errors import EngineDead
from pandagpt_core.types import Modality, ModelInfo, TokenOutput
from service.broker.errors import StoreUnavailable
from service.broker.event_log import EventHistory, EventWriter
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.broker.media_cache import EmbeddingCache, media_name
from service.broker.protocol import Done, Failed, MediaRef, Started, Vectors
from service.broker.worker.delivery import Delivery
from service.metrics import WorkerMetrics
from service.settings import StoreSettings
from service.worker.encoding.encode_stage import Batcher, EncodeStage
from service.worker.encoding.encoder_executor import ThreadEncoderExecutor
from service.worker.jobs import Job
from tests.conftest import Valkey
from tests.fakes import FAKE_INFO, FakeRuntime, fake_embedding, worker_process, worker_thread
from tests.wire import TENANT, answer, collect, embed, ends_of, generate, media, run, text_of, until


async def test_a_medium_is_encoded_once_for_all_requests_and_workers(broker: Broker, valkey: Valkey) -> None:
    part, array = media(1)
    with worker_thread(valkey.settings) as first:
        request = generate(media=[part, part])
        await run(broker, request, {part.blob: array})
        assert first.runtime.encoded == {Modality.IMAGE: 1}
        assert (await broker.look_up("fake", "interactive", [part.blob]))[1] == set()
    with worker_thread(valkey.settings) as second:
        request = generate(media=[part])
        events = await run(broker, request)  # no array sent
        assert second.runtime.encoded == {}
    assert text_of(events) == answer(request, [array])
    assert isinstance(events[0], Started)
    assert events[0].cached_items == 1
    labels = {"modality": "image", "outcome": "hit"}
    assert second.registry.get_sample_value("pandagpt_embedding_lookups_total", labels) == 1


@dataclass
class HeldRuntime(FakeRuntime):
    """Encodes nothing of the modality `held` before `go` is set; `begun` says that it was asked to."""

    held: Modality = Modality.VIDEO
    begun: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        if modality == self.held:
            self.begun.set()
            assert self.go.wait(30)
        return super().encode(modality, arrays)


async def begun(runtime: HeldRuntime) -> None:
    assert await asyncio.to_thread(runtime.begun.wait, 30)


async def test_while_a_lane_encodes_no_read_of_the_store_blocks(broker: Broker, valkey: Valkey) -> None:
    """A blocking read ends by the store's clock, ten times a second, so what the lane gave would wait for that."""
    part, array = media(1)
    with worker_thread(valkey.settings, runtime := HeldRuntime(held=Modality.IMAGE), name="held"):
        request = generate(media=[part])
        await broker.submit(request, {part.blob: array})
        await begun(runtime)
        for _ in range(50):
            flags = [client["flags"] for client in valkey.client.client_list() if client["name"] == "held"]
            assert flags
            assert not any("b" in each for each in flags)
            await asyncio.sleep(0.002)
        runtime.go.set()
        assert text_of(await collect(broker, request)) == answer(request, [array])


async def test_media_that_arrive_while_their_lane_is_busy_share_a_batch(broker: Broker, valkey: Valkey) -> None:
    first, first_array = media(99)
    wanted = [media(number) for number in range(4)]
    with worker_thread(valkey.settings, runtime := HeldRuntime(held=Modality.IMAGE)):
        await broker.submit(generate(media=[first]), {first.blob: first_array})
        await begun(runtime)
        requests = [generate(media=[part]) for part, _ in wanted]
        for request, (part, array) in zip(requests, wanted, strict=True):
            await broker.submit(request, {part.blob: array})
        last = generate()  # once it is answered, those before it were taken
        await run(broker, last)
        runtime.go.set()
        for request, (_, array) in zip(requests, wanted, strict=True):
            assert text_of(await collect(broker, request)) == answer(request, [array])
    assert runtime.batches == [(Modality.IMAGE, 1), (Modality.IMAGE, 4)]


async def test_tokens_and_pictures_go_on_while_a_long_video_is_encoded(broker: Broker, valkey: Valkey) -> None:
    video, film = media(1, Modality.VIDEO)
    image, picture = media(2)
    with worker_thread(valkey.settings, runtime := HeldRuntime()):
        slow, quick, spoken = generate(media=[video]), generate(media=[image]), generate()
        await broker.submit(slow, {video.blob: film})
        await begun(runtime)
        assert text_of(await run(broker, quick, {image.blob: picture})) == answer(quick, [picture])
        assert text_of(await run(broker, spoken)) == answer(spoken)
        assert runtime.encoded == {Modality.IMAGE: 1}  # before the end of the video
        runtime.go.set()
        assert text_of(await collect(broker, slow)) == answer(slow, [film])


async def test_a_medium_that_is_being_encoded_is_not_encoded_again(broker: Broker, valkey: Valkey) -> None:
    video, film = media(1, Modality.VIDEO)
    with worker_thread(valkey.settings, runtime := HeldRuntime()):
        first, second, last = generate(media=[video]), generate("again", media=[video]), generate()
        await broker.submit(first, {video.blob: film})
        await begun(runtime)
        await broker.submit(second)
        await run(broker, last)  # once it is answered, the second was taken
        runtime.go.set()
        for request in (first, second):
            assert text_of(await collect(broker, request)) == answer(request, [film])
    assert runtime.batches == [(Modality.VIDEO, 1)]


async def test_a_request_that_is_cancelled_ends_while_its_medium_is_encoded(broker: Broker, valkey: Valkey) -> None:
    video, film = media(1, Modality.VIDEO)
    with worker_thread(valkey.settings, runtime := HeldRuntime()) as worker:
        request, later = generate(media=[video]), generate(media=[video])
        await broker.submit(request, {video.blob: film})
        await begun(runtime)
        await broker.cancel(request.id, request.tenant)
        (end,) = await collect(broker, request)  # the video is not done
        assert isinstance(end, Done)
        assert end.cancelled
        runtime.go.set()
        assert text_of(await run(broker, later)) == answer(later, [film])
        assert not worker.errors
    assert runtime.batches == [(Modality.VIDEO, 1)]  # a reading begun for nobody serves the next caller


async def test_a_worker_full_of_media_that_are_encoded_leaves_the_cores_to_them(broker: Broker, valkey: Valkey) -> None:
    class Counted(HeldRuntime):
        looks = 0

        @property
        def has_work(self) -> bool:
            self.looks += 1
            return super().has_work

    video, film = media(1, Modality.VIDEO)
    with worker_thread(valkey.settings, runtime := Counted(), max_sequences=1, prefetch=0):
        request = generate(media=[video])
        await broker.submit(request, {video.blob: film})
        await begun(runtime)
        before, began = runtime.looks, time.monotonic()
        await asyncio.sleep(0.2)
        looks, passed = runtime.looks - before, time.monotonic() - began
        assert looks < 1500 * passed  # two or three a turn of 4 ms; without a pause they are tens of thousands
        runtime.go.set()
        assert text_of(await collect(broker, request)) == answer(request, [film])


async def test_what_a_leaving_worker_encodes_is_answered_elsewhere_at_once(broker: Broker, valkey: Valkey) -> None:
    video, film = media(1, Modality.VIDEO)
    with worker_thread(valkey.settings, runtime := HeldRuntime()) as first:
        request = generate(media=[video])
        await broker.submit(request, {video.blob: film})
        await begun(runtime)
        first.drain(0)
        with worker_thread(valkey.settings):
            assert text_of(await collect(broker, request)) == answer(request, [film])
            assert (await broker.registry.models())["fake"].ready == 1
        assert first.thread.is_alive()  # its lane is still held
        runtime.go.set()


async def test_a_dead_engine_is_not_announced_while_a_lane_ends_its_batch(broker: Broker, valkey: Valkey) -> None:
    class Dying(HeldRuntime):
        dead = False

        @property
        def has_work(self) -> bool:
            return self.dead or super().has_work

        def step(self) -> list[TokenOutput]:
            if self.dead:
                raise EngineDead("the engine is dead")
            return super().step()

    video, film = media(1, Modality.VIDEO)
    with worker_thread(valkey.settings, runtime := Dying(), heartbeat_s=0.1, lost_after_s=0.4) as first:
        request = generate(media=[video])
        await broker.submit(request, {video.blob: film})
        await begun(runtime)
        runtime.dead = True
        await until(lambda: valkey.client.zcard(Keys().ready("fake")) == 0, what="taking the announcement back")
        with worker_thread(valkey.settings, heartbeat_s=0.1, lost_after_s=0.4):
            assert text_of(await collect(broker, request)) == answer(request, [film])
        assert first.thread.is_alive()
        runtime.go.set()


async def test_a_worker_killed_while_it_encodes_is_followed_by_another(broker: Broker, valkey: Valkey) -> None:
    part, array = media(1)
    request = generate(media=[part])
    beats = {"heartbeat_s": 0.1, "lost_after_s": 0.4}
    with worker_process(valkey.settings, encode_delay=60, **beats) as process:
        await broker.submit(request, {part.blob: array})
        await until(lambda: valkey.client.xpending(Keys().queue("fake", "interactive"), "workers")["pending"])
        process.kill()
        with worker_thread(valkey.settings, **beats) as second:
            assert text_of(await collect(broker, request)) == answer(request, [array])
    assert second.runtime.encoded == {Modality.IMAGE: 1}


async def test_a_worker_that_is_told_to_leave_waits_for_its_lanes(broker: Broker, valkey: Valkey) -> None:
    video, film = media(1, Modality.VIDEO)
    others = set(threading.enumerate())  # other tests' workers among them
    with worker_thread(valkey.settings, runtime := HeldRuntime()):
        await broker.submit(generate(media=[video]), {video.blob: film})
        await begun(runtime)
        assert [t for t in set(threading.enumerate()) - others if t.name.startswith("encode-")]
        runtime.go.set()
    assert not [t for t in set(threading.enumerate()) - others if t.name.startswith("encode-")]


async def test_one_bad_medium_fails_its_own_request_only(broker: Broker, valkey: Valkey) -> None:
    good, array = media(1)
    bad, _ = media(2)
    slow, slow_array = media(3)  # while it is encoded the others gather
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


async def test_an_embedding_that_is_not_finite_never_reaches_the_model(
    broker: Broker, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FakeRuntime):
        def encode(self, modality: Modality, arrays: list[np.ndarray]) -> list[np.ndarray]:
            return [np.full(8, np.nan, np.float32) for _ in arrays]

    for number, (factor, code) in enumerate(((1, "engine_error"), (1e30, "invalid_media")), 1):
        part, array = media(number)
        with caplog.at_level("ERROR"), worker_thread(valkey.settings, Broken()):
            (end,) = await run(broker, generate(media=[part]), {part.blob: (array + 1).astype(np.float32) * factor})
        assert isinstance(end, Failed)
        assert end.code == code, "the weights' fault is not the caller's, numbers out of proportion are"
        assert not valkey.client.exists(Keys().embedding(part.blob))
    assert [record.message for record in caplog.records if "weights" in record.message] == [
        "the encoder of image gives numbers that are not finite: its weights are at fault"
    ]


def test_a_request_that_could_not_be_looked_up_is_not_held_twice() -> None:
    class Away(EmbeddingCache):
        def embeddings(self, names: Sequence[str]) -> dict[str, np.ndarray]:
            raise StoreUnavailable(f"no answer about {len(names)} media")

    keys, settings, metrics = Keys(), StoreSettings(), WorkerMetrics.on(CollectorRegistry())
    cache = Away(redis.Redis(), keys, settings)
    intake = EncodeStage(FakeRuntime(), cache, Batcher(size=8), ThreadEncoderExecutor(), metrics, limit=60.0)
    part, _ = media(1)
    job = Job.of(Delivery(generate(media=[part]), "interactive", b"1-0", EventWriter("events", 2), EventHistory(())))
    with pytest.raises(StoreUnavailable):
        intake.add(job)
    assert not intake.jobs  # it waits where it came from, and would be handed back twice


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


async def test_a_medium_may_be_named_by_its_tower_or_by_the_whole_encoder(broker: Broker, valkey: Valkey) -> None:
    """A gateway names the encoder where another worker of the model states no digests of towers."""
    info = replace(FAKE_INFO, tower_digests={Modality.IMAGE: "image-tower"})
    with worker_thread(valkey.settings, FakeRuntime(info=info)) as worker:
        for number, digest in enumerate(("image-tower", info.encoder_digest)):
            part, array = media(number)
            part = msgspec.structs.replace(part, blob=media_name(TENANT, digest, part.digest))
            request = generate(media=[part])
            assert text_of(await run(broker, request, {part.blob: array})) == answer(request, [array])
        part, array = media(3)
        part = msgspec.structs.replace(part, blob=media_name(TENANT, "audio-tower", part.digest))
        (end,) = await run(broker, generate(media=[part]), {part.blob: array})
        assert isinstance(end, Failed)
        assert worker.runtime.encoded == {Modality.IMAGE: 2}


async def test_two_models_with_an_equal_tower_encode_a_medium_once(broker: Broker, valkey: Valkey) -> None:
    one, other = (
        replace(FAKE_INFO, id=name, encoder_digest=name, tower_digests={Modality.IMAGE: "shared", Modality.AUDIO: name})
        for name in ("one", "other")
    )
    with (
        worker_thread(valkey.settings, FakeRuntime(info=one)) as first,
        worker_thread(valkey.settings, FakeRuntime(info=other)) as second,
    ):
        for info in (one, other):
            parts = [media(1), media(2, Modality.AUDIO)]
            named = [(renamed(part, info), array) for part, array in parts]
            lacking = (await broker.look_up(info.id, "interactive", [part.blob for part, _ in named]))[1]
            arrays = {part.blob: array for part, array in named if part.blob in lacking}
            request = generate(model=info.id, media=[part for part, _ in named])
            assert text_of(await run(broker, request, arrays)) == answer(request, [array for _, array in named])
        assert first.runtime.encoded == {Modality.IMAGE: 1, Modality.AUDIO: 1}
        assert second.runtime.encoded == {Modality.AUDIO: 1}


def renamed(part: MediaRef, info: ModelInfo) -> MediaRef:
    """As a gateway names it for the model."""
    return msgspec.structs.replace(part, blob=media_name(TENANT, info.digest_of(part.modality), part.digest))


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
        expected = fake_embedding(part.modality, array)[0]
        np.testing.assert_allclose(np.frombuffer(data, "<f4"), expected / np.linalg.norm(expected), rtol=1e-6)
    assert [getattr(end, "code", None) for end in ends_of(nothing)] == ["invalid_request"]

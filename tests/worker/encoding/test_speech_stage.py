"""Requests for what is said: window by window, in turns, taken over behind what was published."""

import time
from collections.abc import Sequence

import numpy as np
import pytest
from pydantic import SecretStr

from pandagpt_core.speech.base import SpeechOptions
from pandagpt_core.types import Modality
from service.broker.gateway.admin import NotRetryable, QueueAdmin
from service.broker.gateway.client import Broker
from service.broker.keys import Keys, new_request_id
from service.broker.protocol import Done, Event, Failed, Heard, MediaRef, Started, Transcribe, encode
from tests.conftest import Valkey
from tests.fakes import FakeRecogniser, worker_process, worker_thread
from tests.wire import collect, ends_of, until

OPTIONS = SpeechOptions()


def request(options: SpeechOptions = OPTIONS) -> Transcribe:
    name, now = new_request_id("transcript", "fake"), time.time()
    return Transcribe(
        id=name,
        model="fake",
        tenant="t",
        created=now,
        deadline=now + 60,
        sound=MediaRef(modality=Modality.AUDIO, digest="d", blob=f"sound-{name}", turn=0),
        options=options,
    )


async def submit(broker: Broker, wanted: Transcribe, seconds: float = 70) -> None:
    await broker.submit(wanted, {wanted.sound.blob: np.ones(round(seconds * 16_000), np.int16)})


def texts(events: Sequence[Event]) -> list[str]:
    return [segment.text for event in events if isinstance(event, Heard) for segment in event.window.segments]


async def test_a_sound_is_written_down_window_by_window(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, recogniser=FakeRecogniser()) as worker:
        wanted = request(SpeechOptions(language="de"))
        await submit(broker, wanted)
        events = await collect(broker, wanted)
        assert texts(events) == [f" transcribe de {frame} after {2 * n}." for n, frame in enumerate((0, 3000, 6000))]
        assert [type(event) for event in events if not isinstance(event, Heard)] == [Started, Done]
        state = await broker.state(wanted.id, "t")
        assert (state.status, state.completion_tokens) == ("done", 6)
        assert not worker.errors
    array = Keys(valkey.settings.namespace).array(wanted.sound.blob)
    assert not valkey.client.exists(array), "nobody needs the sound any more"


async def test_a_sound_waits_for_a_store_that_refuses_it(
    broker: Broker, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = request(), request()
    acl = valkey.client.acl_setuser
    acl("worker", enabled=True, nopass=True, keys=["*"], channels=["*"], categories=["+@all"], commands=["-get"])
    settings = valkey.settings.model_copy(update={"username": "worker", "password": SecretStr("any")})
    try:
        with worker_thread(settings, recogniser=FakeRecogniser()) as worker:
            for wanted in (first, second):
                await submit(broker, wanted, seconds=10)
            await until(lambda: "the store failed" in caplog.text, what="a look-up that the store refuses")
            acl("worker", commands=["+get"])
            for wanted in (first, second):
                assert texts(await collect(broker, wanted)) == [" transcribe en 0 after 0."]
            assert not worker.errors
    finally:
        valkey.client.acl_deluser("worker")


async def test_another_worker_goes_on_behind_what_was_published(broker: Broker, valkey: Valkey) -> None:
    wanted = request()
    with worker_process(valkey.settings, speech_delay=0.4) as first:
        await submit(broker, wanted, seconds=300)
        stream = broker.follow(await broker.find(wanted.id, "t"))
        found: list[Event] = []
        while len(texts(found)) < 2:
            found += await anext(stream)
        first.kill()
        with worker_thread(valkey.settings, recogniser=FakeRecogniser()) as worker:
            while not ends_of(found):
                found += await anext(stream)
            await stream.aclose()
            assert worker.runtime.encoded == {}
    expected = [f" transcribe en {3000 * number} after {2 * number}." for number in range(10)]
    assert texts(found) == expected, "each window once, with what was said before it"
    assert (await broker.state(wanted.id, "t")).attempts == 2
    (end,) = ends_of(found)
    assert end.completion_tokens == 20, "of all windows, by either worker"


async def test_sounds_take_turns_and_a_window_that_raises_fails_its_own(broker: Broker, valkey: Valkey) -> None:
    recogniser = FakeRecogniser(delay=0.05)
    with worker_thread(valkey.settings, recogniser=recogniser) as worker:
        long, harmful, short = request(), request(SpeechOptions(prompt="FAULT-HEAR")), request()
        await submit(broker, long, seconds=500)
        await until(lambda: recogniser.heard > 0)
        await submit(broker, harmful)
        await submit(broker, short, seconds=10)
        failed = (await collect(broker, harmful))[-1]
        assert isinstance(failed, Failed)
        assert failed.code == "internal_error"
        assert texts(await collect(broker, short)) == [" transcribe en 0 after 0."]
        assert len(texts(await broker.history(await broker.find(long.id, "t")))) < 16, "the short one did not wait"
        assert len(texts(await collect(broker, long))) == 17
        assert not worker.errors


async def test_a_cancelled_sound_is_heard_no_further(broker: Broker, valkey: Valkey) -> None:
    recogniser = FakeRecogniser(delay=0.05)
    with worker_thread(valkey.settings, recogniser=recogniser) as worker:
        wanted = request()
        await submit(broker, wanted, seconds=600)
        await until(lambda: recogniser.heard > 1)
        await broker.cancel(wanted.id, "t")
        assert ends_of(await collect(broker, wanted))[0].cancelled
        await until(lambda: worker.worker._speech.running is None)
        assert recogniser.heard < 20


@pytest.mark.parametrize("kept", [True, False])
async def test_a_worker_that_cannot_hear_says_so(broker: Broker, valkey: Valkey, kept: bool) -> None:
    """The worker has no recogniser, or the store has no sound."""
    with worker_thread(valkey.settings, recogniser=None if kept else FakeRecogniser()):
        wanted = request()
        await (submit(broker, wanted) if kept else broker.submit(wanted))
        failed = (await collect(broker, wanted))[-1]
    assert isinstance(failed, Failed)
    assert failed.code == ("invalid_request" if kept else "store_unavailable")


async def test_a_window_that_hangs_ends_the_worker_and_leaves_its_sound_to_others(
    broker: Broker, valkey: Valkey
) -> None:
    wanted = request()
    with worker_thread(valkey.settings, recogniser=FakeRecogniser(delay=5), encode_limit_s=0.2) as worker:
        await submit(broker, wanted, seconds=10)
        worker.thread.join(20)
        assert worker.errors, "the worker left with an error"
    with worker_thread(valkey.settings, recogniser=FakeRecogniser()):
        assert texts(await collect(broker, wanted)) == [" transcribe en 0 after 0."]


async def test_a_sound_given_up_is_retried_as_long_as_the_store_has_it(broker: Broker, valkey: Valkey) -> None:
    store = valkey.settings.model_copy(update={"max_deliveries": 1})
    fast, wanted, admin = {"heartbeat_s": 0.1, "lost_after_s": 0.3}, request(), QueueAdmin.connect(store)
    dead, array = Keys().dead("fake"), Keys().array(wanted.sound.blob)
    with worker_process(store, speech_delay=0.4, **fast) as first:
        await submit(broker, wanted, seconds=300)
        await until(lambda: valkey.client.xlen(Keys().events(wanted.id)) > 1, what="a window")
        first.kill()
    with worker_thread(store, recogniser=FakeRecogniser(), **fast):
        (failed,) = ends_of(await collect(broker, wanted))
        assert isinstance(failed, Failed)
        assert failed.code == "worker_lost"
        await until(lambda: valkey.client.xlen(dead) == 1, what="the dead letter")
        valkey.client.expire(array, 20)
        (letter,) = await admin.find(wanted.id, ["fake"])
        await admin.retry(letter)
        events = await collect(broker, wanted)
        assert len(texts(events)) == 10
        assert isinstance(events[-1], Done)
        await until(lambda: not valkey.client.exists(array), what="a sound that nobody needs any more")
        valkey.client.xadd(dead, {"reason": "worker_lost", "at": "1.0", "request": encode(wanted)})
        (letter,) = await admin.find(wanted.id, ["fake"])
        with pytest.raises(NotRetryable, match="1 of its 1 media left the store"):
            await admin.retry(letter)
        assert await admin.find(wanted.id, ["fake"]) == [letter]
        assert texts(await collect(broker, wanted)) == texts(events), "what its caller reads is as it was"
    await admin.close()

"""No window between two writes: for every path of a gateway, harm is done at each of its store commands in turn.

A path is a row of `PATHS`. It runs over a proxy that cuts, stops or kills at command 1, then at command 2, and so on
until the path has no such command. However it ends, the caller's repeat, by another gateway, is answered at once, no
request is lost or answered twice, and nothing stays in the queue.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from pandagpt_core.types import Modality, SamplingParams, Turn
from service.broker.errors import DuplicateRequest, StoreUnavailable, UnknownRequest
from service.broker.gateway import departures
from service.broker.gateway.admin import QueueAdmin
from service.broker.gateway.batches import ENDED, BatchProgress, StoredBatch
from service.broker.gateway.client import Broker
from service.broker.gateway.request_record import RequestRecord
from service.broker.keys import PRIORITIES, Keys
from service.broker.protocol import Done, Event, Vectors, encode
from service.gateway.access.auth import CLASSES, Caller, KeyRing
from service.gateway.app import batch_runner, make_state, pool_options
from service.gateway.decoding.pool import DecodePools
from service.gateway.errors import ERRORS, GatewayError
from service.gateway.inference.service import Validated
from service.gateway.inference.validated import EmbedRequest, GenerateRequest, ResponseOptions, SamplingOverrides
from service.gateway.media.medium import MediaInput
from service.gateway.state import GatewayState
from service.metrics import GatewayMetrics
from service.settings import Settings
from service.settings.store import StoreSettings
from tests.chaos.store_proxy import HARMS, UNTIL_IT_LEAVES, Harm, StoreProxy, store_proxy
from tests.conftest import Valkey
from tests.fakes import FAKE_INFO, FakeRuntime, fake_embedding, worker_thread
from tests.wire import TENANT, answer, collect, embed, ends_of, generate, media, text_of, until

_T = TypeVar("_T")
LONG = SamplingParams(max_tokens=1500, ignore_eos=True)
QUESTION = "what is this"
CHAT = "/v1/chat/completions"
WANTED = GenerateRequest((Turn("user", QUESTION),), (), SamplingOverrides(max_tokens=8, seed=7))
RESPONSE = replace(WANTED, response=ResponseOptions({"store": True}))
CALLER = Caller("somebody", TENANT, CLASSES["user"], TENANT, cache_group=TENANT)
MOST = 70  # commands of one path; more would be a path that never ends


class Died(Exception):
    """The gateway behind the proxy was killed."""


HARMED = (StoreUnavailable, Died)


@dataclass(frozen=True)
class Gateways:
    """`near` reaches the store through the proxy, `far` directly: the gateway that the caller's repeat comes to.

    So do the operator's commands.
    """

    near_state: GatewayState
    far_state: GatewayState
    near_admin: QueueAdmin
    far_admin: QueueAdmin
    proxy: StoreProxy

    @property
    def near(self) -> Broker:
        return self.near_state.broker

    @property
    def far(self) -> Broker:
        return self.far_state.broker

    async def attempt(self, work: Awaitable[_T]) -> _T:
        """Result of the work. Raises Died where the gateway is killed meanwhile."""
        task, died = asyncio.ensure_future(work), asyncio.create_task(self.proxy.died.wait())
        await asyncio.wait({task, died}, return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        if task.done() and not self.proxy.died.is_set():
            return task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise Died


def gateway_on(store: StoreSettings) -> GatewayState:
    """A gateway's own parts. It does not wait for a store that is away: the harm is for the caller to see."""
    settings = Settings(store=store.model_copy(update={"patience_s": 0.0}))
    registry = CollectorRegistry()
    metrics, pool = GatewayMetrics.on(registry, ERRORS), DecodePools(pool_options(settings))
    return make_state(settings, KeyRing(None), registry, metrics, pool)


async def submit(gateways: Gateways) -> None:
    part, array = media(1)
    request = generate(media=[part])
    try:
        await gateways.attempt(gateways.near.submit(request, {part.blob: array}))
    except HARMED:
        request = generate("again", media=[part])
        await gateways.far.submit(request, {part.blob: array})
    assert text_of(await collect(gateways.far, request)) == answer(request, [array])


async def read(gateways: Gateways) -> None:
    """The reader's own end is `store_unavailable` only where the store is away for long."""
    request = generate()
    record = await gateways.far.submit(request)

    async def events(broker: Broker) -> list[Event]:
        return [event async for came in broker.follow(record) for event in came]

    try:
        found = await gateways.attempt(events(gateways.near))
    except HARMED:
        found = await events(gateways.far)
    assert text_of(found) == answer(request)
    assert len(ends_of(found)) == 1


async def cancel(gateways: Gateways) -> None:
    request = generate(params=LONG)
    record = await gateways.far.submit(request)
    try:
        await gateways.attempt(gateways.near.cancel_record(record))
    except HARMED:
        await gateways.far.cancel_record(record)
    await _ends_cancelled(gateways, record)


async def leave(gateways: Gateways) -> None:
    record = await gateways.far.submit(generate(params=LONG))
    try:
        assert await gateways.attempt(gateways.near.leave(record)) is not None
    except HARMED:
        await gateways.far.leave(record)
    await _ends_cancelled(gateways, record)


async def come(gateways: Gateways) -> None:
    """A second reader, whose coming may fail: the request is cancelled when all have left."""
    record = await gateways.far.submit(generate(params=LONG))
    leaving = gateways.near_state.requests.leaving

    async def come_and_leave() -> None:
        with suppress(StoreUnavailable):
            leaving.leave(await leaving.come(record))
        await gateways.near.departed()

    try:
        await gateways.attempt(come_and_leave())
    except Died:
        await gateways.far.cancel_record(record)  # the killed gateway's reader counts for good
    await gateways.far.leave(record)
    await _ends_cancelled(gateways, record)


async def repeat(gateways: Gateways) -> None:
    """A request under an `Idempotency-Key`, and the caller's repeat of it."""
    await _repeated(gateways, WANTED)


async def repeat_medium(gateways: Gateways) -> None:
    await _repeated(gateways, replace(WANTED, media=(_vector_medium(),)))


async def repeat_vectors(gateways: Gateways) -> None:
    await _repeated(gateways, EmbedRequest((_vector_medium(), _vector_medium()), "fake"))


async def repeat_response(gateways: Gateways) -> None:
    await _repeated(gateways, RESPONSE)


async def _repeated(gateways: Gateways, wanted: Validated) -> None:
    """The request and its repeat have one answer, that of the same request without harm."""

    async def entered(gateway: GatewayState, key: str) -> RequestRecord:
        info = await gateway.requests.model("fake")
        return (await gateway.requests.submit(wanted, info, CALLER, key)).record

    plain = await _events(gateways, await entered(gateways.far_state, uuid4().hex))
    key = uuid4().hex
    try:
        record = await gateways.attempt(entered(gateways.near_state, key))
    except HARMED:
        record = await entered(gateways.far_state, key)
    events = await _events(gateways, record)
    (end,) = ends_of(events)
    assert isinstance(end, Done), end
    assert text_of(events) == text_of(plain)
    assert [one.data for one in events if isinstance(one, Vectors)] == [
        one.data for one in plain if isinstance(one, Vectors)
    ]
    again = await entered(gateways.far_state, key)
    assert again.id == record.id


def _vector_medium() -> MediaInput:
    """A medium that is its embedding, another one each time: no gateway has to decode it."""
    vector = np.random.default_rng().standard_normal(FAKE_INFO.embedding_dim).astype("<f4").tobytes()
    return MediaInput(Modality.IMAGE, vector, hashlib.sha256(vector).hexdigest(), 0, "image", is_vector=True)


async def retry(gateways: Gateways) -> None:
    """An operator's second chance for a dead letter: at every moment there is the letter or its run, never both."""
    store, dead = gateways.far._store, Keys().dead("fake")
    request = generate(params=SamplingParams(max_tokens=20, ignore_eos=True))
    await gateways.far.submit(request, response=b"how to fold it")
    assert text_of(await collect(gateways.far, request)) == answer(request)
    await store.xadd(dead, {"reason": "worker_lost", "at": "1.0", "request": encode(request)})
    near, far = gateways.near_admin, gateways.far_admin
    (letter,) = [item for item in await far.find(request.id, ["fake"]) if item.state == "dead"]  # or still settled
    try:
        await gateways.attempt(near.retry(letter))
    except HARMED:
        for item in await far.find(request.id, ["fake"]):
            if item.state == "dead":
                await far.retry(item)
    with pytest.raises(DuplicateRequest):
        await far.retry(letter)
    events = await collect(gateways.far, request)
    assert text_of(events) == answer(request)
    assert len(ends_of(events)) == 1
    assert (await gateways.far.find(request.id, TENANT)).response == b"how to fold it"
    assert await store.xlen(dead) == 0


async def drop(gateways: Gateways) -> None:
    """An operator ends a request that waits or runs, and forgets a dead letter: none of them is left."""
    store, dead, running = gateways.far._store, Keys().dead("fake"), generate(params=LONG)
    record, letter = await gateways.far.submit(running), generate()
    await store.xadd(dead, {"reason": "worker_lost", "at": "1.0", "request": encode(letter)})
    for request in (running, letter):
        (item,) = await gateways.far_admin.find(request.id, ["fake"])
        try:
            await gateways.attempt(gateways.near_admin.drop(item))
        except HARMED:
            for left in await gateways.far_admin.find(request.id, ["fake"]):
                await gateways.far_admin.drop(left)
    await _ends_cancelled(gateways, record)
    assert await store.xlen(dead) == 0


async def embeddings(gateways: Gateways) -> None:
    """A request for vectors, sent and read by the gateway that is harmed; the caller's repeat has the same vectors."""
    part, array = media(1)

    async def vectors(broker: Broker) -> list[bytes]:
        request = embed([part])
        record = await broker.submit(request, {part.blob: array})
        events = [event async for came in broker.follow(record) for event in came]
        assert len(ends_of(events)) == 1
        (found,) = [event for event in events if isinstance(event, Vectors)]
        return found.data

    try:
        found = await gateways.attempt(vectors(gateways.near))
    except HARMED:
        found = await vectors(gateways.far)
    row = fake_embedding(part.modality, array)[0]
    (vector,) = [np.frombuffer(one, "<f4") for one in found]
    assert np.allclose(vector, row / np.linalg.norm(row))


async def respond(gateways: Gateways) -> None:
    """A response of /v1/responses: each one that has a record can be read and gone on with."""
    store, responses = gateways.far._store, gateways.far_state.responses

    async def made(gateway: GatewayState) -> RequestRecord:
        return (await gateway.requests.submit(RESPONSE, FAKE_INFO, CALLER, None)).record

    async def ids() -> set[str]:
        return {name.decode().rpartition(":")[2] async for name in store.scan_iter("pandagpt:record:*:resp-*")}

    before = await ids()
    try:
        record = await gateways.attempt(made(gateways.near_state))
    except HARMED:
        record = await made(gateways.far_state)
    await _answered_once(gateways, record)
    entered = await ids() - before
    assert record.id in entered
    for request_id in entered:
        try:
            await gateways.far.find(request_id, TENANT)
        except UnknownRequest:  # a note that the request was given up before it was queued
            continue
        _, kept = await responses.find(request_id, TENANT)
        assert [turn.text for turn in kept.turns] == [QUESTION]


async def delete(gateways: Gateways) -> None:
    """A response that its caller deletes: however often it is repeated, nothing asked or answered is left."""
    store, keys = gateways.far._store, Keys()
    record = (await gateways.far_state.requests.submit(RESPONSE, FAKE_INFO, CALLER, None)).record
    names = (keys.events(record.id), keys.response(record.id), keys.picture(record.id))
    await store.set(keys.picture(record.id), b"a picture", ex=60)
    await gateways.far_state.requests.until_ended(record)
    assert await store.exists(*names) == 3
    try:
        await gateways.attempt(gateways.near_state.responses.delete(record.id, TENANT))
    except HARMED:
        with suppress(GatewayError):  # an earlier try had deleted it
            await gateways.far_state.responses.delete(record.id, TENANT)
    assert max([await store.pttl(name) for name in names]) <= 1000
    assert await store.exists(*names[1:]) == 0


async def batch_line(gateways: Gateways) -> None:
    """A batch of one request: whichever gateway runs it on, it has one result, and that is the request's answer."""
    batches, files = gateways.far_state.batches, gateways.far_state.files
    body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 8, "seed": 7}
    line = json.dumps({"custom_id": "one", "url": CHAT, "body": body}).encode()
    name, now = uuid4().hex, int(time.time())
    batch = StoredBatch(
        id=f"batch_{name}",
        tenant=TENANT,
        name="somebody",
        share=TENANT,
        cache_group=TENANT,
        endpoint=CHAT,
        input_file=(await files.add(TENANT, "in.jsonl", "batch", line, "0" * 64)).id,
        output_file=f"file-out{name}",
        error_file=f"file-err{name}",
        window="1h",
        created=now,
        expires=now + 3600,
    )
    await batches.add(batch)
    await batches.advance(batch.id, "in_progress", total=1)

    async def ended(gateway: GatewayState) -> BatchProgress:
        runner = batch_runner(gateway, 1)
        runner.retry_s = 0.05
        try:
            while True:
                with suppress(StoreUnavailable):
                    await runner._look()
                await asyncio.gather(*runner._tasks.values())
                if (found := await batches.find(batch.id)) and found[1].status in ENDED:
                    return found[1]
        finally:
            await runner._stop()

    try:
        done = await gateways.attempt(ended(gateways.near_state))
    except Died:
        await gateways.far._store.delete(Keys().batch_lease)  # its time is over
        done = await ended(gateways.far_state)
    assert (done.status, done.completed, done.failed) == ("completed", 1, 0)
    (written,) = (await files.open(TENANT, batch.output_file)).data.splitlines()
    (choice,) = json.loads(written)["response"]["body"]["choices"]
    assert choice["message"]["content"] == answer(generate(QUESTION, params=SamplingParams(max_tokens=8, seed=7)))


async def _events(gateways: Gateways, record: RequestRecord) -> list[Event]:
    return [event async for came in gateways.far.follow(record) for event in came]


async def _answered_once(gateways: Gateways, record: RequestRecord) -> None:
    events = await _events(gateways, record)
    assert text_of(events) == answer(generate(QUESTION, params=SamplingParams(max_tokens=8, seed=7)))
    assert len(ends_of(events)) == 1


async def _ends_cancelled(gateways: Gateways, record: RequestRecord) -> None:
    events = [event async for came in gateways.far.follow(record) for event in came]
    (end,) = ends_of(events)
    assert isinstance(end, Done)
    assert end.cancelled


PATHS: tuple[Callable[[Gateways], Coroutine[Any, Any, None]], ...] = (
    submit,
    read,
    cancel,
    leave,
    come,
    repeat,
    repeat_medium,
    repeat_vectors,
    repeat_response,
    retry,
    drop,
    embeddings,
    respond,
    delete,
    batch_line,
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a killed process closes no connection
@pytest.mark.timeout(300)
@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
async def test_harm_at_each_store_command_loses_nothing(
    path: Callable[[Gateways], Coroutine[Any, Any, None]],
    harm: Harm,
    valkey: Valkey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, seconds in (("PAUSE", 0.02), ("CLOSING", 0.1)):
        monkeypatch.setattr(departures, name, seconds)
    socket, queues = valkey.url.removeprefix("unix://"), [Keys().queue("fake", one) for one in PRIORITIES]
    async with AsyncExitStack() as last:
        last.enter_context(worker_thread(valkey.settings, FakeRuntime(step_delay=0.002), lost_after_s=30.0))
        far, far_admin = gateway_on(valkey.settings), QueueAdmin.connect(valkey.settings)
        last.push_async_callback(far.close)
        last.push_async_callback(far_admin.close)
        done = 0
        for at in range(1, MOST):
            async with store_proxy(socket, at, harm, UNTIL_IT_LEAVES) as (proxy, url), AsyncExitStack() as ends:
                through = valkey.settings.model_copy(update={"url": url, "command_timeout_s": 0.4})
                near, near_admin = gateway_on(through), QueueAdmin.connect(through)
                ends.push_async_callback(near.close)
                ends.push_async_callback(near_admin.close)
                async with asyncio.timeout(25):  # a window of 30 seconds, as there was one, is longer
                    await path(Gateways(near, far, near_admin, far_admin, proxy))
            if proxy.count < at:
                break
            done = at
            for priority, queue in zip(PRIORITIES, queues, strict=True):
                await until(lambda one=queue: valkey.client.xlen(one) == 0, what=f"the empty queue after harm at {at}")
                assert valkey.client.get(Keys().load("fake", priority)) is None
        assert 0 < done < MOST - 1

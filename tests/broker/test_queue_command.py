"""`pandagpt queue` on a real store: its listing, retry and drop."""

import asyncio
import json
import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from pandagpt_core.types import Modality, SamplingParams
from service import cli
from service.broker import protocol
from service.broker.errors import DuplicateRequest
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.broker.media_cache import pack
from service.broker.protocol import Done, Failed, Generate
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.wire import answer, collect, ends_of, generate, media, text_of, until

QUEUE, DEAD = Keys().queue("fake", "interactive"), Keys().dead("fake")
SECRET = "my bank says hello"
Queue = Callable[..., list[dict]]


@pytest.fixture
def queue(valkey: Valkey, capsys: pytest.CaptureFixture[str]) -> Queue:
    """Run the command with --json; what it printed."""

    def run(*words: str, status: int = 0) -> list[dict]:
        assert cli.main(["queue", *words, "--json", "--store", valkey.url]) == status
        printed = capsys.readouterr().out
        return json.loads(printed) if printed else []

    return run


async def in_thread(work: Callable[..., object], *words: str, **options: object) -> object:
    return await asyncio.to_thread(work, *words, **options)


def bury(valkey: Valkey, request: Generate, reason: str = "worker_lost") -> str:
    letter = {"reason": reason, "at": "1700000000.0", "request": protocol.encode(request)}
    return valkey.client.xadd(DEAD, letter).decode()


async def test_what_runs_waits_and_is_dead_is_listed(broker: Broker, valkey: Valkey, queue: Queue) -> None:
    runtime, patient = FakeRuntime(step_delay=0.05), {"deadline": time.time() + 600}
    with worker_thread(valkey.settings, runtime, max_sequences=1, prefetch=0, lost_after_s=600) as worker:
        running = generate(SECRET, params=SamplingParams(max_tokens=1500, ignore_eos=True), **patient)
        await broker.submit(running)
        await until(lambda: worker.runtime.has_work)
        waiting, batch, dead = generate(**patient), generate(priority="batch", **patient), generate()
        await broker.submit(waiting)
        await broker.submit(batch)
        bury(valkey, dead)
        rows = await in_thread(queue, "list")
        assert [(row["state"], row["id"], row["priority"]) for row in rows] == [
            ("running", running.id, "interactive"),
            ("waiting", waiting.id, "interactive"),
            ("waiting", batch.id, "batch"),
            ("dead", dead.id, "interactive"),
        ]
        assert (rows[0]["attempts"], bool(rows[0]["worker"]), rows[3]["reason"]) == (1, True, "worker_lost")
        assert [row["id"] for row in await in_thread(queue, "list", "--state", "waiting")] == [waiting.id, batch.id]
        assert await in_thread(queue, "list", "--model", "another") == []
        for request in (running, waiting, batch):
            await in_thread(queue, "drop", request.id)
            (end,) = ends_of(await collect(broker, request))
            assert isinstance(end, Done)
            assert end.cancelled


def test_a_table_is_for_people_and_shows_no_text(valkey: Valkey, capsys: pytest.CaptureFixture[str]) -> None:
    valkey.client.zadd(Keys().models, {"fake": 1})
    request = generate(SECRET)
    bury(valkey, request)
    assert cli.main(["queue", "list", "--store", valkey.url]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["state", "model", "priority", "id"]
    assert row.split()[:4] == ["dead", "fake", "interactive", request.id]
    assert cli.main(["queue", "show", request.id, "--store", valkey.url]) == 0
    shown = capsys.readouterr().out
    assert SECRET not in shown
    assert f"characters  {len(SECRET)}" in shown
    assert cli.main(["queue", "show", request.id, "--text", "--store", valkey.url]) == 0
    assert SECRET in capsys.readouterr().out
    valkey.client.flushall()
    assert cli.main(["queue", "list", "--store", valkey.url]) == 0
    assert capsys.readouterr().out == "nothing waits, runs or is dead\n"


async def test_a_dead_letter_is_retried_under_its_own_id(broker: Broker, valkey: Valkey, queue: Queue) -> None:
    with worker_thread(valkey.settings):
        request = generate()
        valkey.client.xadd(
            Keys().events(request.id), {"events": protocol.encode([Failed(code="worker_lost", message="m")])}, "3-0"
        )
        entry = bury(valkey, request)
        (row,) = await in_thread(queue, "retry", entry)
        assert (row["id"], row["outcome"]) == (request.id, "queued again")
        assert text_of(await collect(broker, request)) == answer(request)
    assert valkey.client.xlen(DEAD) == 0


async def test_all_dead_letters_at_once_and_those_that_cannot_be_read_stay(
    broker: Broker, valkey: Valkey, queue: Queue
) -> None:
    with worker_thread(valkey.settings):
        requests = [generate(str(number)) for number in range(3)]
        for request in requests:
            bury(valkey, request)
        unreadable = valkey.client.xadd(DEAD, {"reason": "undecodable", "at": "1.0", "request": b"\xc1"}).decode()
        rows = await in_thread(queue, "retry", "--all-dead", status=1)
        assert [row["outcome"] for row in rows[:3]] == ["queued again"] * 3
        assert "no dead letter that this version can read" in rows[3]["outcome"]
        for request in requests:
            assert text_of(await collect(broker, request)) == answer(request)
        assert [row["entry"] for row in await in_thread(queue, "list", "--state", "dead")] == [unreadable]
        await in_thread(queue, "drop", "--all-dead")
    assert valkey.client.xlen(DEAD) == 0


async def test_a_letter_whose_media_left_the_store_stays(broker: Broker, valkey: Valkey, queue: Queue) -> None:
    (picture, array), (sound, heard) = media(1), media(2, Modality.AUDIO)
    speech = replace(sound, blob="as the recogniser reads it")
    request = generate(media=[picture, sound], speech=[speech])
    packed = {part.blob: pack(one) for part, one in ((picture, array), (sound, heard), (speech, heard))}
    with worker_thread(valkey.settings):
        bury(valkey, request)
        for have, gone in enumerate((3, 2, 1)):
            (row,) = await in_thread(queue, "retry", request.id, status=1)
            assert f"{gone} of its 3 media left the store" in row["outcome"]
            assert valkey.client.xlen(DEAD) == 1
            name = list(packed)[have]
            valkey.client.set(Keys().array(name), packed[name], ex=1000)
        await in_thread(queue, "retry", request.id)
        assert text_of(await collect(broker, request)) == answer(request, [array, heard])
    assert valkey.client.xlen(DEAD) == 0


async def test_without_a_worker_a_letter_is_not_lost_by_a_retry(valkey: Valkey, queue: Queue) -> None:
    valkey.client.zadd(Keys().models, {"fake": 1})
    request = generate()
    bury(valkey, request)
    failure = {"events": protocol.encode([Failed(code="worker_lost", message="m")])}
    valkey.client.xadd(Keys().events(request.id), failure, "3-0")
    (row,) = await in_thread(queue, "retry", request.id, status=1)
    assert "no worker" in row["outcome"]
    assert valkey.client.xlen(DEAD) == 1
    assert valkey.client.xlen(Keys().events(request.id)) == 1, "its caller still reads the failure"


async def test_events_of_another_run_are_not_forgotten_by_a_late_command(broker: Broker, valkey: Valkey) -> None:
    """Ids begin anew with each run, so that of the last event may be the same."""
    events = Keys().events("chatcmpl-1")
    valkey.client.xadd(events, {"events": b"failed at first"}, "1-1")
    last = await broker._records.last_event("chatcmpl-1")
    valkey.client.delete(events)
    await broker._records.forget_events("chatcmpl-1", last)  # gone already
    valkey.client.xadd(events, {"events": b"answered then"}, "1-1")
    with pytest.raises(DuplicateRequest):
        await broker._records.forget_events("chatcmpl-1", last)
    assert valkey.client.xlen(events) == 1


def test_an_entry_that_nobody_can_read_is_dropped_from_the_queue(valkey: Valkey, queue: Queue) -> None:
    valkey.client.zadd(Keys().models, {"fake": 1})
    entry = valkey.client.xadd(QUEUE, {"request": b"\xc1", "cost": "7"}).decode()
    assert queue("list")[0]["kind"] == "unreadable"
    queue("drop", entry)
    assert valkey.client.xlen(QUEUE) == 0


@pytest.mark.parametrize("words", [("show", "nobody"), ("retry", "nobody"), ("drop", "nobody")])
def test_an_unknown_name_is_told(words: tuple[str, ...], queue: Queue, valkey: Valkey) -> None:
    queue(*words, status=1)


@pytest.mark.parametrize("words", [("retry",), ("drop",), ("drop", "x", "--all-dead"), ("dance",), ()])
def test_a_call_that_means_nothing_is_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["queue", *words])
    assert caught.value.code == 2


def test_without_a_store_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["queue", "list"]) == 2
    assert "PANDAGPT_STORE_URL" in capsys.readouterr().err
    assert cli.main(["queue", "list", "--store", "redis://127.0.0.1:1/0"]) == 1
    assert "does not answer" in capsys.readouterr().err

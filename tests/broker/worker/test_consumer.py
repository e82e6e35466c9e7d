import time
from collections.abc import Iterator

import pytest

from service.broker import protocol
from service.broker.connection import SyncStore, connect
from service.broker.errors import StoreUnavailable
from service.broker.event_log import events_of
from service.broker.keys import GROUP, Keys
from service.broker.protocol import Done, Failed, Generate, Token
from service.broker.worker.consumer import Consumer
from tests.conftest import Valkey
from tests.wire import generate

QUEUE = Keys().queue("fake", "interactive")


@pytest.fixture
def store(valkey: Valkey) -> Iterator[SyncStore]:
    connection = connect(valkey.settings)
    yield connection
    connection.close()


def consumer(store: SyncStore, valkey: Valkey, worker: str = "w", lost_after: float = 10.0) -> Consumer:
    made = Consumer(store, valkey.settings, "fake", worker, lost_after, claim_every_s=0.0)
    made.open()
    return made


def queue(store: SyncStore) -> Generate:
    request = generate()
    entry = store.xadd(QUEUE, {"request": protocol.encode(request), "cost": 1})
    store.zadd(Keys().waiting(request.model, "interactive"), {entry: 0})
    return request


def tokens(store: SyncStore, request: Generate) -> list[int]:
    events = events_of(store.xrange(Keys().events(request.id)))
    return [event.token_id for event in events if isinstance(event, Token)]


def test_its_own_requests_are_not_taken_over_from_itself(store: SyncStore, valkey: Valkey) -> None:
    worker = consumer(store, valkey, lost_after=0.02)
    request = queue(store)
    (delivery,) = worker.take(1)
    time.sleep(0.05)  # its heartbeat did not get through
    assert worker.take(1) == []
    delivery.writer.add(Token(choice=0, token_id=1, text="a"))
    assert worker.flush().lost == ()
    assert tokens(store, request) == [1]


def test_an_answer_that_got_lost_costs_nothing(store: SyncStore, valkey: Valkey) -> None:
    worker = consumer(store, valkey)
    request = queue(store)
    (delivery,) = worker.take(1)
    delivery.writer.add(Token(choice=0, token_id=1, text="a"))
    store.pipeline(transaction=False).execute_command(*delivery.writer.command).execute()  # arrived, unheard of
    delivery.writer.add(Token(choice=0, token_id=2, text="b"), Done())
    for _ in range(2):
        assert worker.flush().lost == ()
    assert tokens(store, request) == [1, 2]
    assert worker.unfinished == 0
    assert store.xlen(QUEUE) == 0


def test_after_the_store_was_away_others_may_beat_before_they_are_taken_over(store: SyncStore, valkey: Valkey) -> None:
    far = connect(valkey.settings, name="far", reporting=True)
    first, second = consumer(store, valkey, "first"), consumer(far, valkey, "second", lost_after=1.0)
    queue(store)
    first.take(1)
    time.sleep(1.1)  # longer than lost_after, by the store's clock

    for client in valkey.client.client_list():
        if client["name"] == "far":
            valkey.client.client_kill_filter(_id=client["id"])
    with pytest.raises(StoreUnavailable):
        second.flush()
    assert second.take(1) == []
    time.sleep(1.1)  # lost_after again
    assert len(second.take(1)) == 1
    far.close()


def test_what_is_held_is_told_to_the_heartbeat(store: SyncStore, valkey: Valkey) -> None:
    worker = consumer(store, valkey)
    queue(store)
    assert worker.held == ()
    (delivery,) = worker.take(5)
    assert worker.held == (("interactive", delivery.entry),)
    delivery.writer.add(Done())
    worker.flush()
    assert worker.held == ()
    assert store.xpending(QUEUE, GROUP)["pending"] == 0


def test_no_more_is_taken_than_there_is_room_for(store: SyncStore, valkey: Valkey) -> None:
    worker = consumer(store, valkey)
    for _ in range(5):
        queue(store)
    assert worker.take(0) == []
    assert len(worker.take(2)) == 2
    assert len(worker.take(2)) == 2
    assert store.xpending(QUEUE, GROUP)["pending"] == 4


def test_a_request_handed_out_again_while_it_runs_here_is_not_taken_twice(store: SyncStore, valkey: Valkey) -> None:
    worker = consumer(store, valkey)
    request = queue(store)
    (delivery,) = worker.take(1)
    store.xgroup_setid(QUEUE, GROUP, "0")  # the store forgot that it had given it to us
    assert worker.take(1) == []
    delivery.writer.add(Token(choice=0, token_id=1, text="a"), Done())
    assert worker.flush().lost == ()
    assert tokens(store, request) == [1]
    assert store.xlen(QUEUE) == 0


def test_after_the_store_was_away_what_it_lost_is_written_again(
    store: SyncStore, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored: list[int] = []
    worker = Consumer(store, valkey.settings, "fake", "w", 10.0, on_restored=restored.append)
    worker.open()
    kept, gone, forgotten = queue(store), queue(store), queue(store)
    deliveries = worker.take(3)
    for number in range(3):
        for delivery in deliveries:
            delivery.writer.add(Token(choice=0, token_id=number, text="a"))
        worker.flush()
    key = Keys().events(kept.id)
    entries = store.xrange(key)

    def away() -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(worker, "_publish", away)
        with pytest.raises(StoreUnavailable):
            worker.flush()
    store.delete(key, Keys().events(gone.id), Keys().events(forgotten.id))
    store.xdel(QUEUE, deliveries[2].entry)
    for entry, fields in entries[:2]:
        store.xadd(key, fields, entry)
    deliveries[0].writer.add(Token(choice=0, token_id=3, text="a"))
    assert worker.flush().lost == (forgotten.id,)
    assert restored == [2 + 3]
    assert tokens(store, gone) == [0, 1, 2]
    assert tokens(store, kept) == [0, 1, 2, 3]
    assert store.xrange(key)[:4] == entries


def test_a_request_whose_earlier_events_cannot_be_read_fails_and_harms_nobody(store: SyncStore, valkey: Valkey) -> None:
    worker = consumer(store, valkey)
    torn, neighbour = queue(store), queue(store)
    store.xadd(Keys().events(torn.id), {"events": b"\x91\x82\xa4type\xa9future.v9"}, "1-1")
    assert [delivery.request.id for delivery in worker.take(5)] == [neighbour.id]
    worker.flush()
    (*_, (_, fields)) = store.xrange(Keys().events(torn.id))
    (end,) = protocol.entry_decoder.decode(fields[b"events"])
    assert isinstance(end, Failed)
    assert store.xlen(QUEUE) == 1

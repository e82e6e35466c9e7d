import time
from collections.abc import Iterator

import pytest

from service.broker.connection import SyncStore, connect
from service.broker.keys import GROUP, PRIORITIES, RETURNED, Keys
from service.broker.worker import priority_queue
from service.broker.worker.priority_queue import PriorityQueue, keep, wait_for_any
from tests.conftest import Valkey

LANE = "interactive"
KEY = Keys().queue("m", LANE)


@pytest.fixture
def store(valkey: Valkey) -> Iterator[SyncStore]:
    connection = connect(valkey.settings)
    yield connection
    connection.close()


def lane(store: SyncStore, valkey: Valkey, worker: str, name: str = LANE) -> PriorityQueue:
    made = PriorityQueue(store, Keys(), valkey.settings, "m", name, worker)  # type: ignore[arg-type]
    made.ensure_group()
    return made


def queued(store: SyncStore, fields: dict[str, object]) -> bytes:
    entry: bytes = store.xadd(KEY, fields)  # type: ignore[arg-type, assignment]
    store.zadd(Keys().waiting("m", LANE), {entry: 0})
    return entry


def deliveries(store: SyncStore) -> dict[bytes, int]:
    return {held["message_id"]: held["times_delivered"] for held in store.xpending_range(KEY, GROUP, "-", "+", 100)}


def owners(store: SyncStore) -> dict[bytes, bytes]:
    return {held["message_id"]: held["consumer"] for held in store.xpending_range(KEY, GROUP, "-", "+", 100)}


def test_deliveries_are_counted_alike_by_whatever_read_gave_them(store: SyncStore, valkey: Valkey) -> None:
    worker, other = lane(store, valkey, "worker"), lane(store, valkey, "other")
    waited_for = queued(store, {"request": b"r"})
    assert [entry for _, entry, _ in wait_for_any(store, [worker], 1)] == [waited_for]
    unplaced: bytes = store.xadd(KEY, {"request": b"s"})  # type: ignore[assignment]  # no admission wrote its turn
    taken = queued(store, {"request": b"t"})
    assert [entry for entry, _ in worker.read(2)] == [unplaced, taken]
    assert deliveries(store) == {waited_for: 1, unplaced: 1, taken: 1}
    time.sleep(0.02)
    assert len(other.claim(0.01, 3)) == 3
    assert deliveries(store) == {waited_for: 2, unplaced: 2, taken: 2}


def test_a_worker_that_slept_does_not_steal_back_what_was_taken_over(store: SyncStore, valkey: Valkey) -> None:
    sleeper, other = lane(store, valkey, "sleeper"), lane(store, valkey, "other")
    entry, kept = queued(store, {"request": b"r"}), queued(store, {"request": b"s"})
    sleeper.read(2)
    time.sleep(0.02)
    assert [found for found, _ in other.claim(0.01, 1)] == [entry]
    assert keep(store, KEY, "sleeper", "sleeper", 0, [entry, kept]) == [kept]
    sleeper.give_back([entry])
    assert owners(store) == {entry: b"other", kept: b"sleeper"}


def test_what_is_refreshed_is_not_claimed(store: SyncStore, valkey: Valkey) -> None:
    holder, other = lane(store, valkey, "holder"), lane(store, valkey, "other")
    entry = queued(store, {"request": b"r"})
    holder.read(1)
    for _ in range(5):
        time.sleep(0.2)
        keep(store, KEY, "holder", "holder", 0, [entry])
        assert other.claim(0.9, 10) == []
    time.sleep(0.95)  # longer than the 0.9 s of the claim, by the store's clock
    assert [found for found, _ in other.claim(0.9, 10)] == [entry]


def test_what_is_handed_back_is_claimed_at_once(store: SyncStore, valkey: Valkey) -> None:
    holder, other = lane(store, valkey, "holder"), lane(store, valkey, "other")
    entry = queued(store, {"request": b"r"})
    holder.read(1)
    holder.give_back([entry])
    assert owners(store) == {entry: RETURNED.encode()}
    assert [found for found, _ in other.claim(3600, 10)] == [entry]


def test_bytes_are_given_back_once(store: SyncStore, valkey: Valkey) -> None:
    first, second = lane(store, valkey, "first"), lane(store, valkey, "second")
    entries = [queued(store, {"request": b"r", "cost": 100}) for _ in range(2)]
    store.set(Keys().load("m", LANE), 200)
    assert first.settle(entries[0])
    assert not second.settle(entries[0])
    assert store.get(Keys().load("m", LANE)) == b"100"
    assert second.settle(entries[1])
    assert store.get(Keys().load("m", LANE)) is None


def test_leaving_never_drops_what_is_held(store: SyncStore, valkey: Valkey) -> None:
    holder = lane(store, valkey, "holder")
    entry = queued(store, {"request": b"r"})
    holder.read(1)
    holder.leave()
    assert owners(store) == {entry: b"holder"}
    holder.settle(entry)
    holder.leave()
    assert store.xinfo_consumers(KEY, GROUP) == []


def test_silent_consumers_are_swept_unless_they_hold_something(store: SyncStore, valkey: Valkey) -> None:
    holder = lane(store, valkey, "holder")
    queued(store, {"request": b"r"})
    holder.read(1)
    lane(store, valkey, "dead")
    store.xgroup_createconsumer(KEY, GROUP, "dead")
    time.sleep(0.02)
    assert holder.sweep(3600) == 0
    assert holder.sweep(0.01) == 1
    assert [consumer["name"] for consumer in store.xinfo_consumers(KEY, GROUP)] == [b"holder"]


def test_waiting_ends_with_the_first_entry_of_any_lane(store: SyncStore, valkey: Valkey) -> None:
    both = [lane(store, valkey, "w", name) for name in PRIORITIES]
    begun = time.monotonic()
    assert list(wait_for_any(store, both, 0.05)) == []
    assert time.monotonic() - begun >= 0.05
    store.xadd(Keys().queue("m", "batch"), {"request": b"r"})
    ((found, _, fields),) = wait_for_any(store, both, 5)
    assert (found.name, fields) == ("batch", {b"request": b"r"})


def test_a_lane_that_was_flushed_comes_back(store: SyncStore, valkey: Valkey) -> None:
    worker = lane(store, valkey, "w")
    store.flushall()
    assert worker.read(1) == []
    queued(store, {"request": b"r"})
    assert len(worker.read(1)) == 1
    store.flushall()
    assert worker.claim(1, 1) == []


def test_answers_of_redis_6_and_7_read_the_same(valkey: Valkey) -> None:
    class Answers:
        """XAUTOCLAIM's answers as the driver gives them: two items with nils, or three."""

        def __init__(self, answer: list) -> None:
            self.answer = answer

        def xautoclaim(self, *args: object, **options: object) -> list:
            return self.answer

    entry = (b"1-1", {b"request": b"r"})
    for answer in ([b"0-0", [(None, None), entry]], [b"0-0", [entry], [b"0-9"]]):
        old = priority_queue.PriorityQueue(Answers(answer), Keys(), valkey.settings, "m", LANE, "w")  # type: ignore[arg-type]
        assert old.claim(1, 10) == [entry]

from collections.abc import Iterator

import pytest

from service.broker import protocol
from service.broker.connection import SyncStore, connect
from service.broker.errors import RequestLost
from service.broker.event_log import KEPT, EventWriter, events_of, last_id
from service.broker.protocol import Done, Failed, Fence, Released, Token
from tests.conftest import Valkey

KEY = "pandagpt:events:{r}"


@pytest.fixture
def store(valkey: Valkey) -> Iterator[SyncStore]:
    connection = connect(valkey.settings)
    yield connection
    connection.close()


def token(number: int) -> Token:
    return Token(choice=0, token_id=number, text=f" {number}")


def begin(store: SyncStore, worker: str = "w") -> EventWriter:
    writer, _ = EventWriter.begin(store, KEY, worker, 60)
    assert writer is not None
    return writer


def test_a_later_attempt_shuts_out_the_earlier_one(store: SyncStore) -> None:
    first = begin(store, "w1")
    first.add(token(1))
    first.send(store)
    second, history = EventWriter.begin(store, KEY, "w2", 60)
    assert second is not None
    assert [type(event) for event in history.events] == [Fence, Token, Fence]
    assert history.losses == 1
    first.add(token(2))
    with pytest.raises(Exception, match="equal or smaller"):
        first.send(store)
    with pytest.raises(RequestLost):
        first.resolve(last_id(store, KEY))
    second.add(token(2), Done())
    second.send(store)
    assert [event for event in events_of(store.xrange(KEY)) if isinstance(event, Token)] == [token(1), token(2)]


def test_an_attempt_that_was_handed_back_is_no_loss(store: SyncStore) -> None:
    first = begin(store)
    first.add(Released())
    first.send(store)
    assert EventWriter.begin(store, KEY, "w2", 60)[1].losses == 0
    assert EventWriter.begin(store, KEY, "w3", 60)[1].losses == 1


def test_nobody_begins_after_an_end(store: SyncStore) -> None:
    first = begin(store)
    first.add(Failed(code="internal_error", message="m"))
    first.send(store)
    writer, history = EventWriter.begin(store, KEY, "w2", 60)
    assert writer is None
    assert history.end == Failed(code="internal_error", message="m")


def test_of_two_that_begin_at_once_one_wins(store: SyncStore) -> None:
    class Late:
        """A store in which somebody else begins between our look and our fence."""

        def __init__(self) -> None:
            self.hurried = False

        def xrevrange(self, *args: object, **options: object) -> object:
            return store.xrevrange(*args, **options)

        def pipeline(self, transaction: bool) -> object:
            if not self.hurried:
                self.hurried = True
                begin(store, "quicker")
            return store.pipeline(transaction=transaction)

    with pytest.raises(RequestLost):
        EventWriter.begin(Late(), KEY, "slower", 60)  # type: ignore[arg-type]


def test_an_entry_that_arrived_unnoticed_is_not_sent_twice(store: SyncStore) -> None:
    writer = begin(store)
    writer.add(token(1))
    store.pipeline(transaction=False).execute_command(*writer.command).execute()  # the answer is lost
    writer.add(token(2))
    writer.resolve(last_id(store, KEY))
    writer.send(store)
    assert [event for event in events_of(store.xrange(KEY)) if isinstance(event, Token)] == [token(1), token(2)]


def test_an_entry_that_did_not_arrive_is_sent_again_and_in_order(store: SyncStore) -> None:
    writer = begin(store)
    writer.add(token(1))
    unsent = writer.command
    writer.add(token(2))
    writer.resolve(last_id(store, KEY))
    assert writer.command == unsent
    writer.send(store)
    assert not writer.idle
    writer.send(store)
    assert writer.idle
    assert [event for event in events_of(store.xrange(KEY)) if isinstance(event, Token)] == [token(1), token(2)]


def test_events_of_one_step_are_one_entry(store: SyncStore) -> None:
    writer = begin(store)
    writer.add(token(1), token(2))
    writer.add(Done())
    writer.send(store)
    _, (entry_id, fields) = store.xrange(KEY)
    assert entry_id == b"1-1"
    assert protocol.entry_decoder.decode(fields[b"events"]) == [token(1), token(2), Done()]
    assert 0 < store.ttl(KEY) <= 60


def test_a_stream_that_is_gone_is_not_made_anew(store: SyncStore) -> None:
    writer = begin(store)
    store.delete(KEY)
    writer.add(token(1))
    assert store.pipeline(transaction=False).execute_command(*writer.command).execute() == [None]
    assert not store.exists(KEY)


def test_a_second_end_is_a_mistake_of_ours(store: SyncStore) -> None:
    writer = begin(store)
    writer.add(Done())
    with pytest.raises(AssertionError, match="one end"):
        writer.add(Done())


def written(store: SyncStore, count: int) -> EventWriter:
    writer = begin(store)
    for number in range(1, count + 1):
        writer.add(token(number))
        writer.send(store)
    return writer


def keep_first(store: SyncStore, entries: int) -> None:
    """The stream as a store has it that was killed or failed over, and is back as it was a second earlier."""
    kept = store.xrange(KEY, count=entries)
    store.delete(KEY)
    for entry, fields in kept:
        store.xadd(KEY, fields, entry)


def token_ids(store: SyncStore) -> list[int]:
    return [event.token_id for event in events_of(store.xrange(KEY)) if isinstance(event, Token)]


def test_what_the_store_lost_is_written_again(store: SyncStore) -> None:
    writer = written(store, 5)
    keep_first(store, 4)  # the fence among them
    writer.add(token(6))
    assert writer.mend(store) == 2
    writer.send(store)
    assert token_ids(store) == [1, 2, 3, 4, 5, 6]
    assert writer.mend(store) == 0


def test_a_stream_that_is_gone_is_written_again_while_its_request_is_queued(store: SyncStore) -> None:
    writer = written(store, 3)
    store.delete(KEY)
    with pytest.raises(RequestLost):
        writer.mend(store)
    assert writer.mend(store, lambda: True) == 3
    assert token_ids(store) == [1, 2, 3]
    assert store.ttl(KEY) > 0
    assert EventWriter.begin(store, KEY, "w2", 60)[1].losses == 1  # the fence is there again


def test_of_a_stream_that_is_gone_another_may_be_the_first_to_begin(store: SyncStore) -> None:
    writer = written(store, 3)
    store.delete(KEY)

    def another() -> bool:
        begin(store, "another")
        return True

    with pytest.raises(RequestLost):
        writer.mend(store, another)
    assert token_ids(store) == []


def test_a_stream_that_another_began_as_the_same_attempt_is_left_alone(store: SyncStore) -> None:
    writer = written(store, 3)
    store.delete(KEY)
    begin(store, "another")
    with pytest.raises(RequestLost):
        writer.mend(store, lambda: True)
    assert token_ids(store) == []


def test_a_stream_that_lost_too_much_or_is_anothers_is_given_up(store: SyncStore) -> None:
    writer = written(store, KEPT + 2)
    keep_first(store, 3)
    assert writer.mend(store) == KEPT
    keep_first(store, 2)
    with pytest.raises(RequestLost):
        writer.mend(store)
    begin(store, "another")
    with pytest.raises(RequestLost):
        writer.mend(store)

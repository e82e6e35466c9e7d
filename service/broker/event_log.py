"""The writer of one attempt at a request: fenced, in order, no entry lost or twice.

An entry's id is `<attempt>-<n>`. The store takes an id only if it is larger than the last one, so the fence
`<attempt>-0` of a later attempt shuts out every earlier writer, and so does an end that a gateway wrote. An entry holds
all events of one step. It stays `_sent` until the store is known to have it; after a lost connection the stream's last
id shows whether it has. A store that was killed may come back without its last second: the latest entries are kept for
that, and written once more where they are missing (`mend`).
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from service.broker import protocol
from service.broker.connection import SyncStore, translated
from service.broker.errors import RequestLost
from service.broker.protocol import Done, End, Event, Failed, Fence, Released

KEPT = 1024  # entries; seconds of the fastest model


@dataclass(frozen=True, slots=True)
class EventHistory:
    """Events that earlier attempts at a request published."""

    events: tuple[Event, ...] = ()
    torn: bool = False  # some of it cannot be read, so that no worker can resume from it
    losses: int = 0  # earlier attempts that lost their worker: begun, not handed back, and not the one that reads this

    @property
    def end(self) -> End | None:
        return next((event for event in self.events if isinstance(event, Done | Failed)), None)


def parse_id(entry_id: bytes) -> tuple[int, int]:
    attempt, _, number = entry_id.partition(b"-")
    return int(attempt), int(number)


def last_id(store: SyncStore, key: str) -> tuple[int, int]:
    """The last entry's (attempt, n); (0, 0) for a stream that is empty."""
    entries: Any = store.xrevrange(key, count=1)
    return parse_id(entries[0][0]) if entries else (0, 0)


class EventWriter:
    """Events of one request by one attempt. Made by `begin`; `add` collects, a flush of the consumer sends."""

    def __init__(self, key: str, attempt: int, fence: bytes = b"", life: int = 0) -> None:
        self.key, self.attempt = key, attempt
        self._fence, self._life = fence, life
        self._next = 1
        self._sent: bytes | None = None
        self._waiting: list[Event] = []
        self.ended = False  # whether an end was added
        self.idle = True  # whether the store has all that was added
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=KEPT)

    @classmethod
    def begin(cls, store: SyncStore, key: str, worker: str, life: int) -> tuple["EventWriter | None", EventHistory]:
        """Fence off all earlier attempts, then read what they published. `life` is the stream's expiry in seconds.

        Without a writer where the request has ended. Raises RequestLost when another attempt was quicker, and the
        driver's errors.
        """
        attempt = last_id(store, key)[0] + 1
        pipe = store.pipeline(transaction=False)
        made = cls(key, attempt, protocol.encode([Fence(worker=worker, at=time.time())]), life)
        pipe.execute_command(*made._fence_command)
        pipe.expire(key, life)
        pipe.xrange(key)
        written, _, entries = pipe.execute(raise_on_error=False)
        refused = isinstance(written, ResponseError)
        if refused and translated(written) is not None:
            raise written
        history = _history(entries)
        if history.end is not None:
            return None, history
        if refused:
            raise RequestLost(key)
        return made, history

    def add(self, *events: Event) -> None:
        assert not self.ended, "a request has one end"
        self._waiting += events
        self.idle = not self._waiting
        self.ended = any(isinstance(event, Done | Failed) for event in events)

    @property
    def command(self) -> tuple[Any, ...]:
        """The XADD to send now: the unsure events if there are any, else all that wait. The stream must exist still."""
        if self._sent is None:
            self._sent = protocol.encode(self._waiting)
            self._waiting = []
        return self._entry(self._next, self._sent)

    def send(self, store: SyncStore) -> None:
        """Send what waits now, outside a flush."""
        pipe = store.pipeline(transaction=False)
        pipe.execute_command(*self.command)
        pipe.execute()
        self.confirm()

    def confirm(self) -> None:
        assert self._sent is not None, "only what was sent can be confirmed"
        self._kept.append((self._next, self._sent))
        self._sent = None
        self._next += 1
        self.idle = not self._waiting

    def mend(self, store: SyncStore, is_queued: Callable[[], bool] = lambda: False) -> int:
        """Write again what the store once had, and has no more: the latest entries, or, of a request that `is_queued`
        still, all of a stream that is gone. Returns how many.

        Raises RequestLost where the stream is another's, or ends so early that it is better continued by whoever reads
        what is left of it, and the driver's errors.
        """
        pipe = store.pipeline(transaction=False)
        pipe.xrevrange(self.key, count=1)
        pipe.xrange(self.key, f"{self.attempt}-0", f"{self.attempt}-0")
        newest, fence = pipe.execute()
        if not newest and self.attempt == 1 and is_queued():
            self._send_again(store, [self._fence_command])  # alone and first: another may have begun as attempt 1
            store.expire(self.key, self._life)
        elif not fence or fence[0][1].get(b"events") != self._fence:
            raise RequestLost(self.key)
        return self._send_again(store, self._missing(parse_id(newest[0][0]) if newest else (self.attempt, 0)))

    def _send_again(self, store: SyncStore, commands: Sequence[tuple[Any, ...]]) -> int:
        pipe = store.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        for answer in pipe.execute(raise_on_error=False):
            if answer is None or (isinstance(answer, ResponseError) and translated(answer) is None):
                raise RequestLost(self.key)
            if isinstance(answer, Exception):
                raise answer
        return len(commands)

    @property
    def _fence_command(self) -> tuple[Any, ...]:
        return ("XADD", self.key, f"{self.attempt}-0", "events", self._fence)

    def _missing(self, last: tuple[int, int]) -> list[tuple[Any, ...]]:
        written = self._next - 1
        if last[0] != self.attempt or last[1] < written - len(self._kept):
            raise RequestLost(self.key)
        return [self._entry(number, payload) for number, payload in self._kept if number > last[1]]

    def resolve(self, last: tuple[int, int]) -> None:
        """Settle what is unsure by the stream's last id. Raises RequestLost when another wrote after us."""
        if last[0] != self.attempt:
            raise RequestLost(self.key)
        if self._sent is not None and last[1] == self._next:
            self.confirm()

    def _entry(self, number: int, payload: bytes) -> tuple[Any, ...]:
        return ("XADD", self.key, "NOMKSTREAM", f"{self.attempt}-{number}", "events", payload)


def _history(entries: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> EventHistory:
    events: list[Event] = []
    torn = False
    for entry in entries:
        try:
            events += events_of([entry])
        except (*protocol.UNREADABLE, KeyError):
            torn = True
    fences = sum(isinstance(event, Fence) for event in events)
    losses = fences - 1 - sum(isinstance(event, Released) for event in events)
    return EventHistory(tuple(events), torn, losses)


def events_of(entries: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> tuple[Event, ...]:
    """The events of stream entries in order. Raises msgspec's errors for what no writer of ours wrote."""
    return tuple(event for _, fields in entries for event in protocol.entry_decoder.decode(fields[b"events"]))

"""The worker's side of the queue: take requests, publish their events, give them back. Synchronous, one thread.

A turn of a worker: `take` what there is room for, add events to the deliveries' writers, `flush`. An entry stays
pending in the queue's group while the worker lives (`heartbeat.py` refreshes it) and is settled only after its end
stands in the event stream. A crash between the two leaves an entry whose next taker finds the end and just settles.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from pandagpt_core.types import Priority
from service.broker.connection import STORE_ERRORS, SyncStore, raise_translated, store_errors, translated
from service.broker.errors import RequestLost, StoreUnavailable
from service.broker.event_log import EventWriter, last_id
from service.broker.keys import PRIORITIES, Keys
from service.broker.protocol import End, Failed, Released
from service.broker.worker import priority_queue
from service.broker.worker.delivery import Delivery, Undecodable, end_at_arrival, read_entry
from service.broker.worker.priority_queue import PriorityQueue, TakenEntry
from service.settings import StoreSettings

log = logging.getLogger(__name__)
GONE_FOR = 3600.0  # seconds of silence after which a consumer that holds nothing is removed
CLAIM_EVERY_S = 0.25  # between looks for requests whose worker is gone; a hand-over waits this long at most


@dataclass(frozen=True, slots=True)
class Flushed:
    """Result of a flush: requests that are another's now, and ids that callers cancelled (ours or not)."""

    lost: tuple[str, ...] = ()
    cancelled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Exchanged:
    """The outcome of an exchange. `error`: the store failed after as much."""

    flushed: Flushed
    taken: Sequence[Delivery] = ()
    error: StoreUnavailable | None = None


class Consumer:
    """One worker's hold on the queue of one model. `worker` is its unique name.

    `on_ended` gets the end of each request that is ended as it arrives and never run, `on_restored` the number of
    entries that the store had lost and that were written again.
    """

    def __init__(
        self,
        store: SyncStore,
        settings: StoreSettings,
        model: str,
        worker: str,
        lost_after: float,
        on_ended: Callable[[End], None] = lambda _: None,
        on_restored: Callable[[int], None] = lambda _: None,
        claim_every_s: float = CLAIM_EVERY_S,
    ) -> None:
        self._store, self._settings = store, settings
        self._keys = Keys(settings.namespace)
        self._model, self._worker = model, worker
        self._lost_after, self._on_ended, self._on_restored = lost_after, on_ended, on_restored
        self._queues = [PriorityQueue(store, self._keys, settings, model, priority, worker) for priority in PRIORITIES]
        self._open: dict[str, Delivery] = {}
        self._leaving: set[str] = set()  # the open ones that are handed back
        self._cancels, self._last_cancel = self._keys.cancels(model), b"0-0"
        self._next_claim, self._claim_every_s = 0.0, claim_every_s
        self._next_look, self._look_until = 0.0, 0.0
        self._was_away = False
        self._torn: list[str] = []  # requests that could not be mended and no flush has named yet
        self.held: tuple[tuple[Priority, bytes], ...] = ()  # replaced whole: the heartbeat's thread reads it

    def open(self) -> None:
        """Make the groups and start following cancellations. Call once before the first `take`."""
        with store_errors():
            for queue in self._queues:
                queue.ensure_group()
                queue.sweep(GONE_FOR)
            newest: Any = self._store.xrevrange(self._cancels, count=1)
        self._last_cancel = newest[0][0] if newest else b"0-0"

    def exchange(self, room: int, wait: float) -> Exchanged:
        """`flush`, then `take`. A failure of the store comes with all that was done before it."""
        flushed = Flushed()
        try:
            flushed = self.flush()
            return Exchanged(flushed, self.take(room, wait))
        except StoreUnavailable as error:
            return Exchanged(flushed, error=error)

    def take(self, room: int, wait: float = 0.0) -> list[Delivery]:
        """At most about `room` requests to run: taken over ones first, then interactive, then batch ones.

        Waits up to `wait` seconds for the first new one. Requests that are not to be run (expired, cancelled, given
        up, undecodable) are ended here and not returned. Raises StoreUnavailable.
        """
        if room <= 0:
            return []
        taken: list[Delivery] = []
        try:
            for found in self._unanswered(room):
                taken += self._arrive(*found)
            for found in self._claimed(room - len(taken)):
                taken += self._arrive(*found)
            left = room - len(taken)
            fresh: Iterable[TakenEntry] = priority_queue.take(self._store, self._queues, left) if left > 0 else []
            if left > 0 and wait > 0 and not fresh:
                fresh = priority_queue.wait_for_any(self._store, self._queues, wait)
            for found in fresh:
                taken += self._arrive(*found)
        except STORE_ERRORS as error:
            self._was_away = True
            self._look_until = time.monotonic() + self._lost_after  # then a claim finds what the answer lost
            if not taken:  # the taken requests are open and must be run
                raise_translated(error)
        finally:
            if len(self.held) < len(self._open):
                self._note_held()
        return taken

    def flush(self) -> Flushed:
        """Publish what the writers collected, in one round trip, and settle requests that ended.

        On StoreUnavailable nothing is lost: the same entries go out with the next flush.
        """
        try:
            if self._was_away:
                self._torn += self._mend()
            self._was_away = False  # a failure from here on sets it again
            lost, cancelled = self._publish()
            for name in lost:
                del self._open[name]
            if any(delivery.writer.ended and delivery.writer.idle for delivery in self._open.values()):
                self._settle_ended()
            if self._leaving:
                self._give_back()
        except STORE_ERRORS as error:
            self._was_away = True
            self._next_claim = time.monotonic() + self._lost_after  # others were cut off as well; let them beat first
            raise_translated(error)
        finally:
            if len(self.held) > len(self._open):
                self._note_held()
        torn, self._torn = self._torn, []
        return Flushed((*torn, *lost), cancelled)

    def hand_back(self, names: Collection[str], as_lost: bool = False) -> None:
        """Give unfinished requests to the worker that claims them first; a loss only if they may be to blame.

        Where the store fails, the next flush goes on with it.
        """
        fresh = (self._open.keys() & set(names)) - self._leaving
        for name in () if as_lost else fresh:
            self._open[name].writer.add(Released())
        self._leaving |= fresh
        self.flush()

    def close(self) -> None:
        """Leave the groups, where nothing of ours is pending (dropping a consumer drops what it holds)."""
        with store_errors():
            for queue in self._queues:
                queue.leave()

    @property
    def unfinished(self) -> int:
        return len(self._open)

    # Taking

    def _unanswered(self, room: int) -> Iterator[TakenEntry]:
        """Entries that the store gave to this worker by an answer that was lost, or gives late: nobody waits for its
        silence."""
        now = time.monotonic()
        if now >= self._look_until or now < self._next_look:
            return
        self._next_look = now + self._claim_every_s
        ours = {delivery.entry for delivery in self._open.values()}
        for queue in self._queues:
            for entry, fields in queue.unheld(ours, room) if room > 0 else ():
                room -= 1
                yield queue, entry, fields

    def _claimed(self, room: int) -> Iterator[TakenEntry]:
        now = time.monotonic()
        if now < self._next_claim:
            return
        self._next_claim = now + self._claim_every_s
        ours = {delivery.entry for delivery in self._open.values()}
        for queue in self._queues:
            for entry, fields in queue.claim(self._lost_after, room) if room > 0 else ():
                if entry not in ours:  # our own, after the store was away; claiming it has refreshed it
                    room -= 1
                    yield queue, entry, fields

    def _arrive(self, queue: PriorityQueue, entry: bytes, fields: dict[bytes, bytes]) -> list[Delivery]:
        """The delivery to run, if the entry is one. The last command that may fail comes before it counts as open."""
        try:
            request = read_entry(fields, self._model)
        except Undecodable as error:
            self._bury(queue, entry, error)
            return []
        if request.id in self._open:  # the store forgot that it is ours already, or has it twice
            return []
        life = max(request.deadline - time.time(), 0.0) + self._settings.request_ttl_s
        events, record = self._keys.events(request.id), self._keys.record(request.id)
        try:
            writer, history = EventWriter.begin(self._store, events, self._worker, round(life))
        except RequestLost:
            return []
        if writer is None:
            queue.settle(entry)
            return []
        cancelled = bool(self._store.hexists(record, "cancelled"))
        self._open[request.id] = delivery = Delivery(request, queue.name, entry, writer, history)
        end = end_at_arrival(request, history, cancelled, self._settings.max_deliveries)
        if end is None:
            return [delivery]
        writer.add(end)
        self._on_ended(end)
        return []

    def _bury(self, queue: PriorityQueue, entry: bytes, error: Undecodable) -> None:
        log.warning("a queue entry cannot be read", extra={"reason": str(error), "queue": queue.name})
        if error.request_id is not None:
            self._fail_unread(error.request_id)
        queue.settle(entry, reason=str(error))

    def _fail_unread(self, request_id: str) -> None:
        life = round(self._settings.request_ttl_s)
        try:
            writer, _ = EventWriter.begin(self._store, self._keys.events(request_id), self._worker, life)
        except RequestLost:
            return
        if writer is not None:
            message = "the worker could not read the request"
            writer.add(Failed(code="internal_error", message=message, at=time.time()))
            writer.send(self._store)

    # Publishing

    def _mend(self) -> list[str]:
        """The store was away, and may be back as it was a second earlier: write again what it lost of our streams.

        Requests that cannot be mended are another's now, or will be.
        """
        torn, restored = [], 0
        for name, delivery in self._open.items():
            try:
                restored += delivery.writer.mend(self._store, partial(self._is_queued, delivery))
            except RequestLost:
                torn.append(name)
        for name in torn:
            del self._open[name]
        if restored:
            log.warning("the store had lost entries, which are written again", extra={"count": restored})
            self._on_restored(restored)
        return torn

    def _is_queued(self, delivery: Delivery) -> bool:
        return bool(self._store.xrange(self._queue(delivery.priority).key, delivery.entry, delivery.entry))

    def _publish(self) -> tuple[list[str], frozenset[str]]:
        busy = {name: delivery.writer for name, delivery in self._open.items() if not delivery.writer.idle}
        pipe = self._store.pipeline(transaction=False)
        pipe.xrange(self._cancels, min=b"(" + self._last_cancel, count=1000)
        for writer in busy.values():
            pipe.execute_command(*writer.command)
        cancels, *written = pipe.execute(raise_on_error=False)
        if isinstance(cancels, Exception):
            raise cancels
        if cancels:
            self._last_cancel = cancels[-1][0]
        lost = []
        for (name, writer), answer in zip(busy.items(), written, strict=True):
            if isinstance(answer, bytes):
                writer.confirm()
            elif self._is_lost(writer, answer):
                lost.append(name)
        return lost, frozenset(fields[b"id"].decode() for _, fields in cancels)

    def _is_lost(self, writer: EventWriter, answer: Any) -> bool:
        """Of an entry that the store did not take. Raises what is a failure of the store."""
        if answer is None:  # the stream is gone: no reader can have this answer any more
            return True
        if translated(answer) is not None:  # no memory, for one; the entry goes out with the next flush
            self._was_away = True
            log.warning("the store did not take an entry", extra={"error": type(answer).__name__})
            return False
        if not isinstance(answer, ResponseError):
            raise answer
        # Refused. It may be our own entry that had arrived although the connection broke.
        try:
            writer.resolve(last_id(self._store, writer.key))
        except RequestLost:
            return True
        return False

    def _settle_ended(self) -> None:
        for name, delivery in list(self._open.items()):
            if delivery.writer.ended and delivery.writer.idle:
                reason = "worker_lost" if delivery.history.losses >= self._settings.max_deliveries else ""
                self._queue(delivery.priority).settle(delivery.entry, reason)
                del self._open[name]

    def _give_back(self) -> None:
        self._leaving &= self._open.keys()
        gone = [self._open[name] for name in self._leaving if self._open[name].writer.idle]
        for queue in self._queues:
            queue.give_back([delivery.entry for delivery in gone if delivery.priority == queue.name])
        for delivery in gone:
            del self._open[delivery.request.id]

    def _queue(self, name: Priority) -> PriorityQueue:
        return self._queues[PRIORITIES.index(name)]

    def _note_held(self) -> None:
        self.held = tuple((delivery.priority, delivery.entry) for delivery in self._open.values())

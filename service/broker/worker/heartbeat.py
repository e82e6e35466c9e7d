"""A worker's signs of life, on a thread and a connection of their own: a step of minutes must not look like death.

Each beat announces the worker and refreshes the entries it holds. When the worker's loop itself has not turned for
`stall_s` seconds the refreshing stops, so that a hung worker loses its requests as a dead one does, and it is announced
as one that takes no more.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

from pandagpt_core.types import Priority
from service.broker import protocol, scripts
from service.broker.connection import SyncStore, store_errors
from service.broker.errors import StoreUnavailable
from service.broker.keys import KNOWN_LIFE, PRIORITIES, QUEUE_LIFE, Keys
from service.broker.protocol import Announcement
from service.broker.worker import priority_queue

log = logging.getLogger(__name__)
STALL_S = 300.0
HeldEntries = Callable[[], Sequence[tuple[Priority, bytes]]]


class Heartbeat:
    """Beats every `interval` seconds from `start` to `stop`; the announcement is good for `lost_after`."""

    def __init__(
        self,
        store: SyncStore,
        keys: Keys,
        announcement: Announcement,
        held: HeldEntries,
        interval: float,
        lost_after: float,
        stall_s: float = STALL_S,
    ) -> None:
        self._store, self._keys = store, keys
        self._announcement = announcement
        self._held = held
        self._interval, self._lost_after, self._stall_s = interval, lost_after, stall_s
        self.turned_at = time.monotonic()  # time of the loop's last turn; the loop writes it
        self._wake = threading.Event()
        self._stopping = False
        self._draining = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Announce the worker, then keep on. Raises StoreUnavailable if the first beat fails."""
        self._beat()
        self._thread.start()

    @property
    def silent_s(self) -> float:
        """Seconds since the loop last went round."""
        return time.monotonic() - self.turned_at

    def drain(self) -> None:
        """Announce that this worker takes no more requests, at once and from now on. Once is enough, more is fine."""
        if not self._draining:
            self._draining = True
            self._wake.set()

    def stop(self) -> None:
        """Stop and take the announcement back, best effort."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=5.0)
        try:
            self._announce("gone")
        except StoreUnavailable:
            log.info("the announcement could not be taken back; it expires by itself")

    def _run(self) -> None:
        while True:
            self._wake.wait(self._interval)
            self._wake.clear()
            if self._stopping:
                return
            try:
                self._beat()
            except StoreUnavailable as error:
                log.warning("a heartbeat did not reach the store", extra={"error": error.code})

    def _beat(self) -> None:
        hangs = self.silent_s > self._stall_s
        self._announce("draining" if self._draining or hangs else "ready")
        if hangs:
            log.error("the worker's loop stands still; its requests are left to others", extra={"limit": self._stall_s})
            return
        held = self._held()
        worker = self._announcement.worker
        with store_errors():
            for priority in PRIORITIES:
                key = self._keys.queue(self._announcement.model.id, priority)
                priority_queue.keep(
                    self._store, key, worker, worker, 0, [entry for name, entry in held if name == priority]
                )

    def _announce(self, state: Literal["ready", "draining", "gone"]) -> None:
        model, worker = self._announcement.model.id, self._announcement.worker
        keys = self._keys
        names = (keys.ready(model), keys.draining(model), keys.workers(model), keys.known(model))
        ttl = round(self._lost_after * 1000)
        payload = protocol.encode(self._announcement)
        with store_errors():
            now = self._store.eval(scripts.ANNOUNCE, 4, *names, worker, state, payload, ttl, QUEUE_LIFE, KNOWN_LIFE)
            if state != "gone":
                self._store.zadd(self._keys.models, {model: int(now) + ttl})
                self._store.expire(self._keys.models, QUEUE_LIFE)

"""A worker without a model: every request gets a token at its own time, whose text is the time it was made.

It speaks the queue's whole protocol (fences, heartbeats, cancellations), so that the gateway works as always, but runs
nothing else: the gateway alone is measured. The rate is a key of the store, so that it can change while the streams are
open.

    python -m benchmarks.streams.worker STORE-URL
"""

import signal
import sys
import time

from service.broker.connection import connect
from service.broker.keys import Keys
from service.broker.protocol import Announcement, Done, Started, Token
from service.broker.worker.consumer import Consumer
from service.broker.worker.delivery import Delivery
from service.broker.worker.heartbeat import Heartbeat
from service.settings import StoreSettings
from tests.fakes import FAKE_INFO

RATE_KEY, PUBLISH_KEY = "benchmark:rate", "benchmark:publish"
TURNS = 100  # a second; a stream's tokens fall into the same turn of each interval
LOST_AFTER_S = 60.0
CAPACITY = 8192


class PacedWorker:
    """`turn` publishes what is due; streams are spread evenly over the interval between their tokens."""

    def __init__(self, url: str) -> None:
        store = StoreSettings(url=url)
        self._store = connect(store)
        self._consumer = Consumer(self._store, store, FAKE_INFO.id, "paced", LOST_AFTER_S)
        announcement = Announcement(worker="paced", model=FAKE_INFO, capacity=CAPACITY)
        held = lambda: self._consumer.held  # noqa: E731  the heartbeat reads it anew each time
        self._heartbeat = Heartbeat(connect(store), Keys(), announcement, held, 1.0, LOST_AFTER_S)
        self._open: dict[str, Delivery] = {}
        self._due = 0.0  # tokens that are due and were not made, all streams together
        self._order: list[Delivery] = []
        self._at = 0

    def run(self) -> None:
        self._consumer.open()
        self._heartbeat.start()
        next_at, rate, turn = time.monotonic(), 1.0, 0
        while True:
            next_at = max(next_at + 1 / TURNS, time.monotonic() - 1.0)  # a second behind at most is made up for
            time.sleep(max(0.0, next_at - time.monotonic()))
            if turn % TURNS == 0:
                rate = float(self._store.get(RATE_KEY) or 1.0)
            turn += 1
            self.turn(rate)

    def turn(self, rate: float) -> None:
        if len(self._open) < CAPACITY:
            for delivery in self._consumer.take(64):
                self._open[delivery.request.id] = delivery
                self._order.append(delivery)
                delivery.writer.add(Started(prompt_tokens=1, at=time.time()))
        self._due += len(self._order) * rate / TURNS
        made = time.monotonic_ns()
        for _ in range(min(int(self._due), len(self._order))):
            self._at = (self._at + 1) % len(self._order)
            self._order[self._at].writer.add(Token(choice=0, token_id=1, text=f" {made}"))
        self._due %= 1
        flushed = self._consumer.flush()
        self._store.rpush(PUBLISH_KEY, time.monotonic_ns() - made)
        for name in flushed.cancelled | set(flushed.lost):
            delivery = self._open.pop(name, None)
            if delivery is not None:
                self._order.remove(delivery)
                if name in flushed.cancelled:
                    delivery.writer.add(Done(cancelled=True, at=time.time()))
        self._heartbeat.turned_at = time.monotonic()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    PacedWorker(sys.argv[1]).run()

"""The queues and the store as metrics, read from the store when someone scrapes: true without any worker.

Every process that has this shows the same figures, so a query takes `max by (model, priority)` of them.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from service.broker.connection import connect
from service.broker.errors import StoreUnavailable
from service.broker.keys import Keys
from service.broker.queue_stats import LaneStats, ModelStats, QueueStats, StoreStats
from service.settings import StoreSettings

log = logging.getLogger(__name__)
FRESH = 1.0  # seconds that an answer is good for: several scrapers cost the store no more than one
LIMIT = 2.0  # seconds that a command may take here: a scrape must not hang with the store


class QueueMetrics(Collector):
    """`collect` reads the store, from whichever thread scrapes."""

    def __init__(self, read: Callable[[], StoreStats], close: Callable[[], None] = lambda: None) -> None:
        self._read, self.close = read, close
        self._lock = threading.Lock()
        self._known: StoreStats | None = None
        self._until = 0.0

    @classmethod
    def connect(cls, settings: StoreSettings) -> "QueueMetrics":
        """On a connection of its own, made at the first scrape."""
        quick = min(LIMIT, settings.command_timeout_s)
        short = settings.model_copy(update={"command_timeout_s": quick, "connect_timeout_s": quick, "pool": 2})
        store = connect(short, name="metrics")
        return cls(QueueStats(store, Keys(settings.namespace)).read, store.close)

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering it reads no store."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        up = GaugeMetricFamily("pandagpt_store_up", "1 where the store answered this scrape, else 0")
        up.add_metric([], float(stats is not None))
        yield up
        if stats is not None:
            yield from _store(stats)
            yield from _lanes(stats.lanes)
            yield from _models(stats.models)

    def _stats(self) -> StoreStats | None:
        with self._lock:
            if time.monotonic() >= self._until:
                try:
                    self._known = self._read()
                except StoreUnavailable as error:
                    log.warning("the queue's metrics could not be read", extra={"error": error.code})
                    self._known = None
                self._until = time.monotonic() + FRESH
            return self._known


def _store(stats: StoreStats) -> Iterator[Metric]:
    for name, text, value in (
        ("memory_used_bytes", "Memory that the store uses", stats.memory_used),
        ("memory_limit_bytes", "Memory that the store may use (maxmemory); 0: no limit", stats.memory_limit),
        ("round_trip_seconds", "Time of one command at this scrape", stats.seconds),
        ("replicas", "Replicas that follow the store", stats.replicas),
        (
            "unreplicated_bytes",
            "Writes that no replica has acknowledged yet: what a failover now would lose; 0 without replicas",
            stats.unreplicated_bytes,
        ),
    ):
        yield GaugeMetricFamily(f"pandagpt_store_{name}", text, value=float(value))
    yield CounterMetricFamily(
        "pandagpt_store_evicted_keys",
        "Keys that the store dropped for want of memory: none may be, its policy is noeviction",
        value=float(stats.evicted_keys),
    )


_LANE_FIGURES: tuple[tuple[str, str, Callable[[LaneStats], float]], ...] = (
    ("queue_depth", "Requests that wait for a worker", lambda lane: lane.waiting),
    ("queue_oldest_age_seconds", "Age of the oldest request that waits; 0: none does", lambda lane: lane.oldest_s),
    ("queue_running", "Requests that workers hold", lambda lane: lane.running),
    ("queue_bytes", "Bytes of the unfinished requests, media included", lambda lane: lane.held_bytes),
)


def _lanes(lanes: tuple[LaneStats, ...]) -> Iterator[Metric]:
    for name, text, figure in _LANE_FIGURES:
        family = GaugeMetricFamily(f"pandagpt_{name}", text, labels=["model", "priority"])
        for lane in lanes:
            family.add_metric([lane.model, lane.priority], figure(lane))
        yield family


def _models(models: tuple[ModelStats, ...]) -> Iterator[Metric]:
    workers = GaugeMetricFamily(
        "pandagpt_workers", "Live workers: ready for requests, or draining", labels=["model", "state"]
    )
    versions = GaugeMetricFamily(
        "pandagpt_worker_versions", "Live workers by the version of their package", labels=["model", "version"]
    )
    dead = GaugeMetricFamily("pandagpt_dead_letters", "Given-up requests that are kept for a look", labels=["model"])
    ever = CounterMetricFamily("pandagpt_requests_given_up", "Requests ever given up", labels=["model"])
    for model in models:
        workers.add_metric([model.model, "ready"], model.ready)
        workers.add_metric([model.model, "draining"], model.draining)
        for version, count in model.versions.items():
            versions.add_metric([model.model, version], count)
        dead.add_metric([model.model], model.dead)
        ever.add_metric([model.model], model.dead_ever)
    yield from (workers, versions, dead, ever)

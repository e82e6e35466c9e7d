"""The engine's own figures as metrics: what it holds now, and what it has counted since the last look."""

from pandagpt_core.interface import EngineStats
from service.metrics import WorkerMetrics


class EngineFigures:
    """The engine counts from its start; a Prometheus counter takes differences."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._preemptions = self._queries = self._hits = self._evictions = 0

    def tell(self, stats: EngineStats) -> None:
        metrics, prefix = self._metrics, stats.prefix
        metrics.cache_used_ratio.set(stats.kv_blocks_used / max(1, stats.kv_blocks_total))
        metrics.prefix_used_ratio.set(prefix.blocks_used / max(1, prefix.blocks_total))
        metrics.engine_waiting.set(stats.waiting)
        metrics.preemptions.inc(stats.num_preemptions - self._preemptions)
        metrics.prefix_asked.inc(prefix.queries - self._queries)
        metrics.prefix_hits.inc(prefix.hits - self._hits)
        metrics.prefix_evictions.inc(prefix.evictions - self._evictions)
        self._preemptions, self._queries = stats.num_preemptions, prefix.queries
        self._hits, self._evictions = prefix.hits, prefix.evictions

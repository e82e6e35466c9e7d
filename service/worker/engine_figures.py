"""The engine's own figures as metrics: what it holds now, and what it has counted since the last look."""

from pandagpt_core.interface import EngineStats
from service.metrics import WorkerMetrics


class EngineFigures:
    """The engine counts from its start; a Prometheus counter takes differences."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._put_out = self._asked = self._hits = self._evicted = 0

    def tell(self, stats: EngineStats) -> None:
        metrics, prefix = self._metrics, stats.prefix
        metrics.cache_used_ratio.set(stats.kv_blocks_used / max(1, stats.kv_blocks_total))
        metrics.prefix_used_ratio.set(prefix.blocks_used / max(1, prefix.blocks_total))
        metrics.engine_waiting.set(stats.waiting)
        metrics.preemptions.inc(stats.put_out - self._put_out)
        metrics.prefix_asked.inc(prefix.asked - self._asked)
        metrics.prefix_hits.inc(prefix.hits - self._hits)
        metrics.prefix_evictions.inc(prefix.evicted - self._evicted)
        self._put_out, self._asked = stats.put_out, prefix.asked
        self._hits, self._evicted = prefix.hits, prefix.evicted

"""What the engine counts, as metrics: differences of counters, and what it holds now."""

from prometheus_client import CollectorRegistry

from service.metrics import WorkerMetrics
from service.worker.engine_figures import EngineFigures
from tests.fakes import FakePrefix, FakeStats


def test_counters_grow_by_what_came_since_the_last_look_and_gauges_say_now() -> None:
    registry = CollectorRegistry()
    figures = EngineFigures(WorkerMetrics.on(registry))
    for asked, hits, evicted, put_out in ((10, 4, 0, 0), (10, 4, 0, 0), (30, 12, 3, 2)):
        prefix = FakePrefix(asked, hits, evicted, blocks_used=6, blocks_total=8)
        figures.tell(FakeStats(16, kv_blocks_total=64, waiting=5, put_out=put_out, prefix=prefix))
    said = {
        "pandagpt_prefix_asked_tokens_total": 30,
        "pandagpt_prefix_hit_tokens_total": 12,
        "pandagpt_prefix_evictions_total": 3,
        "pandagpt_preemptions_total": 2,
        "pandagpt_cache_used_ratio": 0.25,
        "pandagpt_prefix_used_ratio": 0.75,
        "pandagpt_engine_waiting_sequences": 5,
    }
    assert {name: registry.get_sample_value(name) for name in said} == said


def test_an_engine_that_keeps_no_prefixes_has_none_in_use() -> None:
    registry = CollectorRegistry()
    EngineFigures(WorkerMetrics.on(registry)).tell(FakeStats(0, prefix=FakePrefix(blocks_total=0)))
    assert registry.get_sample_value("pandagpt_prefix_used_ratio") == 0

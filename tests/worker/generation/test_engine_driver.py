"""The engine's counts as metrics: differences of counters, and current values."""

from prometheus_client import CollectorRegistry

from pandagpt_core.interface import EngineStats, PrefixStats
from service.metrics import WorkerMetrics
from service.worker.generation.engine_driver import EngineFigures


def test_counters_grow_by_what_came_since_the_last_look_and_gauges_say_now() -> None:
    registry = CollectorRegistry()
    figures = EngineFigures(WorkerMetrics.on(registry))
    for asked, hits, evicted, put_out, drafted in ((10, 4, 0, 0, 4), (10, 4, 0, 0, 4), (30, 12, 3, 2, 8)):
        prefix = PrefixStats(asked, hits, blocks_used=6, blocks_total=8, evictions=evicted)
        figures.update(EngineStats(3, 5, 16, 64, put_out, prefix, drafted, drafted // 4))
    said = {
        "pandagpt_prefix_cache_queries_total": 30,
        "pandagpt_prefix_cache_hits_total": 12,
        "pandagpt_prefix_evictions_total": 3,
        "pandagpt_num_preemptions_total": 2,
        "pandagpt_spec_decode_num_draft_tokens_total": 8,
        "pandagpt_spec_decode_num_accepted_tokens_total": 2,
        "pandagpt_kv_cache_usage_perc": 0.25,
        "pandagpt_prefix_used_ratio": 0.75,
        "pandagpt_num_requests_waiting": 5,
    }
    assert {name: registry.get_sample_value(name) for name in said} == said


def test_an_engine_that_keeps_no_prefixes_has_none_in_use() -> None:
    registry = CollectorRegistry()
    EngineFigures(WorkerMetrics.on(registry)).update(EngineStats(0, 0, 0, 64, 0, PrefixStats(0, 0, 0, 0, 0)))
    assert registry.get_sample_value("pandagpt_prefix_used_ratio") == 0

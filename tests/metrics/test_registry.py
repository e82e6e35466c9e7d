"""Metrics: all on the given registry, named as Prometheus wants them."""

import dataclasses
import platform
import re
from importlib.metadata import version

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service.metrics import GatewayMetrics, WorkerMetrics
from service.metrics.process import DeviceMemory, DeviceMemoryCollector, register_process
from service.metrics.worker import Labelled


def test_both_halves_fit_on_one_registry_and_two_registries_share_nothing() -> None:
    one, other = CollectorRegistry(), CollectorRegistry()
    gateway, _ = GatewayMetrics.on(one), WorkerMetrics.on(one)
    GatewayMetrics.on(other)
    gateway.requests.labels(endpoint="/v1/models", status="200").inc()
    assert one.get_sample_value("pandagpt_http_requests_total", {"endpoint": "/v1/models", "status": "200"}) == 1
    assert b"/v1/models" not in generate_latest(other)


def test_the_same_half_twice_on_one_registry_is_refused() -> None:
    registry = CollectorRegistry()
    WorkerMetrics.on(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        WorkerMetrics.on(registry)


@pytest.mark.parametrize("half", [GatewayMetrics, WorkerMetrics])
def test_names_are_prefixed_and_every_metric_has_help(half: type[GatewayMetrics] | type[WorkerMetrics]) -> None:
    registry = CollectorRegistry()
    half.on(registry)
    families = list(registry.collect())
    assert len(families) == len(dataclasses.fields(half))
    for family in families:
        assert re.fullmatch(r"pandagpt_[a-z0-9_]+", family.name)
        assert family.documentation


def test_labels_of_a_whole_process_stand_on_every_sample_of_a_registry() -> None:
    inner, outer = CollectorRegistry(), CollectorRegistry()
    WorkerMetrics.on(inner).requests.labels("done").inc()
    outer.register(Labelled(inner, {"model": "m"}))
    assert outer.get_sample_value("pandagpt_worker_requests_total", {"model": "m", "outcome": "done"}) == 1
    assert all(sample.labels["model"] == "m" for family in outer.collect() for sample in family.samples)


def test_a_device_s_memory_is_read_at_each_scrape() -> None:
    registry, used = CollectorRegistry(), [5]
    registry.register(DeviceMemoryCollector(lambda: [DeviceMemory("0", 3, used[0], 10)]))
    labels = {"device": "0", "kind": "used"}
    assert registry.get_sample_value("pandagpt_gpu_memory_bytes", labels) == 5
    used[0] = 7
    assert registry.get_sample_value("pandagpt_gpu_memory_bytes", labels) == 7


def test_a_process_shows_its_build_and_its_memory() -> None:
    registry = CollectorRegistry()
    register_process(registry, "worker")
    labels = {"version": version("pandagpt"), "python": platform.python_version(), "component": "worker"}
    assert registry.get_sample_value("pandagpt_build_info", labels) == 1
    assert (registry.get_sample_value("process_resident_memory_bytes") or 0) > 1_000_000


def test_failures_of_every_known_code_begin_at_zero() -> None:
    registry = CollectorRegistry()
    GatewayMetrics.on(registry, ["worker_lost"])
    for phase in ("response", "stream"):
        labels = {"code": "worker_lost", "phase": phase}
        assert registry.get_sample_value("pandagpt_request_failures_total", labels) == 0

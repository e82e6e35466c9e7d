"""Metrics: all on the given registry, named as Prometheus wants them."""

import dataclasses
import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service.metrics import GatewayMetrics, WorkerMetrics


def test_both_halves_fit_on_one_registry_and_two_registries_share_nothing() -> None:
    one, other = CollectorRegistry(), CollectorRegistry()
    gateway, _ = GatewayMetrics.on(one), WorkerMetrics.on(one)
    GatewayMetrics.on(other)
    gateway.requests.labels(endpoint="/v1/models", status="200").inc()
    assert one.get_sample_value("pandagpt_requests_total", {"endpoint": "/v1/models", "status": "200"}) == 1
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
        assert re.fullmatch(r"pandagpt_[a-z_]+", family.name)
        assert family.documentation

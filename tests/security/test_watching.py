"""Deployment files against the code: each metric that an alert or a panel names exists, with the labels it asks by."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from service.broker.queue_metrics import QueueMetrics
from service.broker.queue_stats import LaneStats, ModelStats, StoreStats
from service.metrics import GatewayMetrics, WorkerMetrics
from service.metrics.process import DeviceMemory, DeviceMemoryCollector, register_process


def offered() -> dict[str, set[str]]:
    """Every series name that the service shows, with its labels."""
    gateway = _declared(GatewayMetrics.on(CollectorRegistry(), ["internal_error"]))
    worker = _declared(WorkerMetrics.on(CollectorRegistry()))
    return gateway | {name: labels | {"model"} for name, labels in worker.items()} | _collected()


def _declared(half: GatewayMetrics | WorkerMetrics) -> dict[str, set[str]]:
    return {
        f"{described.name}{suffix}": set(metric._labelnames)
        for metric in (getattr(half, field) for field in half.__dataclass_fields__)
        for described in metric.describe()
        for suffix in SUFFIXES.get(described.type, ("",))
    }


def _collected() -> dict[str, set[str]]:
    """Metrics that are read at each scrape: the store, the process, a GPU."""
    lane, model = LaneStats("m", "batch", 1, 1, 1.0, 1), ModelStats("m", 1, 1, 1, 1, {"1": 1})
    registry = CollectorRegistry()
    registry.register(QueueMetrics(lambda: StoreStats(0.0, 1, 1, 0, 0, 0, (lane,), (model,))))
    registry.register(DeviceMemoryCollector(lambda: [DeviceMemory("0", 1, 2, 3)]))
    register_process(registry, "worker")
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {sample.name: set(sample.labels) for sample in samples if sample.name.startswith("pandagpt_")}


SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}


def expressions(root: Path) -> list[str]:
    rules = yaml.safe_load((root / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
    board = json.loads((root / "deploy/grafana/dashboard.json").read_text(encoding="utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    alerts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return alerts + [target["expr"] for panel in panels for target in panel["targets"]]


def test_every_metric_named_by_alerts_and_dashboard_exists(root: Path) -> None:
    names = offered()
    used = {name for text in expressions(root) for name in re.findall(r"pandagpt_[a-z0-9_]+", text)}
    assert len(used) > 15
    assert used <= set(names)


def test_every_label_they_ask_by_is_one_of_the_metrics(root: Path) -> None:
    names = offered()
    for text in expressions(root):
        labels = {label for name in re.findall(r"pandagpt_[a-z0-9_]+", text) for label in names[name]}
        asked = set(re.findall(r"(\w+)=~?\"", text))
        asked |= {label.strip() for group in re.findall(r"by \(([^)]*)\)", text) for label in group.split(",")}
        assert asked <= labels | {"le", "job", "instance"}, text


def test_what_the_service_measures_is_shown_somewhere(root: Path) -> None:
    shown = set(re.findall(r"pandagpt_[a-z0-9_]+", " ".join(expressions(root))))
    families = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in offered()}
    assert families <= {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in shown}


@pytest.mark.parametrize(
    "file", ["deploy/prometheus/prometheus.yml", "deploy/prometheus/alerts.yml", "docker-compose.yml"]
)
def test_the_files_are_sound_yaml_and_alerts_say_what_is_wrong(root: Path, file: str) -> None:
    loaded = yaml.safe_load((root / file).read_text(encoding="utf-8"))
    for group in loaded.get("groups", []):
        for rule in group["rules"]:
            assert rule["annotations"]["summary"]
            assert rule["labels"]["severity"] in ("page", "ticket")
    ports = {
        port for job in loaded.get("scrape_configs", []) for entry in job["dns_sd_configs"] for port in [entry["port"]]
    }
    assert ports <= {9000}


def test_the_gateways_image_holds_no_torch_and_both_run_as_nobody(root: Path) -> None:
    gateway = (root / "deploy/Dockerfile.gateway").read_text(encoding="utf-8")
    assert "find_spec('torch') is not None" in gateway
    assert "worker" not in gateway.split("ENTRYPOINT")[1]
    for name in ("gateway", "worker"):
        text = (root / f"deploy/Dockerfile.{name}").read_text(encoding="utf-8")
        assert re.search(r"^USER 10001$", text, re.MULTILINE)
        for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
            assert all((root / part).exists() for part in copied.split()), copied

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


def offered() -> dict[str, set[str]]:
    """Every series name that the service shows, with its labels."""
    registry = CollectorRegistry()
    metrics = [GatewayMetrics.on(registry, ["internal_error"]), WorkerMetrics.on(registry)]
    names = {
        f"{described.name}{suffix}": set(metric._labelnames)
        for half in metrics
        for metric in (getattr(half, field) for field in half.__dataclass_fields__)
        for described in metric.describe()
        for suffix in SUFFIXES.get(described.type, ("",))
    }
    return names | _from_the_store()


def _from_the_store() -> dict[str, set[str]]:
    lane, model = LaneStats("m", "batch", 1, 1, 1.0, 1), ModelStats("m", 1, 1, 1, 1)
    families = QueueMetrics(lambda: StoreStats(0.0, 1, 1, 0, (lane,), (model,))).collect()
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}


def expressions(root: Path) -> list[str]:
    rules = yaml.safe_load((root / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
    panels = json.loads((root / "deploy/grafana/dashboard.json").read_text(encoding="utf-8"))["panels"]
    alerts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return alerts + [target["expr"] for panel in panels for target in panel["targets"]]


def test_every_metric_named_by_alerts_and_dashboard_exists(root: Path) -> None:
    names = offered()
    used = {name for text in expressions(root) for name in re.findall(r"pandagpt_[a-z_]+", text)}
    assert len(used) > 15
    assert used <= set(names)


def test_every_label_they_ask_by_is_one_of_the_metrics(root: Path) -> None:
    names = offered()
    for text in expressions(root):
        labels = {label for name in re.findall(r"pandagpt_[a-z_]+", text) for label in names[name]}
        asked = set(re.findall(r"(\w+)=~?\"", text))
        asked |= {label.strip() for group in re.findall(r"by \(([^)]*)\)", text) for label in group.split(",")}
        assert asked <= labels | {"le", "job", "instance"}, text


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

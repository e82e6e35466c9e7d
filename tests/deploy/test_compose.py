"""The compose file and what its monitoring profile reads: reachable, complete, limited. No container was started."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.programs import program

MONITORING = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000}


def load(root: Path, name: str) -> dict[str, Any]:
    return yaml.safe_load((root / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "port"), MONITORING.items())
def test_what_an_operator_looks_at_is_published_on_loopback(root: Path, name: str, port: int) -> None:
    service = load(root, "docker-compose.yml")["services"][name]
    assert service["profiles"] == ["monitoring"]
    (published,) = service["ports"]
    assert published.endswith(f":-127.0.0.1:{port}}}:{port}")
    assert set(service["networks"]) == {"front", "inside"}, "a port of an internal network reaches nobody"


def test_every_file_that_is_mounted_is_there(root: Path) -> None:
    services = load(root, "docker-compose.yml")["services"].values()
    mounted = [volume.split(":")[0] for service in services for volume in service.get("volumes", [])]
    ours = [path for path in mounted if path.startswith("./")]
    assert len(ours) >= 5
    assert [path for path in ours if not (root / path).exists()] == []


def test_every_service_is_confined_and_has_a_limit_of_memory(root: Path) -> None:
    for name, service in load(root, "docker-compose.yml")["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        assert service["deploy"]["resources"]["limits"]["memory"]


def test_the_gateway_s_container_lives_longer_than_its_drain(root: Path) -> None:
    from service.settings import GatewaySettings

    stop = load(root, "docker-compose.yml")["services"]["gateway"]["stop_grace_period"]
    ours = GatewaySettings()
    assert float(stop.removesuffix("s")) > ours.shutdown_delay_s + ours.drain_grace_s


def test_a_worker_s_health_is_its_loop(root: Path) -> None:
    text = (root / "deploy/Dockerfile.worker").read_text(encoding="utf-8")
    assert "/health/live" in text.split("HEALTHCHECK")[1]


def test_grafana_finds_its_data_and_its_dashboard(root: Path) -> None:
    sources = load(root, "deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert [source["url"] for source in sources] == ["http://prometheus:9090"]
    provider = load(root, "deploy/grafana/provisioning/dashboards/pandagpt.yml")["providers"][0]
    mounts = load(root, "docker-compose.yml")["services"]["grafana"]["volumes"]
    assert any(mount.split(":")[1].startswith(provider["options"]["path"]) for mount in mounts)


def test_alertmanager_takes_its_configuration_and_knows_every_severity(root: Path) -> None:
    config = root / "deploy/alertmanager/alertmanager.yml"
    command = [program("amtool", "prometheus-alertmanager"), "check-config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    routes = load(root, "deploy/alertmanager/alertmanager.yml")["route"]
    rules = load(root, "deploy/prometheus/alerts.yml")["groups"][0]["rules"]
    assert {rule["labels"]["severity"] for rule in rules} == {"page", "ticket"}
    assert routes["routes"][0]["matchers"] == ['severity="page"']


def test_every_image_of_others_is_held_to_one_digest(root: Path) -> None:
    services = load(root, "docker-compose.yml")["services"]
    named = {name: str(service.get("image") or service["build"]["args"]["BASE"]) for name, service in services.items()}
    page = (root / "deploy/README.md").read_text(encoding="utf-8")
    images = set()
    for name, image in named.items():
        variable, usual = image.removeprefix("${").removesuffix("}").split(":-")
        assert f"`{variable}`" in page, name
        images.add(usual)
    for name in ("gateway", "worker"):
        text = (root / f"deploy/Dockerfile.{name}").read_text(encoding="utf-8")
        assert [line for line in text.splitlines() if line.startswith("FROM")] == [
            "FROM $BASE AS build",
            "FROM $BASE",
        ]
        images.update(re.findall(r"^ARG BASE=(.*)$", text, re.MULTILINE))
    images.add(load(root, "deploy/helm/pandagpt/values.yaml")["store"]["internal"]["image"])
    assert all(re.fullmatch(r"[a-z/]+:[\w.-]+@sha256:[0-9a-f]{64}", image) for image in images), images
    assert len({image.split(":")[0] for image in images}) == len(images), "one image, one digest, in all files"

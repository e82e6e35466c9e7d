"""The alerts against Prometheus' own rule tests: each rule has a case that fires it and one that must not."""

import subprocess
from pathlib import Path

import yaml

from tests.deploy.programs import program

RULES = "deploy/prometheus"


def load(root: Path, name: str) -> dict:
    return yaml.safe_load((root / RULES / name).read_text(encoding="utf-8"))


def promtool(root: Path, *arguments: str) -> str:
    command = [program("promtool", "prometheus"), *arguments]
    done = subprocess.run(command, cwd=root / RULES, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_alert_has_a_case_that_fires_it_and_one_that_must_not(root: Path) -> None:
    alerts = {rule["alert"] for group in load(root, "alerts.yml")["groups"] for rule in group["rules"]}
    cases = [case for test in load(root, "alerts_test.yml")["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == alerts


def test_the_alerts_fire_when_they_must_and_only_then(root: Path) -> None:
    assert "SUCCESS" in promtool(root, "test", "rules", "alerts_test.yml")


def test_prometheus_takes_the_configuration_with_all_its_rules(root: Path) -> None:
    assert "SUCCESS" in promtool(root, "check", "config", "prometheus.yml")

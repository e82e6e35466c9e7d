"""The dashboard: its script writes it, and no expression is empty on a Prometheus that scraped a real run."""

import json
import runpy
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Valkey
from tests.deploy.monitored import Monitored, monitored, use

FILE = "deploy/grafana/dashboard.json"
ELSEWHERE = ("pandagpt_gpu_memory_bytes",)  # empty without a GPU, as its panel says


def board(root: Path) -> dict:
    return json.loads((root / FILE).read_text(encoding="utf-8"))


def panels(root: Path) -> list[dict]:
    return [panel for panel in board(root)["panels"] if panel["type"] != "row"]


def expressions(root: Path) -> list[str]:
    return [target["expr"] for panel in panels(root) for target in panel["targets"]]


def test_the_dashboard_is_what_its_script_writes(root: Path) -> None:
    pytest.importorskip("grafana_foundation_sdk")
    made = runpy.run_path(str(root / "deploy/grafana/dashboard.py"))["build"]()
    assert made == (root / FILE).read_text(encoding="utf-8"), "run: python deploy/grafana/dashboard.py"


def test_every_panel_says_what_it_shows_and_no_two_lie_on_one_another(root: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(root):
        assert panel["description"].endswith(".")
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.fixture(scope="module")
def service(_valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    with monitored(_valkey_server, tmp_path_factory.mktemp("prometheus")) as service:
        use(service, seconds=6.0)
        yield service


def filled(expression: str) -> str:
    values = {"$__rate_interval": "15s", "$model": ".*", "$instance": ".*"}
    for name, value in values.items():
        expression = expression.replace(name, value)
    return expression


def test_no_expression_is_empty_after_a_real_run(root: Path, service: Monitored) -> None:
    wanted = [text for text in expressions(root) if not any(name in text for name in ELSEWHERE)]
    assert len(wanted) > 60
    limit = time.monotonic() + 20
    while empty := [text for text in wanted if not service.query(filled(text))]:
        assert time.monotonic() < limit, empty
        use(service, seconds=1.0)


def test_the_values_that_the_dashboard_chooses_from_are_there(service: Monitored) -> None:
    assert {one["metric"]["model"] for one in service.query("pandagpt_workers")} == {"fake"}
    assert {one["metric"]["component"] for one in service.query("pandagpt_build_info")} == {"gateway", "worker"}


def test_what_a_panel_shows_is_what_happened(root: Path, service: Monitored) -> None:
    failed = 'pandagpt_request_failures_total{code="engine_error",phase="stream"}'
    before = float(service.query(failed)[0]["value"][1])
    use(service, seconds=1.0)
    limit = time.monotonic() + 20
    while float(service.query(failed)[0]["value"][1]) <= before:
        assert time.monotonic() < limit, "the failures inside streams were not counted"
        time.sleep(0.3)

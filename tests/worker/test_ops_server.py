"""The worker's own port: answers to probes while the model loads, while the loop turns, and when it hangs."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from service.worker.ops_server import Health, ops_served
from tests.ports import free_port


@dataclass
class FakeLoop:
    silent_s: float = 0.0
    draining: bool = False


@pytest.fixture
def served() -> Iterator[tuple[str, Health, CollectorRegistry]]:
    registry, health = CollectorRegistry(), Health(stall_s=60.0)
    with ops_served("127.0.0.1", free_port(), registry, health) as port:
        yield f"http://127.0.0.1:{port}", health, registry


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_worker_that_loads_is_live_and_not_ready(served: tuple[str, Health, CollectorRegistry]) -> None:
    url, _, _ = served
    assert get(f"{url}/health/live") == (200, json.dumps({"status": "loading"}))
    assert get(f"{url}/health/ready")[0] == 503


def test_a_worker_whose_loop_stands_still_is_not_live(served: tuple[str, Health, CollectorRegistry]) -> None:
    url, health, _ = served
    loop = FakeLoop()
    health.begin(loop)
    assert get(f"{url}/health/live")[0] == get(f"{url}/health/ready")[0] == 200
    loop.silent_s = 61.0
    assert get(f"{url}/health/live") == (503, json.dumps({"status": "the loop has not turned for 61 s"}))


def test_a_worker_that_drains_is_live_and_not_ready(served: tuple[str, Health, CollectorRegistry]) -> None:
    url, health, _ = served
    health.begin(FakeLoop(draining=True))
    assert get(f"{url}/health/live")[0] == 200
    assert get(f"{url}/health/ready") == (503, json.dumps({"status": "draining"}))


def test_metrics_stand_beside_the_probes_and_other_paths_are_unknown(
    served: tuple[str, Health, CollectorRegistry],
) -> None:
    url, _, registry = served
    Gauge("pandagpt_shown", "something", registry=registry).set(7)
    assert "pandagpt_shown 7.0" in get(f"{url}/metrics")[1]
    assert get(f"{url}/else")[0] == 404


def test_port_zero_serves_nothing() -> None:
    with ops_served("127.0.0.1", 0, CollectorRegistry(), Health()) as port:
        assert port == 0


@pytest.mark.parametrize("path", ["/metrics", "/health/live", "/health/ready", "/else"])
def test_head_has_the_status_and_headers_of_get_and_no_body(
    served: tuple[str, Health, CollectorRegistry], path: str
) -> None:
    with httpx.Client(base_url=served[0], trust_env=False) as client:
        got, head = client.get(path), client.head(path)
    own = {"date": ""}
    assert head.status_code == got.status_code
    assert dict(head.headers) | own == dict(got.headers) | own
    assert head.content == b""


def test_a_doubled_host_is_refused(served: tuple[str, Health, CollectorRegistry]) -> None:
    url, _, _ = served
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n")
        head = connection.makefile("rb").readline()
    assert head.split()[1] == b"400"

"""A service whose gateway and worker a real Prometheus scrapes: requests are sent, queries answered."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml
from prometheus_client import CollectorRegistry

from pandagpt_core.interface import EngineStats, PrefixStats
from service.metrics.process import register_process
from service.metrics.worker import Labelled
from service.worker.ops_server import Health, ops_served
from tests.conftest import Valkey
from tests.deploy.programs import answers, program, running
from tests.fakes import FakeRuntime, worker_thread
from tests.gateway.conftest import make_settings, serving
from tests.ports import free_port
from tests.security.neighbours import data_url, picture

EVERY_S = 1  # between scrapes


class FullRuntime(FakeRuntime):
    """A fake engine with figures of a prefix cache that grow."""

    looks = 0

    def stats(self) -> EngineStats:
        FullRuntime.looks += 1
        n = FullRuntime.looks
        return EngineStats(4, 0, 4, 64, n // 8, PrefixStats(8 * n, 3 * n, 4, 8, n // 8), 4 * n, 3 * n)


@dataclass(frozen=True)
class Monitored:
    """Addresses of the service and of Prometheus."""

    url: str
    prometheus: str

    def query(self, expression: str) -> list[dict]:
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": expression}, timeout=10, trust_env=False)
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        result: list[dict] = answer.json()["data"]["result"]
        return result


@contextmanager
def monitored(valkey: Valkey, folder: Path) -> Iterator[Monitored]:
    """Start everything; ends when the block does."""
    binary, port, worker_port = program("prometheus", "prometheus"), free_port(), free_port()
    registry, health = CollectorRegistry(), Health()
    register_process(registry, "worker")
    with (
        serving(make_settings(valkey)) as (url, _),
        worker_thread(valkey.settings, FullRuntime(step_delay=0.01), lost_after_s=15.0) as worker,
        ops_served("127.0.0.1", worker_port, registry, health),
    ):
        worker.metrics.engine_info.labels("own", "longest").set(1)
        registry.register(Labelled(worker.registry, {"model": "fake"}))
        targets = {"gateway": url.removeprefix("http://"), "worker": f"127.0.0.1:{worker_port}"}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(_config(targets)), encoding="utf-8")
        command = [binary, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        address = f"127.0.0.1:{port}"
        ready = f"http://{address}/-/ready"
        with running([*command, f"--web.listen-address={address}"], folder / "log", lambda: answers(ready)):
            yield Monitored(url, f"http://{address}")


def _config(targets: dict[str, str]) -> dict:
    jobs = [{"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()]
    return {"global": {"scrape_interval": f"{EVERY_S}s"}, "scrape_configs": jobs}


def use(service: Monitored, seconds: float) -> None:
    """Requests of every kind for so long: streams, whole answers, media, a failure inside a stream, a bad picture."""
    until = time.monotonic() + seconds
    with httpx.Client(base_url=service.url, timeout=20, trust_env=False) as client:
        number = 0
        while time.monotonic() < until:
            number += 1
            for body in _bodies(number):
                client.post("/v1/chat/completions", json=body)
            time.sleep(0.05)


def _bodies(number: int) -> list[dict]:
    image = {"type": "image_url", "image_url": {"url": data_url(picture(number % 20))}}
    broken = {"type": "image_url", "image_url": {"url": data_url(b"no picture")}}
    contents = ["Hello", [image], [image, {"type": "text", "text": "What?"}], "FAULT-SEQUENCE", [broken]]
    return [
        {"messages": [{"role": "user", "content": content}], "max_tokens": 5, "stream": True, "seed": number}
        for content in contents
    ]

"""Each example proxy: streams pass token by token, large bodies pass, and a rolling restart loses nothing."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.settings import GatewaySettings
from tests.chaos.house import House, house
from tests.deploy.proxies import FOLDER, PROXIES, Proxy, proxied
from tests.deploy.rolling import roll, send_many

ASK = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "stream": True}
by_name = pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two gateways that stay for a while after SIGTERM, two workers."""
    folder = tmp_path_factory.mktemp("service")
    with house(folder, gateways=2, workers=2, step_delay=0.01, shutdown_delay_s=2.0) as made:
        made.wait_for_workers()
        yield made


@by_name
def test_tokens_pass_one_by_one(service: House, proxy: Proxy, tmp_path: Path) -> None:
    with proxied(proxy, service.ports, tmp_path) as url:
        came: list[float] = []
        body = {**ASK, "max_tokens": 20, "ignore_eos": True}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=20, trust_env=False) as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    came.append(time.monotonic())
        assert len(came) > 20
        assert came[-1] - came[0] > 0.1, "the answer came in one piece"


@by_name
def test_a_large_body_passes_and_metrics_do_not(service: House, proxy: Proxy, tmp_path: Path) -> None:
    with proxied(proxy, service.ports, tmp_path) as url:
        files = {"file": b"x" * (8 << 20)}
        sent = httpx.post(f"{url}/v1/files", files=files, data={"purpose": "user_data"}, timeout=30, trust_env=False)
        assert sent.status_code == 200, sent.text
        assert httpx.get(f"{url}/metrics", trust_env=False).status_code == 404


@pytest.mark.parametrize("file", ["nginx.conf", "Caddyfile"])
def test_the_proxy_closes_unused_connections_before_a_gateway_does(file: str) -> None:
    """haproxy sends a request again whose connection closed without an answer; these two do not."""
    ours = GatewaySettings()
    found = re.search(r"keepalive(?:_timeout)? (\d+)s", (FOLDER / file).read_text(encoding="utf-8"))
    assert found is not None
    assert int(found[1]) < min(ours.idle_timeout_s, ours.shutdown_delay_s)


@pytest.mark.parametrize("proxy", PROXIES[:2], ids=lambda proxy: proxy.name)
async def test_a_rolling_restart_fails_none_of_500_requests(service: House, proxy: Proxy, tmp_path: Path) -> None:
    with proxied(proxy, service.ports, tmp_path) as url:
        restarting = asyncio.create_task(roll(service))
        outcomes = await send_many(url, 500, restarting)
    assert restarting.result() == [0, 0], "a gateway did not leave in good order"
    assert len(outcomes) >= 500
    failed = Counter(outcome for outcome in outcomes if outcome != "ok")
    assert failed == Counter(), (tmp_path / f"{proxy.name}.log").read_text(encoding="utf-8")[-2000:]

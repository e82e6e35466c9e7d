"""Health, metrics, version, models, limits of a key, the manual, and what happens without workers or store."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from service.gateway.state import GatewayState
from service.settings import Settings, StoreSettings
from tests.conftest import Valkey
from tests.fakes import FAKE_INFO, WorkerThread, worker_thread
from tests.gateway.conftest import serving
from tests.ports import free_port

CHAT = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}


@pytest.fixture
def alone(start_gateway: Callable[..., tuple[str, GatewayState]]) -> str:
    """A gateway without a worker."""
    return start_gateway()[0]


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_ready_once_a_worker_is_there(http: httpx.Client) -> None:
    assert http.get("/health/live").json() == {"status": "ok"}
    assert http.get("/health/ready").json() == {"status": "ok", "models": ["fake"]}


def test_without_a_worker_alive_but_not_ready_and_503_at_once(alone: str) -> None:
    assert httpx.get(f"{alone}/health/live").status_code == 200
    began = time.monotonic()
    for answer in (
        httpx.get(f"{alone}/health/ready"),
        httpx.post(f"{alone}/v1/chat/completions", json=CHAT),
        httpx.post(f"{alone}/v1/embeddings", json={"input": "x"}),
        httpx.post(f"{alone}/v1/generate", data={"prompt": "x"}, files={"image": b"not even a picture"}),
    ):
        assert code(answer) == (503, "no_worker")
        assert int(answer.headers["retry-after"]) >= 1
        assert int(answer.headers["retry-after-ms"]) >= 1
    assert time.monotonic() - began < 20, "it waited for a worker"


def test_while_every_worker_drains_new_requests_are_turned_away(
    start_gateway: Callable[..., tuple[str, GatewayState]], valkey: Valkey
) -> None:
    url, _ = start_gateway()
    with worker_thread(valkey.settings) as worker:
        slow = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 200, "stream": True}
        worker.runtime.step_delay = 0.3
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=slow, timeout=20) as running:
            lines = running.iter_lines()  # kept: dropping it would hang up
            next(lines)
            worker.drain()
            until = time.monotonic() + 20
            while (ready := httpx.get(f"{url}/health/ready")).status_code != 503:
                assert time.monotonic() < until, "the gateway did not notice that the worker drains"
                time.sleep(0.05)
            assert code(ready) == (503, "draining")
            assert code(httpx.post(f"{url}/v1/chat/completions", json=CHAT)) == (503, "draining")
            worker.runtime.step_delay = 0.0


def test_a_gateway_that_is_about_to_leave_takes_nothing_new(
    start_gateway: Callable[..., tuple[str, GatewayState]], worker: WorkerThread
) -> None:
    url, state = start_gateway()
    state.leaving.set()
    assert code(httpx.get(f"{url}/health/ready")) == (503, "draining")
    assert code(httpx.post(f"{url}/v1/chat/completions", json=CHAT)) == (503, "draining")
    assert httpx.get(f"{url}/health/live").status_code == 200


def test_a_store_that_is_not_there_is_a_503_and_the_gateway_lives() -> None:
    settings = Settings(store=StoreSettings(url=f"redis://127.0.0.1:{free_port()}/0"), decode={"processes": 1})
    with serving(settings) as (url, _):
        assert httpx.get(f"{url}/health/live").status_code == 200
        assert code(httpx.get(f"{url}/health/ready")) == (503, "store_unavailable")
        assert code(httpx.post(f"{url}/v1/chat/completions", json=CHAT)) == (503, "store_unavailable")
        assert code(httpx.get(f"{url}/v1/models")) == (503, "store_unavailable")


def test_a_full_queue_is_overloaded_at_once(valkey: Valkey) -> None:
    store = valkey.settings.model_copy(update={"max_queue": 1})
    with (
        serving(Settings(store=store, gateway={"keep_alive_s": 0.3}, decode={"processes": 1})) as (url, _),
        worker_thread(store, max_sequences=1, prefetch=0) as worker,
    ):
        worker.runtime.step_delay = 0.5
        body = {**CHAT, "max_tokens": 20, "stream": True}
        with (
            httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=30) as one,
            httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=30) as two,
        ):
            assert (one.status_code, two.status_code) == (200, 200)
            assert code(httpx.post(f"{url}/v1/chat/completions", json=CHAT)) == (503, "overloaded")
        worker.runtime.step_delay = 0.0


def test_models_as_openai_lists_them(http: httpx.Client) -> None:
    listed = http.get("/v1/models").json()
    assert listed["object"] == "list"
    (model,) = listed["data"]
    assert model == http.get("/v1/models/fake").json()
    assert (model["id"], model["object"], model["system"], model["max_model_len"]) == ("fake", "model", "fake", 2048)
    assert set(model["input_modalities"]) == {"image", "video", "audio", "depth", "thermal", "imu", "text", "points"}
    assert model["version"] == FAKE_INFO.version


def test_a_model_lists_the_parameters_that_its_recipes_take(http: httpx.Client) -> None:
    taken = http.get("/v1/models/fake").json()["media_parameters"]
    assert (taken["image"], taken["audio"], taken["video"]) == ([], [], ["use_audio"])
    assert taken["depth"] == ["unit", "scale", "focal_px", "baseline_m"]


def test_a_modality_that_the_model_lacks_is_named(
    start_gateway: Callable[..., tuple[str, GatewayState]], valkey: Valkey
) -> None:
    from dataclasses import replace

    from pandagpt_core.types import Modality
    from tests.fakes import FAKE_INFO, FakeRuntime

    url, _ = start_gateway()
    few = replace(FAKE_INFO, recipes={Modality.IMAGE: "imagebind-image-v1"})
    with worker_thread(valkey.settings, FakeRuntime(info=few)):
        answer = httpx.post(f"{url}/v1/generate", data={"prompt": "x"}, files={"audio": b"whatever"})
        assert code(answer) == (400, "unsupported_modality")
        assert answer.json()["error"]["param"] == "audio"


def test_metrics_on_the_main_port_are_for_this_machine(http: httpx.Client) -> None:
    http.post("/v1/chat/completions", json=CHAT)
    text = http.get("/metrics").text
    assert 'pandagpt_http_requests_total{endpoint="/v1/chat/completions",status="200"}' in text
    assert 'pandagpt_relayed_tokens_total{model="fake"}' in text


def test_a_gateway_that_others_can_reach_gives_metrics_to_keys_only(
    start_gateway: Callable[..., tuple[str, GatewayState]], worker: WorkerThread
) -> None:
    url, state = start_gateway()
    state.host = "0.0.0.0"
    assert code(httpx.get(f"{url}/metrics")) == (403, "permission_denied")


def test_metrics_have_their_own_port_where_one_is_set(start_gateway: Callable[..., tuple[str, GatewayState]]) -> None:
    port = free_port()
    url, _ = start_gateway(admin_port=port)
    assert code(httpx.get(f"{url}/metrics")) == (404, "not_found")
    assert "pandagpt_http_requests" in httpx.get(f"http://127.0.0.1:{port}/metrics").text


def test_the_manual_and_the_version(http: httpx.Client) -> None:
    assert set(http.get("/version").json()) == {"version"}
    page = http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "/v1/chat/completions" in page.text
    assert "<script" not in page.text
    assert http.get("/openapi.json").json()["openapi"].startswith("3.")


def test_a_key_over_its_rate_waits(
    start_gateway: Callable[..., tuple[str, GatewayState]], worker: WorkerThread
) -> None:
    url, _ = start_gateway(rate_requests=2)
    first, second, third = [httpx.post(f"{url}/v1/chat/completions", json=CHAT, timeout=20) for _ in range(3)]
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert code(third) == (429, "rate_limit_exceeded")
    assert 0 < int(third.headers["retry-after-ms"]) <= 30_000


def test_a_slow_body_is_given_up(start_gateway: Callable[..., tuple[str, GatewayState]]) -> None:
    url, _ = start_gateway(body_timeout_s=0.3)

    def drip() -> Iterator[bytes]:
        yield b'{"messages":'
        time.sleep(1)
        yield b"[]}"

    try:
        answer = httpx.post(f"{url}/v1/chat/completions", content=drip(), timeout=10)
    except httpx.TransportError:
        return  # cut while we still wrote, which is as good
    assert code(answer) == (408, "body_timeout")


def test_a_browser_may_call_from_a_configured_origin(start_gateway: Callable[..., tuple[str, GatewayState]]) -> None:
    url, _ = start_gateway(cors_origins="https://app.example")
    headers = {"origin": "https://app.example", "access-control-request-method": "POST"}
    answer = httpx.options(f"{url}/v1/chat/completions", headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"

"""Models that scale from zero: a request waits for a worker that starts late, and the queue's metrics show it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pandagpt_core.media import samples
from service.broker.keys import Keys
from service.gateway.state import GatewayState
from tests.conftest import Valkey
from tests.fakes import worker_thread

CHAT = {"model": "fake", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
Start = Callable[..., tuple[str, GatewayState]]


@pytest.fixture
def asleep(valkey: Valkey) -> None:
    """The model had a worker, which is gone; its queue was forgotten meanwhile."""
    with worker_thread(valkey.settings):
        pass
    valkey.client.delete(Keys().models)


def depth(url: str) -> float:
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    found = {family.name: family for family in text_string_to_metric_families(text)}
    return sum(sample.value for sample in found["pandagpt_queue_depth"].samples if sample.labels["model"] == "fake")


def until_depth(url: str, wanted: float) -> None:
    limit = time.monotonic() + 60
    while depth(url) != wanted:
        assert time.monotonic() < limit, f"the queue's depth is {depth(url)}"
        time.sleep(0.1)


@pytest.mark.usefixtures("asleep")
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_request_at_zero_workers_is_answered_by_one_that_starts_late(
    start_gateway: Start, valkey: Valkey, stream: bool
) -> None:
    url, _ = start_gateway(from_zero=("fake",))
    assert httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200
    assert [model["id"] for model in httpx.get(f"{url}/v1/models", trust_env=False).json()["data"]] == ["fake"]
    with ThreadPoolExecutor(1) as pool:
        body = {**CHAT, "stream": stream}
        sent = pool.submit(httpx.post, f"{url}/v1/chat/completions", json=body, timeout=90, trust_env=False)
        until_depth(url, 1)
        with worker_thread(valkey.settings):
            answer = sent.result(90)
            assert answer.status_code == 200
            assert " w" in answer.text
            assert "error" not in answer.text


@pytest.mark.usefixtures("asleep")
def test_a_request_that_waits_for_a_worker_costs_no_task_of_its_own(start_gateway: Start) -> None:
    url, gateway = start_gateway(from_zero=("fake",))
    before = len(gateway.requests.background._tasks)
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(httpx.post, f"{url}/v1/chat/completions", json=CHAT, trust_env=False) for _ in range(8)]
        until_depth(url, 8)
        assert len(gateway.requests.background._tasks) == before
        for one in sent:
            one.exception(60)  # the client's own limit of time
    limit = time.monotonic() + 60  # a caller that has just left may still be charged
    while len(gateway.requests.background._tasks) > before:
        assert time.monotonic() < limit, "callers have left, and their tasks have not"
        time.sleep(0.1)


@pytest.mark.usefixtures("asleep")
def test_media_are_decoded_while_no_worker_is_there(start_gateway: Start, valkey: Valkey) -> None:
    url, _ = start_gateway(from_zero=("fake",))
    files = {"image": ("a.png", samples.picture(), "image/png")}
    with ThreadPoolExecutor(1) as pool:
        form = {"prompt": "What is this?", "max_tokens": "3"}
        sent = pool.submit(httpx.post, f"{url}/v1/generate", data=form, files=files, timeout=90, trust_env=False)
        until_depth(url, 1)
        with worker_thread(valkey.settings):
            assert "<image:" in sent.result(90).text


@pytest.mark.usefixtures("asleep")
def test_without_a_worker_in_time_it_ends_as_no_worker_and_leaves_the_queue(start_gateway: Start) -> None:
    url, _ = start_gateway(from_zero=("fake",), from_zero_wait_s=0.5)
    answer = httpx.post(f"{url}/v1/chat/completions", json=CHAT, timeout=60, trust_env=False)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "no_worker"
    assert int(answer.headers["retry-after"]) >= 1
    until_depth(url, 0)


@pytest.mark.usefixtures("asleep")
def test_a_model_that_is_not_named_is_refused_at_once(start_gateway: Start) -> None:
    url, _ = start_gateway(from_zero=("other",))
    answer = httpx.post(f"{url}/v1/chat/completions", json=CHAT, timeout=60, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_worker")


def test_a_model_that_never_had_a_worker_is_refused_at_once(start_gateway: Start) -> None:
    """Nobody knows which media it takes."""
    url, _ = start_gateway(from_zero=("fake",))
    answer = httpx.post(f"{url}/v1/chat/completions", json=CHAT, timeout=60, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_worker")

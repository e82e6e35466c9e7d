"""Every metric's value after real requests through a gateway, a store and a worker; not its name.

One run is scraped over HTTP as Prometheus does, and `EXPECTED` has a line for every family that came.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import GatewayMetrics, WorkerMetrics
from service.version import version
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.gateway.conftest import make_settings, serving
from tests.security.neighbours import data_url, picture

STEP_S = 0.05
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True)
class Run:
    """What both sides showed, and the callers' own clocks: seconds to the first content and to the end of one stream,
    and those of all three requests that had content."""

    gateway: Series
    worker: Series
    first_s: float
    total_s: float
    all_s: float


def parsed(text: str) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def body(text: str, **changed: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 6, "stream": True, **changed}


def streamed(url: str, request: dict[str, object]) -> tuple[float, float]:
    """Send it; seconds from just before to the first content and to the end, by this caller's clock."""
    began, first = time.perf_counter(), 0.0
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=request, timeout=20, trust_env=False) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            data = line.removeprefix("data: ")
            if not first and data.startswith("{") and _content(json.loads(data)):
                first = time.perf_counter() - began
    return first, time.perf_counter() - began


def _content(chunk: dict) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", []))


@pytest.fixture(scope="module")
def seen(_valkey_server: Valkey) -> Iterator[Run]:
    _valkey_server.client.flushall()
    runtime = FakeRuntime(step_delay=STEP_S)
    with (
        serving(make_settings(_valkey_server)) as (url, house),
        worker_thread(_valkey_server.settings, runtime, lost_after_s=15.0) as worker,
    ):
        began = time.perf_counter()
        first, total = streamed(url, body("one two three"))
        assert streamed(url, body("FAULT-SEQUENCE in the middle"))[1]
        image = {"type": "image_url", "image_url": {"url": data_url(picture())}}
        asked = [{"role": "user", "content": [image, {"type": "text", "text": "What?"}]}]
        post = partial(httpx.post, timeout=20, trust_env=False)
        assert post(f"{url}/v1/chat/completions", json=body("", messages=asked, stream=False)).status_code == 200
        spent = time.perf_counter() - began
        assert post(f"{url}/v1/chat/completions", json=body("x", stream=False, max_tokens=-2)).status_code == 400
        broken = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_url(b"no picture")}}]}]
        assert post(f"{url}/v1/chat/completions", json=body("", messages=broken)).status_code == 400
        assert post(f"{url}/v1/embeddings", json={"input": "x"}).status_code == 200
        assert httpx.get(f"{url}/health/ready").status_code == 200
        counted = worker.registry.get_sample_value
        until = time.monotonic() + 10
        while counted("pandagpt_worker_requests_total", {"outcome": "done"}) != 3:
            assert time.monotonic() < until, "the last end was not counted"
            time.sleep(0.01)
        while house.metrics.loop_lag_seconds.collect()[0].samples == []:
            time.sleep(0.05)
        yield Run(
            parsed(httpx.get(f"{url}/metrics").text),
            parsed(generate_latest(worker.registry).decode()),
            first,
            total,
            spent,
        )


def key(name: str, labels: dict[str, str]) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


FAKE = {"model": "fake", "priority": "interactive"}
CHAT = {"endpoint": "/v1/chat/completions"}
IMAGE = {"modality": "image"}
Check = float | Callable[[float], bool]
some: Check = lambda value: value > 0  # noqa: E731  reads as a word in the tables

GATEWAY: list[tuple[str, dict[str, str], Check]] = [
    ("pandagpt_http_requests_total", {**CHAT, "status": "200"}, 3),
    ("pandagpt_http_requests_total", {**CHAT, "status": "400"}, 2),
    ("pandagpt_http_request_duration_seconds_count", CHAT, 5),
    ("pandagpt_http_requests_in_progress", {}, 1),  # the scrape itself
    ("pandagpt_request_failures_total", {"code": "engine_error", "phase": "stream"}, 1),
    ("pandagpt_request_failures_total", {"code": "invalid_request", "phase": "response"}, 1),
    ("pandagpt_request_failures_total", {"code": "invalid_media", "phase": "response"}, 1),
    ("pandagpt_request_failures_total", {"code": "worker_lost", "phase": "stream"}, 0),
    ("pandagpt_request_failures_total", {"code": "no_worker", "phase": "response"}, 0),
    ("pandagpt_time_to_first_token_seconds_count", FAKE, 3),
    ("pandagpt_inter_token_latency_seconds_count", FAKE, 5 + 1 + 5),
    ("pandagpt_inter_token_latency_seconds_sum", FAKE, lambda value: 11 * 0.05 <= value < 11 * 0.05 + 2),
    ("pandagpt_e2e_request_latency_seconds_count", FAKE, 2),
    ("pandagpt_relayed_tokens_total", {"model": "fake"}, 6 + 2 + 6),
    ("pandagpt_usage_tokens_total", {"key_class": "anonymous", "kind": "prompt"}, 3 + 4 + 2 + 3),
    ("pandagpt_usage_tokens_total", {"key_class": "anonymous", "kind": "completion"}, 6 + 2 + 6),
    ("pandagpt_media_decode_seconds_count", IMAGE, 2),
    ("pandagpt_media_decode_failures_total", {**IMAGE, "code": "invalid_media"}, 1),
    ("pandagpt_media_received_bytes_total", IMAGE, lambda value: value == len(picture()) + len(b"no picture")),
    ("pandagpt_gateway_media_lookups_total", {**IMAGE, "outcome": "miss"}, 2),
    ("pandagpt_event_loop_lag_seconds_count", {}, some),
    ("pandagpt_store_up", {}, 1),
    ("pandagpt_store_memory_used_bytes", {}, some),
    ("pandagpt_store_memory_limit_bytes", {}, lambda value: value >= 0),
    ("pandagpt_store_round_trip_seconds", {}, some),
    ("pandagpt_store_evicted_keys_total", {}, 0),
    ("pandagpt_store_replicas", {}, 0),
    ("pandagpt_store_unreplicated_bytes", {}, 0),
    ("pandagpt_queue_depth", FAKE, 0),
    ("pandagpt_queue_oldest_age_seconds", FAKE, 0),
    ("pandagpt_queue_running", FAKE, 0),
    ("pandagpt_queue_bytes", FAKE, 0),
    ("pandagpt_workers", {"model": "fake", "state": "ready"}, 1),
    ("pandagpt_workers", {"model": "fake", "state": "draining"}, 0),
    ("pandagpt_worker_versions", {"model": "fake", "version": version()}, 1),
    ("pandagpt_dead_letters", {"model": "fake"}, 0),
    ("pandagpt_requests_given_up_total", {"model": "fake"}, 0),
    ("process_resident_memory_bytes", {}, some),
    ("process_open_fds", {}, some),
]
WORKER: list[tuple[str, dict[str, str], Check]] = [
    ("pandagpt_worker_requests_total", {"outcome": "done"}, 3),
    ("pandagpt_worker_requests_total", {"outcome": "engine_error"}, 1),
    ("pandagpt_worker_requests_total", {"outcome": "worker_lost"}, 0),
    ("pandagpt_request_success_total", {"finished_reason": "length"}, 2),
    ("pandagpt_request_success_total", {"finished_reason": "stop"}, 0),
    ("pandagpt_request_queue_time_seconds_count", {"priority": "interactive"}, 4),
    ("pandagpt_request_prefill_time_seconds_count", {}, 3),
    ("pandagpt_request_prefill_time_seconds_sum", {}, lambda value: 3 * 0.05 <= value < 2),
    ("pandagpt_request_decode_time_seconds_sum", {}, lambda value: 11 * 0.05 <= value < 3),
    ("pandagpt_request_prompt_tokens_sum", {}, 3 + 2),
    ("pandagpt_request_generation_tokens_sum", {}, 6 + 6),
    ("pandagpt_num_requests_running", {}, 0),
    ("pandagpt_intake_waiting_requests", {}, 0),
    ("pandagpt_num_requests_waiting", {}, 0),
    ("pandagpt_engine_step_seconds_count", {}, 6 + 3 + 6),
    ("pandagpt_engine_step_seconds_sum", {}, lambda value: 15 * 0.05 <= value < 4),
    ("pandagpt_engine_step_sequences_sum", {}, 6 + 3 + 6),
    ("pandagpt_prompt_tokens_total", {}, 3 + 4 + 2),
    ("pandagpt_generation_tokens_total", {}, 6 + 3 + 6),
    ("pandagpt_prefix_lookups_total", {"outcome": "miss"}, 3),
    ("pandagpt_encode_batch_sum", IMAGE, 1),
    ("pandagpt_encode_seconds_count", IMAGE, 1),
    ("pandagpt_encode_busy_seconds", IMAGE, 0),
    ("pandagpt_embedding_lookups_total", {**IMAGE, "outcome": "miss"}, 1),
    ("pandagpt_takeovers_total", {}, 0),
    ("pandagpt_event_entries_restored_total", {}, 0),
    ("pandagpt_loop_last_turn_timestamp_seconds", {}, lambda value: abs(time.time() - value) < 60),
]
# Set from the engine's own figures, or by other tests that run what they measure.
ELSEWHERE = {
    "pandagpt_kv_cache_usage_perc",
    "pandagpt_engine_info",
    "pandagpt_num_preemptions",
    "pandagpt_prefix_cache_queries",
    "pandagpt_prefix_cache_hits",
    "pandagpt_prefix_evictions",
    "pandagpt_prefix_used_ratio",
}


def check(series: Series, name: str, labels: dict[str, str], wanted: Check) -> None:
    value = series[key(name, labels)]
    good = wanted(value) if callable(wanted) else value == wanted
    assert good, f"{name}{labels} is {value}"


@pytest.mark.parametrize(("name", "labels", "wanted"), GATEWAY)
def test_the_gateway_shows_what_happened(seen: Run, name: str, labels: dict[str, str], wanted: Check) -> None:
    check(seen.gateway, name, labels, wanted)


@pytest.mark.parametrize(("name", "labels", "wanted"), WORKER)
def test_the_worker_shows_what_happened(seen: Run, name: str, labels: dict[str, str], wanted: Check) -> None:
    check(seen.worker, name, labels, wanted)


def test_every_metric_has_its_value_checked() -> None:
    registry = CollectorRegistry()
    GatewayMetrics.on(registry), WorkerMetrics.on(registry)
    families = {family.name for family in registry.collect()}
    checked = {re.sub(r"_(total|count|sum)$", "", name) for name, _, _ in GATEWAY + WORKER}
    assert families - checked == ELSEWHERE


def test_the_first_token_is_timed_as_the_caller_times_it(seen: Run) -> None:
    waited = seen.gateway[key("pandagpt_time_to_first_token_seconds_sum", FAKE)]
    assert 0 < seen.first_s < seen.total_s
    assert 3 * STEP_S <= waited <= seen.all_s


def test_the_upload_counts_for_the_first_token(seen: Run, valkey: Valkey) -> None:
    def slow() -> Iterator[bytes]:
        sent = json.dumps(body("hello")).encode()
        yield sent[:10]
        time.sleep(0.6)
        yield sent[10:]

    with serving(make_settings(valkey)) as (url, house), worker_thread(valkey.settings):
        kind = {"content-type": "application/json"}
        assert httpx.post(f"{url}/v1/chat/completions", content=slow(), headers=kind).status_code == 200
        name = "pandagpt_time_to_first_token_seconds_sum"
        assert (house.registry.get_sample_value(name, FAKE) or 0) >= 0.6

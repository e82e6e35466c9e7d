"""Every metric's value after real requests through a gateway, a store and a worker; not its name.

One run is scraped over HTTP as Prometheus does. Every family that came has a line in `GATEWAY` or `WORKER`, and each
has a value that is not the 0 it begins with, here or in the test that `ELSEWHERE` names.
"""

import json
import platform
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pandagpt_core.types import Modality
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
    """The metrics of both sides, and the callers' own clocks: seconds to the first content and to the end of one
    stream, and those of all three requests that had content."""

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
def seen(_valkey_server: Valkey) -> Run:
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
        return Run(  # and the worker goes: it would take the requests of tests with one of their own
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
BUILD = {"version": version(), "python": platform.python_version(), "component": "gateway"}
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
    ("pandagpt_inter_token_latency_seconds_sum", FAKE, some),
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
    ("pandagpt_store_memory_limit_bytes", {}, 0),
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
    ("pandagpt_build_info", BUILD, 1),
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
    ("pandagpt_request_prefill_time_seconds_sum", {}, lambda value: value >= 3 * STEP_S),
    ("pandagpt_request_decode_time_seconds_sum", {}, lambda value: value >= 11 * STEP_S),
    ("pandagpt_request_prompt_tokens_sum", {}, 3 + 2),
    ("pandagpt_request_generation_tokens_sum", {}, 6 + 6),
    ("pandagpt_num_requests_running", {}, 0),
    ("pandagpt_intake_waiting_requests", {}, 0),
    ("pandagpt_num_requests_waiting", {}, 0),
    ("pandagpt_engine_step_seconds_count", {}, 6 + 3 + 6),
    ("pandagpt_engine_step_seconds_sum", {}, lambda value: value >= 15 * STEP_S),
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
# Metrics that this run leaves at 0, with the tests that count them.
ELSEWHERE = {
    "pandagpt_dead_letters": "broker/test_queue_metrics.py",
    "pandagpt_encode_busy_seconds": "worker/encoding/test_encoder_executor.py",
    "pandagpt_engine_info": "worker/test_main.py",
    "pandagpt_event_entries_restored": "broker/test_sentinel.py",
    "pandagpt_kv_cache_usage_perc": "worker/test_main.py",
    "pandagpt_num_preemptions": "worker/test_main.py",
    "pandagpt_num_requests_waiting": "worker/test_main.py",
    "pandagpt_prefix_cache_hits": "worker/test_main.py",
    "pandagpt_prefix_cache_queries": "worker/test_main.py",
    "pandagpt_prefix_evictions": "worker/test_main.py",
    "pandagpt_prefix_used_ratio": "worker/test_main.py",
    "pandagpt_queue_bytes": "broker/test_queue_metrics.py",
    "pandagpt_queue_depth": "broker/test_queue_metrics.py",
    "pandagpt_queue_oldest_age_seconds": "broker/test_queue_metrics.py",
    "pandagpt_queue_running": "broker/test_queue_metrics.py",
    "pandagpt_requests_given_up": "broker/test_queue_metrics.py",
    "pandagpt_spec_decode_num_accepted_tokens": "worker/test_main.py",
    "pandagpt_spec_decode_num_draft_tokens": "worker/test_main.py",
    "pandagpt_store_evicted_keys": "broker/test_queue_metrics.py",
    "pandagpt_store_memory_limit_bytes": "broker/test_queue_metrics.py",
    "pandagpt_store_replicas": "broker/test_sentinel.py",
    "pandagpt_store_unreplicated_bytes": "broker/test_sentinel.py",
    "pandagpt_takeovers": "worker/test_takeover.py",
}
HERE = {"pandagpt_intake_waiting_requests", "pandagpt_num_requests_running"}  # the test of what is in hand, below
TESTS = Path(__file__).parents[1]


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


def family(sample: str) -> str:
    return re.sub(r"_(total|count|sum|bucket)$", "", sample)


def test_every_metric_has_a_value_checked_that_is_not_zero(seen: Run) -> None:
    registry = CollectorRegistry()
    GatewayMetrics.on(registry), WorkerMetrics.on(registry)
    came = {family(name) for name, _ in (*seen.gateway, *seen.worker) if name.startswith("pandagpt_")}
    came |= {one.name for one in registry.collect()}  # one whose labels are not known has no sample yet
    checked = {family(name) for name, _, wanted in GATEWAY + WORKER if wanted != 0}
    assert came - checked == {*ELSEWHERE, *HERE}
    for name, file in ELSEWHERE.items():
        assert name in (TESTS / file).read_text(encoding="utf-8"), f"{file} no longer has {name}"


@dataclass
class Held(FakeRuntime):
    """Encodes nothing until `go` is set."""

    go: threading.Event = field(default_factory=threading.Event)

    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        assert self.go.wait(60)
        return super().encode(modality, arrays)


def test_what_is_in_hand_is_shown_while_it_is(valkey: Valkey) -> None:
    runtime = Held(hold_after=2)
    image = {"type": "image_url", "image_url": {"url": data_url(picture())}}
    asked = body("", messages=[{"role": "user", "content": [image]}], max_tokens=30)
    with serving(make_settings(valkey)) as (url, house), worker_thread(valkey.settings, runtime) as worker:

        def shows(name: str, wanted: float, labels: dict[str, str] | None = None) -> None:
            registry = house.registry if "http" in name or "lookups" in name else worker.registry
            until = time.monotonic() + 20
            while registry.get_sample_value(name, labels or {}) != wanted:
                assert time.monotonic() < until, f"{name} never was {wanted}"
                time.sleep(0.005)

        def send() -> threading.Thread:
            sender = threading.Thread(target=streamed, args=(url, asked))
            sender.start()
            return sender

        first = send()
        shows("pandagpt_intake_waiting_requests", 1)
        runtime.go.set()
        shows("pandagpt_num_requests_running", 1)
        shows("pandagpt_intake_waiting_requests", 0)
        shows("pandagpt_http_requests_in_progress", 1)
        runtime.hold_after = None
        first.join()
        send().join()
        shows("pandagpt_num_requests_running", 0)
        shows("pandagpt_http_requests_in_progress", 0)
        shows("pandagpt_gateway_media_lookups_total", 1, {**IMAGE, "outcome": "hit"})
        shows("pandagpt_request_success_total", 2, {"finished_reason": "stop"})
        assert worker.registry.get_sample_value("pandagpt_embedding_lookups_total", {**IMAGE, "outcome": "hit"}) == 1


def test_the_first_token_is_timed_as_the_caller_times_it(seen: Run) -> None:
    waited = seen.gateway[key("pandagpt_time_to_first_token_seconds_sum", FAKE)]
    assert 0 < seen.first_s < seen.total_s
    assert 3 * STEP_S <= waited <= seen.all_s


def test_the_last_token_is_timed_as_the_callers_time_it(seen: Run) -> None:
    """A token is late or early by the machine's load, so no single gap has a least length; all of a stream have."""
    first = seen.gateway[key("pandagpt_time_to_first_token_seconds_sum", FAKE)]
    between = seen.gateway[key("pandagpt_inter_token_latency_seconds_sum", FAKE)]
    assert (6 + 2 + 6) * STEP_S <= first + between <= seen.all_s


@pytest.mark.parametrize("name", ["request_prefill_time", "request_decode_time", "engine_step"])
def test_the_worker_is_not_busy_for_longer_than_callers_wait(seen: Run, name: str) -> None:
    assert seen.worker[key(f"pandagpt_{name}_seconds_sum", {})] <= seen.all_s


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

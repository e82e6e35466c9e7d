"""One trace a request, over gateway, store and worker, into a collector of this process; and what is so without one."""

import logging
from collections.abc import Iterator

import httpx
import pytest

from service.settings import Settings, SettingsError, TracingSettings
from service.tracing import NoTracer, make_tracer, valid_traceparent
from tests.conftest import Valkey
from tests.fakes import FakeRecogniser, FakeRuntime, worker_thread
from tests.gateway.conftest import serving
from tests.security.neighbours import data_url, picture
from tests.sounds import sound
from tests.tracing.collector import Collector, collecting
from tests.wire import until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{TRACE}-00f067aa0ba902b7-01"
CANARY = "canary-7d1f"


def body(**changed: object) -> dict[str, object]:
    image = {"type": "image_url", "image_url": {"url": data_url(picture())}}
    content = [image, {"type": "text", "text": CANARY}]
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 4, "stream": True, **changed}


@pytest.fixture
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.sdk", reason="no OpenTelemetry here: pip install -e .[otel]")
    with collecting() as collector:
        yield collector


def settings(valkey: Valkey, collector: Collector | None) -> Settings:
    tracing = {"otlp_endpoint": collector.url if collector else None}
    return Settings(store=valkey.settings, decode={"processes": 1}, tracing=tracing)


async def test_one_trace_goes_from_the_caller_to_the_worker(
    valkey: Valkey, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    given = settings(valkey, collector)
    tracer = make_tracer(given.tracing, "worker")
    with (
        caplog.at_level(logging.INFO),
        worker_thread(valkey.settings, FakeRuntime(step_delay=0.02), tracer=tracer),
        serving(given) as (url, _),
    ):
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            answer = await client.post("/v1/chat/completions", json=body(), headers={"traceparent": CALLER})
            assert answer.status_code == 200
        await until(lambda: collector.named("process") and collector.named("POST /v1/chat/completions"))
    tracer.close()
    spans = {span.name: span for span in collector.spans}
    assert set(spans) >= {"receive", "decode media", "submit", "first token", "relay", "queue", "encode", "prefill"}
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    server, worker = spans["POST /v1/chat/completions"], spans["process"]
    assert server.parent_span_id.hex() == "00f067aa0ba902b7"
    assert worker.parent_span_id == server.span_id
    assert {spans[name].parent_span_id for name in ("receive", "submit", "first token")} == {server.span_id}
    assert {spans[name].parent_span_id for name in ("queue", "encode", "prefill", "decode")} == {worker.span_id}
    order = [spans[name].start_time_unix_nano for name in ("receive", "decode media", "submit")]
    assert order == sorted(order)
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in spans.values())
    assert spans["decode"].end_time_unix_nano - spans["decode"].start_time_unix_nano >= 3 * 0.02 * 1e9
    (line,) = [record for record in caplog.records if record.getMessage() == "request"]
    assert (line.trace_id, line.outcome, line.completion_tokens) == (TRACE, "done", 4)


async def test_no_prompt_and_no_medium_is_in_what_is_exported(valkey: Valkey, collector: Collector) -> None:
    given = settings(valkey, collector)
    tracer = make_tracer(given.tracing, "worker")
    with worker_thread(valkey.settings, tracer=tracer), serving(given) as (url, _):
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            await client.post("/v1/chat/completions", json=body())
            await client.post("/v1/chat/completions", json=body(temperature=CANARY))
        await until(lambda: sum(span.name.startswith("POST") for span in collector.spans) == 2)
    tracer.close()
    assert collector.named("process") is not None
    assert all(CANARY.encode() not in sent and picture() not in sent for sent in collector.bodies)


async def test_a_failure_inside_a_stream_is_an_error_of_both_spans(valkey: Valkey, collector: Collector) -> None:
    given = settings(valkey, collector)
    tracer = make_tracer(given.tracing, "worker")
    ask = {"messages": [{"role": "user", "content": "FAULT-SEQUENCE"}], "stream": True}
    with worker_thread(valkey.settings, tracer=tracer), serving(given) as (url, _):
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            assert (await client.post("/v1/chat/completions", json=ask)).status_code == 200
        await until(lambda: collector.named("process") and collector.named("POST /v1/chat/completions"))
    tracer.close()
    for name in ("process", "POST /v1/chat/completions"):
        span = collector.named(name)
        assert span.status.code == 2, name
        assert {one.key: one.value.string_value for one in span.attributes}["error.type"] == "engine_error"


async def test_probes_and_scrapes_are_not_traced(valkey: Valkey, collector: Collector) -> None:
    with serving(settings(valkey, collector)) as (url, _):
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            for path in ("/health/live", "/health/ready", "/metrics", "/v1/models"):
                await client.get(path)
        await until(lambda: collector.named("GET /v1/models"))
    assert {span.name for span in collector.spans} == {"GET /v1/models"}


async def test_vectors_and_transcripts_have_the_spans_that_answers_have(valkey: Valkey, collector: Collector) -> None:
    with (
        worker_thread(valkey.settings, recogniser=FakeRecogniser()),
        serving(settings(valkey, collector)) as (url, _),
    ):
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            assert (await client.post("/v1/embeddings", json={"input": "x"})).status_code == 200
            await until(lambda: collector.named("POST /v1/embeddings"))
            assert {"receive", "decode media", "submit"} <= {span.name for span in collector.spans}
            collector.bodies.clear()
            assert (await client.post("/v1/audio/transcriptions", files={"file": sound()})).status_code == 200
            await until(lambda: collector.named("POST /v1/audio/transcriptions"))
    names = {span.name for span in collector.spans}
    assert names >= {"receive", "decode media", "submit", "first token", "relay"}


async def test_without_an_endpoint_the_caller_s_trace_is_still_named_in_the_log(
    valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), worker_thread(valkey.settings), serving(settings(valkey, None)) as (url, _):
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            await client.post("/v1/chat/completions", json=body(), headers={"traceparent": CALLER})
            await client.post("/v1/chat/completions", json=body(), headers={"traceparent": "evil"})
    first, second = [record for record in caplog.records if record.getMessage() == "request"]
    assert first.trace_id == TRACE
    assert not hasattr(second, "trace_id")


@pytest.mark.parametrize(
    ("given", "kept"),
    [(CALLER, True), (None, False), ("", False), (CALLER.upper(), False), (CALLER + "x", False),
     (f"00-{'0' * 32}-00f067aa0ba902b7-01", False), (f"00-{TRACE}-{'0' * 16}-01", False)],
)  # fmt: skip
def test_a_malformed_traceparent_is_none(given: str | None, kept: bool) -> None:
    assert valid_traceparent(given) == (given if kept else None)


def test_tracing_is_off_unless_an_endpoint_is_set() -> None:
    assert isinstance(make_tracer(TracingSettings(), "gateway"), NoTracer)


def test_an_endpoint_without_the_extra_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "service.tracing.otel", None)
    with pytest.raises(SettingsError, match="otel"):
        make_tracer(TracingSettings(otlp_endpoint="http://127.0.0.1:4318"), "gateway")

"""A request that has ended, as a worker's metrics and as spans, from the times that its job noted on its way."""

import time

from service.broker.protocol import End, Failed
from service.metrics import WorkerMetrics
from service.tracing import AttributeValue, Tracer
from service.worker.jobs import Job


def count_end(metrics: WorkerMetrics, end: End) -> None:
    """An end of a request that was not run."""
    if isinstance(end, Failed):
        metrics.requests.labels(end.code).inc()
    else:
        metrics.requests.labels("cancelled" if end.cancelled else "done").inc()


def count_and_trace(metrics: WorkerMetrics, tracer: Tracer, job: Job) -> None:
    """A job that has ended, once."""
    _count(metrics, job)
    if tracer.enabled:
        _trace(tracer, job)


def _count(metrics: WorkerMetrics, job: Job) -> None:
    metrics.requests.labels(job.outcome).inc()
    if job.first_token_at:
        metrics.prefill_seconds.observe(max(0.0, job.first_token_at - job.entered_at))
        metrics.decode_seconds.observe(max(0.0, time.time() - job.first_token_at))
    if job.outcome == "done" and job.prompt_tokens:
        metrics.request_prompt_tokens.observe(job.prompt_tokens)
        metrics.request_generation_tokens.observe(job.completion_tokens)


def _trace(tracer: Tracer, job: Job) -> None:
    """queue, encode, prefill and decode below one span, which continues the gateway's."""
    request, now = job.delivery.request, time.time()
    traced = tracer.begin(request.traceparent, "process", "consumer", job.taken_at)
    traced.add("queue", min(request.created, job.taken_at), job.taken_at)
    encoded_at = job.entered_at or now
    if request.media:
        traced.add("encode", job.taken_at, encoded_at, {"pandagpt.media": len(request.media)})
    if job.first_token_at:
        traced.add("prefill", job.entered_at, job.first_token_at, {"gen_ai.usage.input_tokens": job.prompt_tokens})
        traced.add("decode", job.first_token_at, now)
    attributes: dict[str, AttributeValue] = {
        "gen_ai.request.model": request.model,
        "gen_ai.usage.output_tokens": job.completion_tokens,
        "pandagpt.request_id": request.id,
        "pandagpt.priority": request.priority,
        "pandagpt.cached_media": job.cached_items,
        "pandagpt.attempt": job.delivery.writer.attempt,
        "pandagpt.outcome": job.outcome,
    }
    traced.end("process", attributes, None if job.outcome in ("done", "cancelled") else job.outcome, now)

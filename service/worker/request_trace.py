"""The spans of a request that a worker has ended, from the times that its job noted: nothing is done on its way."""

import time

from service.tracing import Tracer, Value
from service.worker.jobs import Job


def trace_job(tracer: Tracer, job: Job) -> None:
    """queue, encode, prefill and decode below one span, which continues the gateway's. Once a job."""
    request, now = job.delivery.request, time.time()
    traced = tracer.begin(request.traceparent, "process", "consumer", job.taken_at)
    traced.add("queue", min(request.created, job.taken_at), job.taken_at)
    encoded_at = job.entered_at or now
    if request.media:
        traced.add("encode", job.taken_at, encoded_at, {"pandagpt.media": len(request.media)})
    if job.first_token_at:
        traced.add("prefill", job.entered_at, job.first_token_at, {"gen_ai.usage.input_tokens": job.prompt_tokens})
        traced.add("decode", job.first_token_at, now)
    attributes: dict[str, Value] = {
        "gen_ai.request.model": request.model,
        "gen_ai.usage.output_tokens": sum(len(choice.tokens) for choice in job.choices),
        "pandagpt.request_id": request.id,
        "pandagpt.priority": request.priority,
        "pandagpt.cached_media": job.cached_items,
        "pandagpt.attempt": job.delivery.writer.attempt,
        "pandagpt.outcome": job.outcome,
    }
    traced.end("process", attributes, None if job.outcome in ("done", "cancelled") else job.outcome, now)

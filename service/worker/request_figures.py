"""A request that has ended, as a worker's metrics: how, after which times, and how long prompt and answer were."""

import time

from pandagpt_core.types import FinishReason
from service.broker.protocol import End, Failed
from service.metrics import WorkerMetrics
from service.worker.jobs import Job


def count_end(metrics: WorkerMetrics, end: End) -> None:
    """An end of a request that was not run."""
    if isinstance(end, Failed):
        metrics.requests.labels(end.code).inc()
    else:
        metrics.requests.labels("cancelled" if end.cancelled else "done").inc()


def count_job(metrics: WorkerMetrics, job: Job) -> None:
    """A job that has ended, once."""
    metrics.requests.labels(job.outcome).inc()
    if job.first_token_at:
        metrics.prefill_seconds.observe(max(0.0, job.first_token_at - job.entered_at))
        metrics.decode_seconds.observe(max(0.0, time.time() - job.first_token_at))
    if job.outcome == "done" and job.prompt_tokens:
        metrics.request_prompt_tokens.observe(job.prompt_tokens)
        metrics.request_generation_tokens.observe(sum(len(choice.tokens) for choice in job.choices))


def count_finish(metrics: WorkerMetrics, reason: FinishReason | None) -> None:
    """A choice's last token."""
    if reason in ("stop", "length"):
        metrics.finishes.labels(reason).inc()

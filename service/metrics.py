"""Every metric of the service, on a registry that is passed in; nothing global.

Names follow Prometheus: base units, `_total` on counters. No label has an unbounded set of values.
"""

from dataclasses import dataclass
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class GatewayMetrics:
    """What a gateway counts. `endpoint` is a route's template (never a raw path), `status` the HTTP status."""

    requests: Counter
    request_seconds: Histogram
    first_token_seconds: Histogram
    tokens: Counter
    streams: Gauge
    queue_depth: Gauge
    media_seconds: Histogram
    media_failures: Counter
    media_bytes: Counter
    embedding_cache: Counter

    @classmethod
    def on(cls, registry: CollectorRegistry) -> Self:
        """Register all of them. Raises ValueError when the registry has them already."""
        return cls(
            requests=Counter("pandagpt_requests", "Requests answered", ["endpoint", "status"], registry=registry),
            request_seconds=Histogram(
                "pandagpt_request_seconds",
                "From a request's arrival to the end of its answer",
                ["endpoint"],
                buckets=_LONG,
                registry=registry,
            ),
            first_token_seconds=Histogram(
                "pandagpt_first_token_seconds",
                "From a request's arrival to its first token",
                ["model"],
                buckets=_LONG,
                registry=registry,
            ),
            tokens=Counter("pandagpt_tokens_relayed", "Tokens sent to callers", ["model"], registry=registry),
            streams=Gauge("pandagpt_streams", "Requests being answered now", registry=registry),
            queue_depth=Gauge(
                "pandagpt_queue_depth", "Requests that wait for a worker, as last seen", ["model"], registry=registry
            ),
            media_seconds=Histogram(
                "pandagpt_media_decode_seconds",
                "Time to turn a medium's bytes into the encoder's array",
                ["modality"],
                buckets=_SHORT,
                registry=registry,
            ),
            media_failures=Counter(
                "pandagpt_media_decode_failures",
                "Media that could not be decoded: invalid, limit, time, crash",
                ["modality", "reason"],
                registry=registry,
            ),
            media_bytes=Counter("pandagpt_media_bytes", "Media received", ["modality"], registry=registry),
            embedding_cache=Counter(
                "pandagpt_gateway_media_lookups",
                "Looks into the store for a medium's embedding or array: hit or miss",
                ["modality", "outcome"],
                registry=registry,
            ),
        )


@dataclass(frozen=True, slots=True)
class WorkerMetrics:
    """What a worker counts."""

    requests: Counter
    running: Gauge
    waiting: Gauge
    step_seconds: Histogram
    step_sequences: Histogram
    prompt_tokens: Counter
    tokens: Counter
    cache_used_ratio: Gauge
    engine_waiting: Gauge
    engine_info: Gauge
    preemptions: Counter
    prefix_lookups: Counter
    prefix_asked: Counter
    prefix_hits: Counter
    prefix_evictions: Counter
    prefix_used_ratio: Gauge
    encode_batch: Histogram
    encode_seconds: Histogram
    encode_busy: Gauge
    embedding_cache: Counter
    queue_seconds: Histogram
    takeovers: Counter

    @classmethod
    def on(cls, registry: CollectorRegistry) -> Self:
        """Register all of them. Raises ValueError when the registry has them already."""
        return cls(
            requests=Counter(
                "pandagpt_worker_requests",
                "Requests ended, by outcome: done, cancelled or the error's code",
                ["outcome"],
                registry=registry,
            ),
            running=Gauge("pandagpt_running_sequences", "Sequences in the engine", registry=registry),
            waiting=Gauge("pandagpt_waiting_requests", "Requests taken but not yet in the engine", registry=registry),
            step_seconds=Histogram(
                "pandagpt_step_seconds", "Time of one engine step", buckets=_SHORT, registry=registry
            ),
            step_sequences=Histogram(
                "pandagpt_step_sequences", "Sequences that got a token in a step", buckets=_SIZES, registry=registry
            ),
            prompt_tokens=Counter("pandagpt_prompt_tokens", "Prompt positions computed", registry=registry),
            tokens=Counter("pandagpt_generated_tokens", "Tokens generated", registry=registry),
            cache_used_ratio=Gauge(
                "pandagpt_cache_used_ratio",
                "Part of the key-value cache that running sequences hold or have reserved, 0 to 1",
                registry=registry,
            ),
            engine_waiting=Gauge(
                "pandagpt_engine_waiting_sequences", "Sequences in the engine that wait for room", registry=registry
            ),
            engine_info=Gauge(
                "pandagpt_engine_info",
                "1, by the engine that computes and what it reserves for a sequence: longest or current",
                ["engine", "reserve"],
                registry=registry,
            ),
            preemptions=Counter(
                "pandagpt_preemptions",
                "Sequences put out of the engine to be read again: cache short, or an interactive one came",
                registry=registry,
            ),
            prefix_lookups=Counter(
                "pandagpt_prefix_lookups",
                "Requests whose prompt began with a kept prefix (hit) or not (miss), as far as known when admitted: "
                "with the engine vllm none is",
                ["outcome"],
                registry=registry,
            ),
            prefix_asked=Counter(
                "pandagpt_prefix_asked_tokens", "Tokens looked up in the prefix cache", registry=registry
            ),
            prefix_hits=Counter(
                "pandagpt_prefix_hit_tokens", "Tokens found there and not computed again", registry=registry
            ),
            prefix_evictions=Counter(
                "pandagpt_prefix_evictions", "Blocks of the prefix cache given to newer prefixes", registry=registry
            ),
            prefix_used_ratio=Gauge(
                "pandagpt_prefix_used_ratio", "Part of the prefix cache in use, 0 to 1", registry=registry
            ),
            encode_batch=Histogram(
                "pandagpt_encode_batch", "Media encoded at once", ["modality"], buckets=_SIZES, registry=registry
            ),
            encode_seconds=Histogram(
                "pandagpt_encode_seconds",
                "Time of one encoder batch",
                ["modality"],
                buckets=_SHORT,
                registry=registry,
            ),
            encode_busy=Gauge(
                "pandagpt_encode_busy_seconds",
                "How long the encoder batch in hand has taken so far; 0: none is",
                ["modality"],
                registry=registry,
            ),
            embedding_cache=Counter(
                "pandagpt_embedding_lookups",
                "Looks into the store for an embedding: hit or miss",
                ["modality", "outcome"],
                registry=registry,
            ),
            queue_seconds=Histogram(
                "pandagpt_queue_seconds",
                "From a request's creation to a worker taking it",
                buckets=_LONG,
                registry=registry,
            ),
            takeovers=Counter(
                "pandagpt_takeovers", "Requests taken over from a worker that fell silent", registry=registry
            ),
        )

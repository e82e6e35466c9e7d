"""Metrics of a gateway, as its callers see it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pandagpt_core.types import Modality
from service.metrics import buckets

PHASES = ("response", "stream")
CLASSES = ("anonymous", "user", "reader", "metrics", "admin", "custom")


@dataclass(frozen=True, slots=True)
class GatewayMetrics:
    """`endpoint` is a route's template (never a raw path), `status` the HTTP status.

    Times begin with the first byte of the HTTP request and end as the gateway sends, as by a caller's own clock but for
    the network. `phase` of a failure: `response` where it is an HTTP status, `stream` inside a 200.
    """

    requests: Counter
    request_seconds: Histogram
    in_progress: Gauge
    failures: Counter
    first_token_seconds: Histogram
    inter_token_seconds: Histogram
    e2e_seconds: Histogram
    tokens: Counter
    usage_tokens: Counter
    media_seconds: Histogram
    media_failures: Counter
    media_bytes: Counter
    media_lookups: Counter
    loop_lag_seconds: Histogram

    @classmethod
    def on(cls, registry: CollectorRegistry, codes: Iterable[str] = ()) -> Self:
        """Register all of them; failures of these `codes` begin at 0. Raises ValueError when they are there already."""
        answer = ["model", "priority"]
        made = cls(
            requests=Counter(
                "pandagpt_http_requests", "HTTP requests answered", ["endpoint", "status"], registry=registry
            ),
            request_seconds=Histogram(
                "pandagpt_http_request_duration_seconds",
                "From an HTTP request's first byte to the end of its answer",
                ["endpoint"],
                buckets=buckets.HTTP,
                registry=registry,
            ),
            in_progress=Gauge(
                "pandagpt_http_requests_in_progress", "HTTP requests being answered now", registry=registry
            ),
            failures=Counter(
                "pandagpt_request_failures",
                "Requests that failed, by the error's code; health checks and metrics left out. phase=response: the "
                "HTTP status says so; phase=stream: inside a stream that began as a 200",
                ["code", "phase"],
                registry=registry,
            ),
            first_token_seconds=Histogram(
                "pandagpt_time_to_first_token_seconds",
                "From a request's first byte to its first content, uploads and decoding of media included",
                answer,
                buckets=buckets.FIRST_TOKEN,
                registry=registry,
            ),
            inter_token_seconds=Histogram(
                "pandagpt_inter_token_latency_seconds",
                "Between one choice's pieces of content",
                answer,
                buckets=buckets.INTER_TOKEN,
                registry=registry,
            ),
            e2e_seconds=Histogram(
                "pandagpt_e2e_request_latency_seconds",
                "From a request's first byte to the end of its answer, of answers that ended well",
                answer,
                buckets=buckets.REQUEST,
                registry=registry,
            ),
            tokens=Counter("pandagpt_relayed_tokens", "Tokens of answers as they pass", ["model"], registry=registry),
            usage_tokens=Counter(
                "pandagpt_usage_tokens",
                "Tokens charged, by the class of the caller's key and the kind: prompt, completion",
                ["key_class", "kind"],
                registry=registry,
            ),
            media_seconds=Histogram(
                "pandagpt_media_decode_seconds",
                "Time to turn a medium's bytes into the encoder's array, the wait for a decoding child included",
                ["modality"],
                buckets=buckets.STEP,
                registry=registry,
            ),
            media_failures=Counter(
                "pandagpt_media_decode_failures",
                "Media that could not be decoded, by the error's code",
                ["modality", "code"],
                registry=registry,
            ),
            media_bytes=Counter("pandagpt_media_received_bytes", "Media received", ["modality"], registry=registry),
            media_lookups=Counter(
                "pandagpt_gateway_media_lookups",
                "Looks into the store for a medium's embedding or array: hit or miss",
                ["modality", "outcome"],
                registry=registry,
            ),
            loop_lag_seconds=Histogram(
                "pandagpt_event_loop_lag_seconds",
                "How much later than asked the event loop ran a timer",
                buckets=buckets.LAG,
                registry=registry,
            ),
        )
        made._begin(codes)
        return made

    def _begin(self, codes: Iterable[str]) -> None:
        for code in codes:
            for phase in PHASES:
                self.failures.labels(code, phase)
        for key_class in CLASSES:
            for kind in ("prompt", "completion"):
                self.usage_tokens.labels(key_class, kind)
        for modality in Modality:
            self.media_bytes.labels(modality.value)
            self.media_failures.labels(modality.value, "invalid_media")
            for outcome in ("hit", "miss"):
                self.media_lookups.labels(modality.value, outcome)

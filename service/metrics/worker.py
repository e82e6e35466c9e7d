"""Metrics of a worker. All are of the one model that the worker serves (`Labelled` adds its name)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from pandagpt_core.types import Modality
from service.metrics import buckets

FINISHES = ("stop", "length")
# Ends that a worker gives: two good ones and the codes of its errors.
OUTCOMES = (
    "done", "cancelled", "worker_lost", "deadline_exceeded", "engine_error", "internal_error", "invalid_request",
    "invalid_media", "context_length_exceeded", "store_unavailable",
)  # fmt: skip
PRIORITIES = ("interactive", "batch")


@dataclass(frozen=True, slots=True)
class WorkerMetrics:
    """A takeover counts a request once more in what is counted by work (`prompt_tokens`), once in what is by ends."""

    requests: Counter
    finishes: Counter
    queue_seconds: Histogram
    prefill_seconds: Histogram
    decode_seconds: Histogram
    request_prompt_tokens: Histogram
    request_generation_tokens: Histogram
    running: Gauge
    waiting: Gauge
    engine_waiting: Gauge
    step_seconds: Histogram
    step_sequences: Histogram
    prompt_tokens: Counter
    tokens: Counter
    cache_used_ratio: Gauge
    engine_info: Gauge
    preemptions: Counter
    drafted: Counter
    accepted: Counter
    prefix_lookups: Counter
    prefix_asked: Counter
    prefix_hits: Counter
    prefix_evictions: Counter
    prefix_used_ratio: Gauge
    encode_batch: Histogram
    encode_seconds: Histogram
    encode_busy: Gauge
    embedding_cache: Counter
    takeovers: Counter
    restored_entries: Counter
    loop_turned: Gauge

    @classmethod
    def on(cls, registry: CollectorRegistry) -> Self:
        """Register all of them. Raises ValueError when the registry has them already."""
        made = cls(
            requests=Counter(
                "pandagpt_worker_requests",
                "Requests ended, by outcome: done, cancelled or the error's code",
                ["outcome"],
                registry=registry,
            ),
            finishes=Counter(
                "pandagpt_request_success",
                "Choices that ended well, by reason: stop, length",
                ["finished_reason"],
                registry=registry,
            ),
            queue_seconds=Histogram(
                "pandagpt_request_queue_time_seconds",
                "From a request's creation to a worker taking it",
                ["priority"],
                buckets=buckets.REQUEST,
                registry=registry,
            ),
            prefill_seconds=Histogram(
                "pandagpt_request_prefill_time_seconds",
                "From a request's entry into the engine to its first token",
                buckets=buckets.REQUEST,
                registry=registry,
            ),
            decode_seconds=Histogram(
                "pandagpt_request_decode_time_seconds",
                "From a request's first token to its end",
                buckets=buckets.REQUEST,
                registry=registry,
            ),
            request_prompt_tokens=Histogram(
                "pandagpt_request_prompt_tokens", "Tokens of a prompt", buckets=buckets.TOKENS, registry=registry
            ),
            request_generation_tokens=Histogram(
                "pandagpt_request_generation_tokens",
                "Tokens of an answer, all choices",
                buckets=buckets.TOKENS,
                registry=registry,
            ),
            running=Gauge("pandagpt_num_requests_running", "Sequences in the engine", registry=registry),
            waiting=Gauge(
                "pandagpt_intake_waiting_requests", "Requests taken but not yet in the engine", registry=registry
            ),
            engine_waiting=Gauge(
                "pandagpt_num_requests_waiting", "Sequences in the engine that wait for room", registry=registry
            ),
            step_seconds=Histogram(
                "pandagpt_engine_step_seconds", "Time of one engine step", buckets=buckets.STEP, registry=registry
            ),
            step_sequences=Histogram(
                "pandagpt_engine_step_sequences",
                "Sequences that got a token in a step",
                buckets=buckets.BATCH,
                registry=registry,
            ),
            prompt_tokens=Counter(
                "pandagpt_prompt_tokens",
                "Prompt tokens of sequences that entered the engine, found in the prefix cache or not",
                registry=registry,
            ),
            tokens=Counter("pandagpt_generation_tokens", "Tokens generated", registry=registry),
            cache_used_ratio=Gauge(
                "pandagpt_kv_cache_usage_perc",
                "Part of the key-value cache that running sequences hold or have reserved, 0 to 1",
                registry=registry,
            ),
            engine_info=Gauge(
                "pandagpt_engine_info",
                "1, by the engine that computes and what it reserves for a sequence: longest or current",
                ["engine", "reserve"],
                registry=registry,
            ),
            preemptions=Counter(
                "pandagpt_num_preemptions",
                "Sequences preempted: the cache was full, or an interactive one arrived",
                registry=registry,
            ),
            drafted=Counter(
                "pandagpt_spec_decode_num_draft_tokens",
                "Tokens that were drafted for a sequence and computed beside its next one",
                registry=registry,
            ),
            accepted=Counter(
                "pandagpt_spec_decode_num_accepted_tokens",
                "Drafted tokens that were the answer's",
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
                "pandagpt_prefix_cache_queries", "Tokens looked up in the prefix cache", registry=registry
            ),
            prefix_hits=Counter(
                "pandagpt_prefix_cache_hits", "Tokens found there and not computed again", registry=registry
            ),
            prefix_evictions=Counter(
                "pandagpt_prefix_evictions", "Blocks of the prefix cache given to newer prefixes", registry=registry
            ),
            prefix_used_ratio=Gauge(
                "pandagpt_prefix_used_ratio", "Part of the prefix cache in use, 0 to 1", registry=registry
            ),
            encode_batch=Histogram(
                "pandagpt_encode_batch", "Media encoded at once", ["modality"], buckets=buckets.BATCH, registry=registry
            ),
            encode_seconds=Histogram(
                "pandagpt_encode_seconds",
                "Time of one encoder batch",
                ["modality"],
                buckets=buckets.STEP,
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
            takeovers=Counter(
                "pandagpt_takeovers", "Requests taken over from a worker that fell silent", registry=registry
            ),
            restored_entries=Counter(
                "pandagpt_event_entries_restored",
                "Entries of answers that the store had lost, in a failover or when it was killed, and that this worker "
                "wrote again",
                registry=registry,
            ),
            loop_turned=Gauge(
                "pandagpt_loop_last_turn_timestamp_seconds",
                "Unix time of the last turn of the worker's loop",
                registry=registry,
            ),
        )
        made._begin(OUTCOMES)
        return made

    def _begin(self, outcomes: Iterable[str]) -> None:
        for outcome in outcomes:
            self.requests.labels(outcome)
        for reason in FINISHES:
            self.finishes.labels(reason)
        for priority in PRIORITIES:
            self.queue_seconds.labels(priority)
        for outcome in ("hit", "miss"):
            self.prefix_lookups.labels(outcome)
            for modality in Modality:
                self.embedding_cache.labels(modality.value, outcome)


class Labelled(Collector):
    """The metrics of one registry on another, each with labels that are the same for the whole process.

    `outer.register(Labelled(inner, {"model": name}))`.
    """

    def __init__(self, inner: CollectorRegistry, labels: Mapping[str, str]) -> None:
        self._inner, self._labels = inner, dict(labels)

    def describe(self) -> Iterator[Metric]:
        """Names alone, so that registering it collects nothing yet."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        for family in self._inner.collect():
            family.samples = [self._with_labels(sample) for sample in family.samples]
            yield family

    def _with_labels(self, sample: Sample) -> Sample:
        return sample._replace(labels={**self._labels, **sample.labels})

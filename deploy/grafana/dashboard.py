"""Writes dashboard.json beside it: `python deploy/grafana/dashboard.py`. A test holds the two together.

Needs `grafana-foundation-sdk`. A panel is a line of the tables below: title, what it shows, unit, queries. In a query
`W` stands for the chosen model and instances of workers, `G` for those of gateways; what is read from the store is the
same in every process, hence `max`.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

G = 'instance=~"$instance"'
GM = f'model=~"$model",{G}'
W = f'model=~"$model",{G}'
M = 'model=~"$model"'
RATE = "[$__rate_interval]"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT, WIDTH = 8, 8


@dataclass(frozen=True)
class Panel:
    """One graph: queries as (expression, legend). `limit` draws a red line there."""

    title: str
    about: str
    unit: str
    queries: Sequence[tuple[str, str]]
    limit: float | None = None


@dataclass(frozen=True)
class Row:
    title: str
    panels: Sequence[Panel] = field(default_factory=tuple)


def quantiles(name: str, labels: str, by: str = "model") -> list[tuple[str, str]]:
    """Median, 95th and 99th percentile of a histogram."""
    text = f"sum by (le, {by}) (rate({name}_bucket{{{labels}}}{RATE}))"
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return [(f"histogram_quantile({q}, {text})", f"{legend} p{int(q * 100)}") for q in (0.5, 0.95, 0.99)]


def mean(name: str, labels: str, by: str = "model") -> tuple[str, str]:
    parts = [f"sum by ({by}) (rate({name}_{part}{{{labels}}}{RATE}))" for part in ("sum", "count")]
    return f"{parts[0]} / {parts[1]}", f"{{{{{by}}}}} mean"


def rate(name: str, labels: str, by: str) -> tuple[str, str]:
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return f"sum by ({by}) (rate({name}{{{labels}}}{RATE}))", legend


OVERVIEW = [
    Panel("Workers ready", "Workers that take requests, by model.", "none",
          [(f'max by (model) (pandagpt_workers{{{M},state="ready"}})', "{{model}}")]),
    Panel("Requests a second", "Answers to inference requests, by model.", "reqps",
          [(f"sum by (model) (rate(pandagpt_time_to_first_token_seconds_count{{{GM}}}{RATE}))", "{{model}}")]),
    Panel("First token, p95", "From a request's first byte to its first content, uploads and decoding included.", "s",
          [quantiles("pandagpt_time_to_first_token_seconds", GM)[1]], 10),
    Panel("Tokens a second", "Tokens that reach callers.", "none",
          [rate("pandagpt_relayed_tokens_total", GM, "model")]),
    Panel("Waiting", "Requests that no worker has taken yet.", "none",
          [(f"sum by (model) (max by (model, priority) (pandagpt_queue_depth{{{M}}}))", "{{model}}")], 50),
    Panel("Server errors", "Requests that failed by the server's fault, as a status or inside a stream.", "reqps",
          [(f'sum(rate(pandagpt_request_failures_total{{{G},code=~"internal_error|engine_error|worker_lost|'
            f'deadline_exceeded|store_unavailable"}}{RATE}))', "all")], 0.1),
]  # fmt: skip

ROWS = [
    Row("Latency, as callers see it", [
        Panel("Time to first token", "From a request's first byte to its first content, uploads and decoding included.",
              "s", [*quantiles("pandagpt_time_to_first_token_seconds", GM),
                    mean("pandagpt_time_to_first_token_seconds", GM)], 10),
        Panel("Time between tokens", "Between one choice's pieces of content.", "s",
              [*quantiles("pandagpt_inter_token_latency_seconds", GM),
               mean("pandagpt_inter_token_latency_seconds", GM)]),
        Panel("Whole answer", "From a request's first byte to the end of an answer that ended well.", "s",
              [*quantiles("pandagpt_e2e_request_latency_seconds", GM),
               mean("pandagpt_e2e_request_latency_seconds", GM)]),
        Panel("Time in the queue", "From a request's creation to a worker taking it, by priority.", "s",
              quantiles("pandagpt_request_queue_time_seconds", W, "priority")),
        Panel("Prefill and decode", "Means of the time from the engine to the first token and from there to the end.",
              "s", [(mean("pandagpt_request_prefill_time_seconds", W)[0], "{{model}} prefill"),
                    (mean("pandagpt_request_decode_time_seconds", W)[0], "{{model}} decode")]),
        Panel("HTTP requests", "95th percentile of the time of any HTTP request, by endpoint.", "s",
              [quantiles("pandagpt_http_request_duration_seconds", G, "endpoint")[1]]),
    ]),
    Row("Throughput", [
        Panel("HTTP requests a second", "By status.", "reqps", [rate("pandagpt_http_requests_total", G, "status")]),
        Panel("Tokens", "Prompt tokens read, tokens generated by workers, tokens relayed to callers, a second.", "none",
              [(rate("pandagpt_prompt_tokens_total", W, "model")[0], "{{model}} prompt"),
               (rate("pandagpt_generation_tokens_total", W, "model")[0], "{{model}} generated"),
               (rate("pandagpt_relayed_tokens_total", GM, "model")[0], "{{model}} relayed")]),
        Panel("Prompt and answer lengths", "Medians of the tokens of prompts and answers.", "none",
              [(quantiles("pandagpt_request_prompt_tokens", W)[0][0], "{{model}} prompt"),
               (quantiles("pandagpt_request_generation_tokens", W)[0][0], "{{model}} answer")]),
        Panel("How answers end", "Choices by finish reason, a second.", "none",
              [rate("pandagpt_request_success_total", W, "finished_reason")]),
        Panel("Usage", "Tokens charged by the class of the key and the kind, a second.", "none",
              [rate("pandagpt_usage_tokens_total", G, "key_class, kind")]),
        Panel("Open requests", "HTTP requests being answered, by gateway.", "none",
              [(f"sum by (instance) (pandagpt_http_requests_in_progress{{{G}}})", "{{instance}}")]),
    ]),
    Row("Queue and workers", [
        Panel("Queue depth", "Requests that wait for a worker, read from the store: true without workers too.", "none",
              [(f"max by (model, priority) (pandagpt_queue_depth{{{M}}})", "{{model}} {{priority}} waiting"),
               (f"max by (model, priority) (pandagpt_queue_running{{{M}}})", "{{model}} {{priority}} held")], 50),
        Panel("Age of the oldest", "How long the oldest request has waited. Scale on it.", "s",
              [(f"max by (model, priority) (pandagpt_queue_oldest_age_seconds{{{M}}})", "{{model}} {{priority}}")], 60),
        Panel("Bytes in the queue", "Unfinished requests with their media.", "bytes",
              [(f"max by (model, priority) (pandagpt_queue_bytes{{{M}}})", "{{model}} {{priority}}")]),
        Panel("Live workers", "By state (ready, draining) and by the version of their package.", "none",
              [(f"max by (model, state) (pandagpt_workers{{{M}}})", "{{model}} {{state}}"),
               (f"max by (model, version) (pandagpt_worker_versions{{{M}}})", "{{model}} version {{version}}")]),
        Panel("Takeovers", "Requests taken over from workers that fell silent.", "none",
              [(f"sum by (model) (increase(pandagpt_takeovers_total{{{W}}}{RATE}))", "{{model}}")]),
        Panel("Given up", "Requests ever given up, and dead letters that are kept.", "none",
              [(f"max by (model) (pandagpt_requests_given_up_total{{{M}}})", "{{model}} ever"),
               (f"max by (model) (pandagpt_dead_letters{{{M}}})", "{{model}} kept")], 1),
    ]),
    Row("Engine and caches", [
        Panel("Sequences", "In the engine, waiting there for room, and waiting for their media.", "none",
              [(f"sum by (model) (pandagpt_num_requests_running{{{W}}})", "{{model}} running"),
               (f"sum by (model) (pandagpt_num_requests_waiting{{{W}}})", "{{model}} wait for room"),
               (f"sum by (model) (pandagpt_intake_waiting_requests{{{W}}})", "{{model}} wait for media")]),
        Panel("Key-value cache",
              "Part that is held or reserved. Near 1 while sequences wait, room is what they wait for.",
              "percentunit", [(f"pandagpt_kv_cache_usage_perc{{{W}}}", "{{instance}} cache"),
                              (f"pandagpt_prefix_used_ratio{{{W}}}", "{{instance}} prefixes")], 0.97),
        Panel("Engine step", "Time of one step, and how many sequences got a token in it (median).", "s",
              [*quantiles("pandagpt_engine_step_seconds", W)]),
        Panel("Sequences in a step", "Median.", "none", [quantiles("pandagpt_engine_step_sequences", W)[0]]),
        Panel("Prefix cache hits", "Part of the tokens, and of the requests, that found a kept prefix.", "percentunit",
              [(f"sum by (model) (rate(pandagpt_prefix_cache_hits_total{{{W}}}{RATE})) / "
                f"sum by (model) (rate(pandagpt_prefix_cache_queries_total{{{W}}}{RATE}))", "{{model}} tokens"),
               (f'sum by (model) (rate(pandagpt_prefix_lookups_total{{{W},outcome="hit"}}{RATE})) / '
                f"sum by (model) (rate(pandagpt_prefix_lookups_total{{{W}}}{RATE}))", "{{model}} requests")]),
        Panel("Preemptions, evictions", "Sequences preempted and computed again; blocks of prefixes dropped.", "none",
              [rate("pandagpt_num_preemptions_total", W, "instance"),
               (rate("pandagpt_prefix_evictions_total", W, "instance")[0], "{{instance}} evicted")]),
        Panel("Drafted tokens", "Tokens of drafts that were computed, and those that were the answer's.", "none",
              [(rate("pandagpt_spec_decode_num_draft_tokens_total", W, "instance")[0], "{{instance}} drafted"),
               (rate("pandagpt_spec_decode_num_accepted_tokens_total", W, "instance")[0], "{{instance}} accepted")]),
        Panel("Engines", "Which engine computes, and what it reserves for a sequence.", "none",
              [(f"sum by (engine, reserve) (pandagpt_engine_info{{{W}}})", "{{engine}} {{reserve}}")]),
        Panel("How requests end in workers", "By outcome.", "none",
              [rate("pandagpt_worker_requests_total", W, "outcome")]),
    ]),
    Row("Media by modality", [
        Panel("Decoding", "95th percentile of the time from bytes to arrays, the wait for a child included.", "s",
              [quantiles("pandagpt_media_decode_seconds", G, "modality")[1]]),
        Panel("Encoding", "95th percentile of the time of an encoder batch.", "s",
              [quantiles("pandagpt_encode_seconds", W, "modality")[1]]),
        Panel("Encoded at once", "Median size of a batch.", "none",
              [quantiles("pandagpt_encode_batch", W, "modality")[0]]),
        Panel("Encoders in hand", "How long the batch in hand has taken.", "s",
              [(f"max by (modality) (pandagpt_encode_busy_seconds{{{W}}})", "{{modality}}")], 120),
        Panel("Media found encoded", "Part of the looks into the store that found an embedding: gateways, workers.",
              "percentunit",
              [(f'sum by (modality) (rate(pandagpt_gateway_media_lookups_total{{{G},outcome="hit"}}{RATE})) / '
                f"sum by (modality) (rate(pandagpt_gateway_media_lookups_total{{{G}}}{RATE}))", "{{modality}} gateway"),
               (f'sum by (modality) (rate(pandagpt_embedding_lookups_total{{{W},outcome="hit"}}{RATE})) / '
                f"sum by (modality) (rate(pandagpt_embedding_lookups_total{{{W}}}{RATE}))", "{{modality}} worker")]),
        Panel("Received and refused", "Bytes received; media that could not be decoded.", "Bps",
              [rate("pandagpt_media_received_bytes_total", G, "modality"),
               (rate("pandagpt_media_decode_failures_total", G, "modality, code")[0], "{{modality}} {{code}}")]),
    ]),
    Row("Errors", [
        Panel("Refused and failed", "Requests that end as an HTTP error, by code; health checks left out.", "reqps",
              [(f'sum by (code) (rate(pandagpt_request_failures_total{{{G},phase="response"}}{RATE})) > 0 or '
                f'sum(rate(pandagpt_request_failures_total{{{G},phase="response"}}{RATE}))', "{{code}}")]),
        Panel("Failed inside a stream", "Requests that fail after a 200 was sent, by code.", "reqps",
              [(f'sum by (code) (rate(pandagpt_request_failures_total{{{G},phase="stream"}}{RATE})) > 0 or '
                f'sum(rate(pandagpt_request_failures_total{{{G},phase="stream"}}{RATE}))', "{{code}}")], 0.1),
    ]),
    Row("Resources", [
        Panel("Store memory", "Used, and the limit (0: none). Full, it takes no request.", "bytes",
              [("max(pandagpt_store_memory_used_bytes)", "used"), ("max(pandagpt_store_memory_limit_bytes)", "limit")]),
        Panel("Store health", "Whether it answers; keys that it dropped.", "none",
              [(f"pandagpt_store_up{{{G}}}", "{{instance}} up"),
               ("max(pandagpt_store_evicted_keys_total)", "evicted")]),
        Panel("Store round trip", "Time of one command at the last scrape.", "s",
              [(f"pandagpt_store_round_trip_seconds{{{G}}}", "{{instance}}")]),
        Panel("Replication", "Writes that no replica has acknowledged: a failover now loses them. Replicas.", "bytes",
              [("max(pandagpt_store_unreplicated_bytes)", "unacknowledged"),
               ("max(pandagpt_store_replicas)", "replicas")]),
        Panel("Written again", "Entries of answers that the store had lost, and that workers wrote again.", "none",
              [(f"sum by (model) (increase(pandagpt_event_entries_restored_total{{{W}}}{RATE}))", "{{model}}")]),
        Panel("Event loop of gateways", "99th percentile of how late timers run. Every open stream waits for it.", "s",
              [quantiles("pandagpt_event_loop_lag_seconds", G, "instance")[2]], 0.5),
        Panel("Loop of workers", "Seconds since its last turn.", "s",
              [(f"time() - pandagpt_loop_last_turn_timestamp_seconds{{{W}}}", "{{instance}}")], 120),
        Panel("Memory", "Resident memory of each process.", "bytes",
              [(f"process_resident_memory_bytes{{{G}}}", "{{job}} {{instance}}")]),
        Panel("Processors", "Seconds of processor a second.", "none",
              [(f"rate(process_cpu_seconds_total{{{G}}}{RATE})", "{{job}} {{instance}}")]),
        Panel("GPU memory", "By device: by tensors of the worker, by all processes, in all. Empty without a GPU.",
              "bytes", [(f"pandagpt_gpu_memory_bytes{{{G}}}", "{{instance}} {{device}} {{kind}}")]),
        Panel("Versions", "Processes by version.", "none",
              [(f"count by (component, version) (pandagpt_build_info{{{G}}})", "{{component}} {{version}}")]),
    ]),
]  # fmt: skip


def _thresholds(limit: float | None) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color="green")]  # type: ignore[arg-type]  # Grafana's own form of "from the bottom"
    if limit is not None:
        steps.append(Threshold(value=limit, color="red"))
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _queries(panel: Panel) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number)).datasource(SOURCE)
        for number, (expression, legend) in enumerate(panel.queries)
    ]


def _graph(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().title(panel.title).description(panel.about).unit(panel.unit).datasource(SOURCE)
    made.height(HEIGHT).span(WIDTH).min(0).fill_opacity(8).thresholds(_thresholds(panel.limit))
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    made.legend(legend.show_legend(True))
    made.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    if panel.limit is not None:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.LINE))
    for query in _queries(panel):
        made.with_target(query)
    return made


def _stat(panel: Panel) -> stat.Panel:
    made = stat.Panel().title(panel.title).description(panel.about).unit(panel.unit).datasource(SOURCE)
    made.height(4).span(4).thresholds(_thresholds(panel.limit))
    for query in _queries(panel):
        made.with_target(query)
    return made


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    made = dashboard.QueryVariable(name).label(label).query(query).datasource(SOURCE)
    return made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True).include_all(True).all_value(".*")


def build() -> str:
    """The dashboard as Grafana imports it."""
    board = dashboard.Dashboard("PandaGPT").uid("pandagpt").tags(["pandagpt", "inference"]).editable()
    board.description("What callers see, what waits, what computes, and what it costs. Made by dashboard.py.")
    board.time("now-1h", "now").refresh("30s").tooltip(DashboardCursorSync.CROSSHAIR).timezone("browser")
    board.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    board.with_variable(_variable("model", "Model", "label_values(pandagpt_workers, model)"))
    board.with_variable(_variable("instance", "Instance", "label_values(pandagpt_build_info, instance)"))
    board.with_row(dashboard.Row("Overview"))
    for panel in OVERVIEW:
        board.with_panel(_stat(panel))
    for row in ROWS:
        board.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            board.with_panel(_graph(panel))
    made = json.loads(json.dumps(board.build(), cls=JSONEncoder))
    return json.dumps(made, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    file = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("dashboard.json")
    file.write_text(build(), encoding="utf-8")

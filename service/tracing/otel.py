"""Spans by OpenTelemetry's SDK, sent in batches to an OTLP endpoint over HTTP by a thread of its own."""

from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.tracing import Attributes, Trace

_KINDS = {"server": SpanKind.SERVER, "consumer": SpanKind.CONSUMER}
_propagator = TraceContextTextMapPropagator()


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


class OtelTracer:
    """One process's tracer. The caller's decision to sample holds; a trace that begins here is sampled by the ratio."""

    enabled = True

    def __init__(self, endpoint: str, ratio: float, process: str) -> None:
        names = {"service.name": f"pandagpt-{process}", "service.version": version("pandagpt")}
        self._provider = TracerProvider(
            resource=Resource.create(names), sampler=ParentBased(TraceIdRatioBased(ratio)), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        self._tracer = self._provider.get_tracer("pandagpt")

    def begin(self, traceparent: str | None, name: str, kind: str, start: float) -> Trace:
        parent = _propagator.extract({"traceparent": traceparent}) if traceparent else Context()
        return OtelTrace(self._tracer, self._tracer.start_span(name, parent, _KINDS[kind], start_time=_ns(start)))

    def close(self) -> None:
        self._provider.shutdown()


class OtelTrace:
    """A request's span and those below it."""

    def __init__(self, tracer: trace.Tracer, span: Span) -> None:
        self._tracer, self._span = tracer, span
        self._context = trace.set_span_in_context(span, Context())

    @property
    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, self._context)
        return carrier.get("traceparent")

    @property
    def trace_id(self) -> str | None:
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    def add(self, name: str, start: float, end: float, attributes: Attributes | None = None) -> None:
        below = self._tracer.start_span(name, self._context, start_time=_ns(start), attributes=attributes)
        below.end(_ns(max(start, end)))

    def end(self, name: str, attributes: Attributes, error: str | None = None, at: float | None = None) -> None:
        self._span.update_name(name)
        self._span.set_attributes(attributes)
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR))
            self._span.set_attribute("error.type", error)
        self._span.end(None if at is None else _ns(at))

"""Distributed tracing: one trace a request, from the caller's `traceparent` through gateway and store to the worker.

Off unless an OTLP endpoint is set; then `otel.py` sends spans by OpenTelemetry (extra `otel`). Without it a caller's
`traceparent` (W3C Trace Context) still names the trace in logs and goes along to the worker. An attribute is a number
or a word that the code writes itself, never a prompt or a medium.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from service.settings import SettingsError, TracingSettings

AttributeValue = str | int | float | bool
Attributes = Mapping[str, AttributeValue]
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Trace(Protocol):
    """One request's part of a trace in this process: a span, and spans below it. Times are Unix seconds."""

    @property
    def traceparent(self) -> str | None:
        """The trace context that the next process continues."""
        ...

    @property
    def trace_id(self) -> str | None: ...

    def add(self, name: str, start: float, end: float, attributes: Attributes | None = None) -> None:
        """A span below that has already ended."""
        ...

    def end(self, name: str, attributes: Attributes, error: str | None = None, at: float | None = None) -> None:
        """The span itself, by its final name; `error` is a code."""
        ...


class Tracer(Protocol):
    enabled: bool  # whether spans go anywhere

    def begin(self, traceparent: str | None, name: str, kind: str, start: float) -> Trace:
        """`kind`: server (of an HTTP request), consumer (of a queue's entry)."""
        ...

    def close(self) -> None:
        """Send what waits."""
        ...


@dataclass(frozen=True, slots=True)
class Untraced:
    """A request without spans of ours: the caller's trace is named and passed on."""

    traceparent: str | None = None
    trace_id: str | None = None

    def add(self, name: str, start: float, end: float, attributes: Attributes | None = None) -> None: ...

    def end(self, name: str, attributes: Attributes, error: str | None = None, at: float | None = None) -> None: ...


class NoTracer:
    """Tracing is off."""

    enabled = False

    def begin(self, traceparent: str | None, name: str, kind: str, start: float) -> Trace:  # noqa: ARG002  see above
        return Untraced(traceparent, traceparent.split("-")[1] if traceparent else None)

    def close(self) -> None: ...


def valid_traceparent(given: str | None) -> str | None:
    """A caller's header, where it is well formed (version 00, no zero ids)."""
    return given if given is not None and _TRACEPARENT.fullmatch(given) else None


def make_tracer(settings: TracingSettings, process: str) -> Tracer:
    """`process`: gateway, worker. Raises SettingsError where an endpoint is set and OpenTelemetry is not installed."""
    if settings.otlp_endpoint is None:
        return NoTracer()
    try:
        from service.tracing.otel import OtelTracer  # an extra, and half a second to load
    except ImportError:
        raise SettingsError(
            "tracing.otlp_endpoint is set, but OpenTelemetry is not installed: pip install -e '.[otel]'"
        ) from None
    return OtelTracer(settings.otlp_endpoint, settings.sample_ratio, process)

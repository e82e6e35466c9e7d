"""Reports of the processes: traces and logs."""

from typing import Annotated, Literal

from pydantic import Field

from service.settings.section import NonEmpty, Section


class TracingSettings(Section):
    """Traces by OpenTelemetry (extra `otel`); off unless an endpoint is set."""

    otlp_endpoint: NonEmpty | None = Field(
        default=None, description="address of an OTLP collector over HTTP (http://127.0.0.1:4318); unset: no traces"
    )
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="part of the traces that begin here; a caller's own decision holds (ratio)"
    )


class LogSettings(Section):
    """Logs go to standard error, one event a line."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level that is written"
    )
    format: Literal["json", "text"] = Field(default="json", description="json for machines, text for a terminal")

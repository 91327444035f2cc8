"""Where telemetry goes: to a collector with OTLP over HTTP, and to Azure Monitor, by the libraries of both.

It needs the packages of the extras ``otel`` or ``azure-monitor``, so it is imported only where one of them is
configured. What it returns blocks, and is called in a thread.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, TypeVar

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from chukei import __version__
from chukei.adapters.telemetry.spans import CLIENT, ENDED, SERVER, Span

SCOPE = InstrumentationScope("chukei", __version__)

_KINDS = {SERVER: SpanKind.SERVER, CLIENT: SpanKind.CLIENT}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_ERROR, _UNSET = Status(StatusCode.ERROR), Status(StatusCode.UNSET)

_LIBRARIES = ("opentelemetry", "azure", "urllib3")
_QUIET_SECONDS = 60.0

_REPORTS = ("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED")
"""Variables that keep Azure Monitor's library from sending Microsoft statistics about itself, and from asking it for
settings."""


class _Seldom(logging.Filter):
    """Passes one line of a logger in a while: the libraries log each batch that fails."""

    def __init__(self) -> None:
        super().__init__()
        self._until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is logged."""
        now = time.monotonic()
        passes = record.levelno >= logging.WARNING and now >= self._until
        if passes:
            self._until = now + _QUIET_SECONDS
        return passes


def quieten() -> None:
    """Keep the libraries from logging each of their requests."""
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("trace_exporter", "metric_exporter"):  # ``Batches`` logs what fails
        logging.getLogger(f"opentelemetry.exporter.otlp.proto.http.{name}").setLevel(logging.CRITICAL)
    base = logging.getLogger("azure.monitor.opentelemetry.exporter.export._base")
    if not any(isinstance(each, _Seldom) for each in base.filters):
        base.addFilter(_Seldom())


class _NoRedirects:
    """The HTTP client of an exporter for OTLP, for which a redirect is a failure.

    The library does not follow one, and counts it as success, so all that is sent would be lost unnoticed.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def export(self, data: bytes) -> Any:
        """Send a message, and return the library's result."""
        result = self._client.export(data)
        redirected = result.success and (result.status_code or 0) >= 300
        return replace(result, success=False) if redirected else result

    def shutdown(self) -> None:
        """Close it."""
        self._client.shutdown()


Exporter = TypeVar("Exporter")


def _without_redirects(exporter: Exporter) -> Exporter:
    client = getattr(exporter, "_client", None)  # the library does not promise to keep it
    if client is not None:
        vars(exporter)["_client"] = _NoRedirects(client)
    return exporter


def otlp_sender(endpoint: str) -> Callable[[bytes], str | None] | None:
    """Return a function that sends an ``ExportTraceServiceRequest``; None if the library has none.

    It is the exporter's own HTTP client, which follows OpenTelemetry's variables for headers, certificates,
    compression and timeouts, and repeats what may be repeated. The library does not promise to keep it.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    client = getattr(_without_redirects(OTLPSpanExporter(endpoint=endpoint)), "_client", None)
    if client is None:
        return None

    def send(request: bytes) -> str | None:
        result = client.export(request)
        return None if result.success else str(result.status_code or type(result.error).__name__)

    return send


def otlp_exporter(endpoint: str) -> SpanExporter:
    """Return the exporter for a collector."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return _without_redirects(OTLPSpanExporter(endpoint=endpoint))


def azure_exporter(connection_string: str, resource: Resource, *, reports: bool) -> SpanExporter:
    """Return the exporter for Azure Monitor, which signs in as APPLICATIONINSIGHTS_AUTHENTICATION_STRING says.

    It keeps nothing on disk. ``reports`` lets it send Microsoft statistics about itself.
    """
    _set_reports(on=reports)
    from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter

    exporter: SpanExporter = AzureMonitorTraceExporter(
        connection_string=connection_string,
        disable_offline_storage=True,
        tracer_provider=SimpleNamespace(resource=resource),
    )
    return exporter


def _set_reports(*, on: bool) -> None:
    if not on:
        for name in _REPORTS:
            os.environ.setdefault(name, "true")


def span_sender(exporter: SpanExporter, resource: Resource) -> Callable[[Iterable[Span]], str | None]:
    """Return a function that sends spans by an exporter of the SDK."""

    def send(spans: Iterable[Span]) -> str | None:
        result = exporter.export([readable(span, resource) for span in spans])
        return None if result is SpanExportResult.SUCCESS else "not accepted"

    return send


def otlp_metrics(endpoint: str) -> MetricExporter:
    """Return the exporter of metrics for a collector."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return _without_redirects(OTLPMetricExporter(endpoint=endpoint))


def azure_metrics(connection_string: str, *, reports: bool) -> MetricExporter:
    """Return the exporter of metrics for Azure Monitor. It also keeps nothing on disk."""
    _set_reports(on=reports)
    from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter

    exporter: MetricExporter = AzureMonitorMetricExporter(
        connection_string=connection_string, disable_offline_storage=True
    )
    return exporter


def send_metrics(exporter: MetricExporter, metrics: MetricsData) -> str | None:
    """Send metrics; return None, or that they were not taken."""
    return None if exporter.export(metrics) is MetricExportResult.SUCCESS else "not accepted"


def readable(span: Span, resource: Resource) -> ReadableSpan:
    """Return a span of the SDK."""
    state = TraceState.from_header([span.state]) if span.state else None
    trace_id = int(span.trace_id, 16)
    parent = None
    if span.parent_id is not None:
        parent = SpanContext(trace_id, int(span.parent_id, 16), span.remote, _SAMPLED)
    return ReadableSpan(
        name=span.form.name,
        context=SpanContext(trace_id, int(span.span_id, 16), False, _SAMPLED, state),
        parent=parent,
        resource=resource,
        attributes={**span.form.attributes, **span.attributes},
        events=[Event(name, {ENDED: how} if how else {}, moment) for name, moment, how in span.events],
        kind=_KINDS[span.form.kind],
        status=_ERROR if span.form.failed else _UNSET,
        start_time=span.start,
        end_time=span.end,
        instrumentation_scope=SCOPE,
    )

"""Sends the spans of finished requests, and the meter's counts, to the configured receivers."""

import asyncio
import time
from collections.abc import Callable

from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import Resource

from chukei import __version__
from chukei.adapters.telemetry import exporters, genai
from chukei.adapters.telemetry.batches import Batches
from chukei.adapters.telemetry.metrics import Metrics, Reading, TokenUsage
from chukei.adapters.telemetry.protobuf import Encoder
from chukei.adapters.telemetry.spans import Span, Spans, Value
from chukei.config import Secret, TelemetrySettings
from chukei.ids import new_id
from chukei.metrics.meter import Meter
from chukei.record import RequestRecord

END_SECONDS = 2.0
"""Time limit for sending what waits when the relay ends."""

LATE_READINGS = 2
"""Readings of the metrics that wait at most; a later one has all that an earlier one has."""

Place = Callable[[str], tuple[str, int] | None]


class Telemetry:
    """Implements the Hook port. ``place`` returns the host and port of a deployment; ``now`` nanoseconds since 1970."""

    def __init__(
        self,
        settings: TelemetrySettings,
        place: Place,
        meter: Meter | None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._settings = settings
        self._place = place
        self._meter = meter
        self._now = now
        self._names = genai.VERSIONS[settings.genai]
        self._spans = Spans(self._names, place, callers=settings.callers)
        self._attributes = resource_of(settings)
        self._resource = Resource(self._attributes)
        self._takers: list[Callable[[list[Span]], None]] = []
        self._readings: list[Batches[Reading]] = []
        self._batches: list[Batches[bytes] | Batches[list[Span]] | Batches[Reading]] = []
        self._tokens = TokenUsage() if meter is not None and settings.metrics else None
        self._reader: asyncio.Task[None] | None = None
        exporters.quieten()
        if settings.traces:
            self._add_traces(settings.traces_endpoint, settings.connection_string)
        if settings.metrics and meter is not None:
            self._add_metrics(settings.metrics_endpoint, settings.connection_string)

    @property
    def traces(self) -> bool:
        """Whether spans go anywhere."""
        return bool(self._takers)

    @property
    def dropped(self) -> int:
        """Requests whose spans were dropped, and readings of metrics, counted for each receiver."""
        return sum(each.dropped for each in self._batches)

    # Setting up.

    def _add_traces(self, endpoint: Secret | None, connection_string: Secret | None) -> None:
        if endpoint is not None:
            what = "traces over OTLP"
            send = exporters.otlp_sender(endpoint.reveal())
            if send is not None:
                self._take_written(what, send)
            else:
                self._take(what, exporters.span_sender(exporters.otlp_exporter(endpoint.reveal()), self._resource))
        if connection_string is not None:
            reports = self._settings.azure_sdk_stats
            exporter = exporters.azure_exporter(connection_string.reveal(), self._resource, reports=reports)
            self._take("traces to Azure Monitor", exporters.span_sender(exporter, self._resource))

    def _take_written(self, what: str, send: Callable[[bytes], str | None]) -> None:
        encoder = Encoder(self._attributes, __version__)
        seconds = self._settings.batch_seconds
        batches: Batches[bytes] = Batches(what, lambda spans: send(encoder.request(spans)), seconds=seconds)
        self._batches.append(batches)
        # Written at once: in the thread, a batch would hold up the event loop for milliseconds.
        self._takers.append(lambda spans: batches.add(b"".join([encoder.span(span) for span in spans])))

    def _take(self, what: str, send: Callable[[list[list[Span]]], str | None]) -> None:
        batches: Batches[list[Span]] = Batches(what, send, seconds=self._settings.batch_seconds)
        self._batches.append(batches)
        self._takers.append(batches.add)

    def _add_metrics(self, endpoint: Secret | None, connection_string: Secret | None) -> None:
        if endpoint is not None:
            exporter = exporters.otlp_metrics(endpoint.reveal())
            self._read("metrics over OTLP", exporter, delta=self._settings.delta)
        if connection_string is not None:
            exporter = exporters.azure_metrics(connection_string.reveal(), reports=self._settings.azure_sdk_stats)
            self._read("metrics to Azure Monitor", exporter, delta=True)

    def _read(self, what: str, exporter: MetricExporter, *, delta: bool) -> None:
        metrics = Metrics(self._names, self._place, self._resource, self._now(), delta=delta)

        def send(readings: list[Reading]) -> str | None:
            return exporters.send_metrics(exporter, metrics.of(readings[-1]))

        batches: Batches[Reading] = Batches(
            what, send, seconds=self._settings.metrics_seconds, batch=1, most=LATE_READINGS
        )
        self._batches.append(batches)
        self._readings.append(batches)

    # Running.

    def __call__(self, record: RequestRecord) -> None:
        """Queue the spans of a request, and count its tokens. Never waits."""
        if self._tokens is not None:
            self._tokens(record)
        if self._takers:
            spans = self._spans.of(record, self._now())
            if spans:
                for take in self._takers:
                    take(spans)

    def start(self) -> None:
        """Start the threads that send, and the reading of the metrics."""
        for each in self._batches:
            each.start()
        if self._readings:
            self._reader = asyncio.create_task(self._keep_reading())

    async def _keep_reading(self) -> None:
        while True:
            await asyncio.sleep(self._settings.metrics_seconds)
            self._read_metrics()

    def _read_metrics(self) -> None:
        if self._meter is not None and self._tokens is not None:
            reading = Reading(self._meter.snapshot(), self._tokens.samples(), self._now())
            for each in self._readings:
                each.add(reading)

    async def close(self) -> None:
        """Send what waits, for ``END_SECONDS`` at most."""
        if self._reader is not None:
            self._reader.cancel()
            self._read_metrics()
        await asyncio.gather(*(asyncio.to_thread(each.end, END_SECONDS) for each in self._batches))


def resource_of(settings: TelemetrySettings) -> dict[str, Value]:
    """Return what describes this process among all that send telemetry."""
    own: dict[str, Value] = {
        "service.name": "chukei",
        "service.version": __version__,
        "service.instance.id": new_id(),
        "telemetry.sdk.language": "python",
    }
    return {**own, **settings.resource}

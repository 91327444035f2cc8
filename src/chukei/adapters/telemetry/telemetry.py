"""Sends the spans of finished requests, and the meter's counts, to the configured receivers."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import Resource

from chukei import __version__
from chukei.adapters.telemetry import exporters, genai
from chukei.adapters.telemetry.batches import Batches
from chukei.adapters.telemetry.metrics import Metrics, Reading, TokenUsage
from chukei.adapters.telemetry.protobuf import Encoder
from chukei.adapters.telemetry.spans import Span, Spans, Value, is_recorded
from chukei.config import Secret, TelemetrySettings
from chukei.ids import new_id
from chukei.metrics.definitions import TELEMETRY_LOST
from chukei.metrics.meter import Meter
from chukei.metrics.snapshot import Reading as Measured
from chukei.record import RequestRecord

END_SECONDS = 2.0
"""Time limit for sending what waits when the relay ends."""

LATE_READINGS = 2
"""Readings of the metrics that wait at most; a later one has all that an earlier one has."""

SLICE = 32
PAUSE_SECONDS = 0.0005
"""After the spans of so many requests a thread pauses. Python runs one thread at a time, so a whole batch would hold up
the event loop for milliseconds; a slice takes half of one. Shorter slices cost more: a request takes 19 µs with slices
of 8, 15 µs with 32, 14 µs with 128."""

Ended = tuple[RequestRecord, int]
"""The record of a request, which nothing changes any more, and the time of its end in nanoseconds since 1970."""

Item = TypeVar("Item")
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
        self._attributes = resource_of(settings)
        self._resource = Resource(self._attributes)
        self._traces: list[Batches[Ended]] = []
        self._readings: list[Batches[Reading]] = []
        self._batches: list[Batches[Ended] | Batches[Reading]] = []
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
        return bool(self._traces)

    @property
    def dropped(self) -> int:
        """Requests whose spans were dropped, and readings of metrics, counted for each receiver."""
        return sum(each.dropped for each in self._batches)

    def readings(self) -> list[Measured]:
        """Return the metrics of the sending."""
        return [(TELEMETRY_LOST, (), self.dropped)]

    # Setting up.

    def _add_traces(self, endpoint: Secret | None, connection_string: Secret | None) -> None:
        if endpoint is not None:
            self._add_sender("traces over OTLP", self._over_otlp(endpoint.reveal()))
        if connection_string is not None:
            reports = self._settings.azure_sdk_stats
            exporter = exporters.azure_exporter(connection_string.reveal(), self._resource, reports=reports)
            self._add_sender("traces to Azure Monitor", exporters.span_sender(exporter, self._resource))

    def _over_otlp(self, endpoint: str) -> Callable[[Iterable[Span]], str | None]:
        send = exporters.otlp_sender(endpoint)
        if send is None:
            return exporters.span_sender(exporters.otlp_exporter(endpoint), self._resource)
        encoder = Encoder(self._attributes, __version__)
        return lambda spans: send(encoder.request([encoder.span(span) for span in spans]))

    def _add_sender(self, what: str, send: Callable[[Iterable[Span]], str | None]) -> None:
        spans = Spans(self._names, self._place, callers=self._settings.callers)  # used by one thread

        def send_all(ended: list[Ended]) -> str | None:
            return send(span for record, moment in paced(ended) for span in spans.of(record, moment))

        batches: Batches[Ended] = Batches(what, send_all, seconds=self._settings.batch_seconds)
        self._batches.append(batches)
        self._traces.append(batches)

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
        """Queue a request for its spans, and count its tokens. Never waits."""
        if self._tokens is not None:
            self._tokens(record)
        if self._traces and is_recorded(record):
            ended = (record, self._now())
            for each in self._traces:
                each.add(ended)

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


def paced(items: Sequence[Item]) -> Iterator[Item]:
    """Iterate with pauses, so that the event loop can run in between."""
    for number, item in enumerate(items):
        if number % SLICE == SLICE - 1:
            time.sleep(PAUSE_SECONDS)
        yield item


def resource_of(settings: TelemetrySettings) -> dict[str, Value]:
    """Return what describes this process among all that send telemetry."""
    own: dict[str, Value] = {
        "service.name": "chukei",
        "service.version": __version__,
        "service.instance.id": new_id(),
        "telemetry.sdk.language": "python",
    }
    return {**own, **settings.resource}

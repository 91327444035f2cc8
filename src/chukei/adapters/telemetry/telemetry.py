"""Sends the spans of finished requests to the configured receivers."""

import asyncio
import time
from collections.abc import Callable

from opentelemetry.sdk.resources import Resource

from chukei import __version__
from chukei.adapters.telemetry import exporters, genai
from chukei.adapters.telemetry.batches import Batches
from chukei.adapters.telemetry.protobuf import Encoder
from chukei.adapters.telemetry.spans import Span, Spans, Value
from chukei.config import TelemetrySettings
from chukei.ids import new_id
from chukei.record import RequestRecord

END_SECONDS = 2.0
"""Time limit for sending what waits when the relay ends."""

Place = Callable[[str], tuple[str, int] | None]


class Telemetry:
    """Implements the Hook port. ``place`` returns the host and port of a deployment."""

    def __init__(self, settings: TelemetrySettings, place: Place, now: Callable[[], int] = time.time_ns) -> None:
        self._now = now
        self._spans = Spans(genai.VERSIONS[settings.genai], place, callers=settings.callers)
        self._takers: list[Callable[[list[Span]], None]] = []
        self._batches: list[Batches[bytes] | Batches[list[Span]]] = []
        self._seconds = settings.batch_seconds
        attributes = resource_of(settings)
        resource = Resource(attributes)
        exporters.quieten()
        if settings.traces and settings.traces_endpoint is not None:
            self._send_to_collector(settings.traces_endpoint.reveal(), attributes, resource)
        if settings.traces and settings.connection_string is not None:
            string, reports = settings.connection_string.reveal(), settings.azure_sdk_stats
            exporter = exporters.azure_exporter(string, resource, reports=reports)
            self._take("traces to Azure Monitor", exporters.span_sender(exporter, resource))

    @property
    def dropped(self) -> int:
        """Requests whose spans were dropped, by each receiver that did not get them."""
        return sum(each.dropped for each in self._batches)

    def _send_to_collector(self, endpoint: str, attributes: dict[str, Value], resource: Resource) -> None:
        what = "traces over OTLP"
        send = exporters.otlp_sender(endpoint)
        if send is None:
            self._take(what, exporters.span_sender(exporters.otlp_exporter(endpoint), resource))
            return
        encoder = Encoder(attributes, __version__)
        batches: Batches[bytes] = Batches(what, lambda spans: send(encoder.request(spans)), seconds=self._seconds)
        self._batches.append(batches)
        # Written at once: in the thread, a batch would hold up the event loop for milliseconds.
        self._takers.append(lambda spans: batches.add(b"".join([encoder.span(span) for span in spans])))

    def _take(self, what: str, send: Callable[[list[list[Span]]], str | None]) -> None:
        batches: Batches[list[Span]] = Batches(what, send, seconds=self._seconds)
        self._batches.append(batches)
        self._takers.append(batches.add)

    def __call__(self, record: RequestRecord) -> None:
        """Queue the spans of a request. Never waits."""
        spans = self._spans.of(record, self._now())
        if spans:
            for take in self._takers:
                take(spans)

    def start(self) -> None:
        """Start the threads that send."""
        for each in self._batches:
            each.start()

    async def close(self) -> None:
        """Send what waits, for ``END_SECONDS`` at most."""
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

"""A real OTLP receiver: what a collector would get, as the messages of OpenTelemetry's own definitions."""

import asyncio
from types import TracebackType
from typing import Any, Self

import pytest
from tests.live.loopback import refusing_port
from tests.live.relays import eventually

Attributes = dict[str, Any]


class OtlpReceiver:
    """Listens on a loopback port, and collects what arrives."""

    def __init__(self) -> None:
        oteltap = pytest.importorskip("oteltap", reason="oteltap, the OTLP receiver, is not installed")
        port = refusing_port()
        self._tap = oteltap.OtelTapHttpProtobufReceiver(oteltap.OtelTapHttpProtobufReceiverSettings(http_port=port))
        self.url = f"http://127.0.0.1:{port}"
        self.spans: list[Any] = []
        self.metrics: list[Any] = []

    async def __aenter__(self) -> Self:
        await self._tap.start()
        self._collecting = [
            asyncio.create_task(self._collect(self._tap.stream_traces(), self.spans)),
            asyncio.create_task(self._collect(self._tap.stream_metrics(), self.metrics)),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tap.stop()
        await asyncio.wait(self._collecting)

    @staticmethod
    async def _collect(arriving: Any, into: list[Any]) -> None:
        async for message in arriving:
            into.append(message)

    async def trace(self, trace_id: str, count: int) -> list[Any]:
        """Wait until a trace has so many spans, and return them by their start."""
        wanted = bytes.fromhex(trace_id)
        await eventually(lambda: len([span for span in self.spans if span.trace_id == wanted]) >= count)
        found = [span for span in self.spans if span.trace_id == wanted]
        assert len(found) == count
        return sorted(found, key=lambda span: span.start_time_unix_nano)

    async def metric(self, name: str) -> Any:
        """Wait for a metric, and return it as it came last."""
        await eventually(lambda: any(metric.name == name for metric in self.metrics))
        return [metric for metric in self.metrics if metric.name == name][-1]


def attributes_of(message: Any) -> Attributes:
    """Return the attributes of a span, an event or a data point as Python's values."""
    return {each.key: _value(each.value) for each in message.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [_value(each) for each in found.values] if kind == "array_value" else found

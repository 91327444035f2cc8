"""The SDK's way to write spans, which Azure Monitor's exporter takes, says the same as ours."""

from typing import Any

import pytest
from tests.adapters.telemetry.records import FIRST, NOW, REQUEST, SECOND, TRACE, answered

from chukei import __version__
from chukei.adapters.telemetry import genai
from chukei.adapters.telemetry.protobuf import Encoder
from chukei.adapters.telemetry.spans import Spans
from chukei.record import Attempt
from chukei.trace import TraceContext

sdk = pytest.importorskip(
    "opentelemetry.exporter.otlp.proto.common.trace_encoder", reason="the extra otel is not installed"
)


def test_both_write_the_same_spans() -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.sdk.resources import Resource

    from chukei.adapters.telemetry.exporters import readable

    lost = Attempt("a", code="upstream_500", seconds=0.2, started=0.1, span_id=FIRST, status=500)
    won = Attempt("b", seconds=0.3, started=0.4, span_id=SECOND, status=200, upstream_request_id="azure-1")
    context = TraceContext(TRACE, REQUEST, "9" * 16, sampled=True, state="a=1,b=2")
    record = answered(tries=[lost, won], answering=won, trace=context)
    spans = Spans(genai.VERSIONS["1.41"], lambda name: ("host", 443), callers=False).of(record, NOW)
    encoder = Encoder({"service.name": "chukei"}, __version__)
    ours = ExportTraceServiceRequest.FromString(encoder.request([encoder.span(span) for span in spans]))
    resource = Resource({"service.name": "chukei"})
    theirs: Any = sdk.encode_spans([readable(span, resource) for span in spans])
    for message in (ours, theirs):
        for span in message.resource_spans[0].scope_spans[0].spans:
            span.flags &= ~1  # the SDK leaves the sampled flag out
            span.ClearField("status")
    assert len(spans) == 3
    assert ours == theirs


def test_both_write_the_same_status() -> None:
    from opentelemetry.sdk.resources import Resource

    from chukei.adapters.telemetry.exporters import readable

    lost = Attempt("a", code="upstream_500", span_id=FIRST)
    spans = Spans(genai.VERSIONS["1.41"], lambda name: None, callers=False).of(answered(tries=[lost]), NOW)
    assert [span.form.failed for span in spans] == [False, True]
    assert [readable(span, Resource({})).status.status_code.value for span in spans] == [0, 2]

"""Spans as bytes, read back with the messages of OpenTelemetry's own definitions."""

from typing import Any

import pytest
from tests.adapters.telemetry.records import FIRST, NOW, REQUEST, SECOND, TRACE, answered
from tests.live.otlp_receiver import attributes_of
from tests.rows import rows

from chukei.adapters.telemetry import genai
from chukei.adapters.telemetry.protobuf import Encoder
from chukei.adapters.telemetry.spans import MOST_FORMS, Form, Span, Spans, Value
from chukei.trace import TraceContext

messages = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="the extra otel is not installed"
)


def decoded(*spans: Span, encoder: Encoder | None = None) -> Any:
    encoder = encoder or Encoder({"service.name": "chukei"}, "1.2")
    return messages.ExportTraceServiceRequest.FromString(encoder.request([encoder.span(span) for span in spans]))


def span_with(value: Value) -> Span:
    form = Form("name", 2, {"form": value}, False)
    return Span(form, TRACE, REQUEST, None, False, "", 1, 2, {"own": value}, [])


def test_a_request_s_spans() -> None:
    record = answered(trace=TraceContext(TRACE, REQUEST, SECOND, sampled=True, state="a=1"))
    spans = Spans(genai.VERSIONS["1.41"], lambda name: ("host", 443), callers=False).of(record, NOW)
    (resource,) = decoded(*spans).resource_spans
    assert attributes_of(resource.resource) == {"service.name": "chukei"}
    (scope,) = resource.scope_spans
    assert (scope.scope.name, scope.scope.version) == ("chukei", "1.2")
    for span, made in zip(scope.spans, spans, strict=True):
        assert (span.trace_id.hex(), span.span_id.hex()) == (TRACE, made.span_id)
        assert (span.name, span.kind, span.trace_state) == (made.form.name, made.form.kind, "a=1")
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (made.start, made.end)
        expected = {**made.form.attributes, **made.attributes}
        assert attributes_of(span) == {key: list(it) if isinstance(it, tuple) else it for key, it in expected.items()}
        events = [(each.name, each.time_unix_nano, attributes_of(each)) for each in span.events]
        assert events == [(name, moment, {"chukei.end": how} if how else {}) for name, moment, how in made.events]
    request, attempt = scope.spans
    assert (request.parent_span_id.hex(), attempt.parent_span_id.hex()) == (SECOND, REQUEST)
    assert attempt.span_id.hex() == FIRST
    assert (request.flags, attempt.flags) == (0x301, 0x101)


@rows(
    "value",
    [
        "", "text", "ü", "x" * 127, "x" * 128, "x" * 511, "x" * 512, "x" * 100_000, "\ud800",
        0, 1, 127, 128, 1023, 1024, 2**31, 2**63 - 1, -1, -(2**63), True, False, 0.0, 1.5, -1e300, (), ("a", "b" * 300),
    ],
)  # fmt: skip
def test_every_kind_of_value(value: Value) -> None:
    (span,) = decoded(span_with(value)).resource_spans[0].scope_spans[0].spans
    wanted = list(value) if isinstance(value, tuple) else "?" if value == "\ud800" else value
    for found in attributes_of(span).values():
        assert found == wanted
        assert type(found) is type(wanted)


def test_a_failed_span_has_an_error_status() -> None:
    form = Form("name", 3, {}, True)
    (span,) = decoded(Span(form, TRACE, REQUEST, None, False, "", 1, 2, {}, [])).resource_spans[0].scope_spans[0].spans
    assert span.status.code == 2
    assert span.name == "name"


def test_what_is_remembered_is_bounded_and_right() -> None:
    encoder = Encoder({}, "1")
    for number in range(2 * MOST_FORMS + 10):
        form = Form(f"name {number}", 2, {"number": number}, False)
        span = Span(form, TRACE, REQUEST, None, False, "", 1, 2, {}, [("event", 3, f"how {number}")])
        encoder.span(span)
    for _ in range(2):
        (found,) = decoded(span, encoder=encoder).resource_spans[0].scope_spans[0].spans
        assert (found.name, attributes_of(found)) == (form.name, form.attributes)
        assert attributes_of(found.events[0]) == {"chukei.end": f"how {number}"}
    assert len(encoder._forms) <= MOST_FORMS
    assert len(encoder._events) <= MOST_FORMS


def test_a_large_batch() -> None:
    spans = [span_with("x" * 1000)] * 1000
    assert len(decoded(*spans).resource_spans[0].scope_spans[0].spans) == 1000

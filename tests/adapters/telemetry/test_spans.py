"""Which spans a record has, and their names, times, attributes and status."""

from dataclasses import replace
from datetime import UTC, datetime

from tests.adapters.telemetry.records import FIRST, NOW, REQUEST, SECOND, TRACE, answered
from tests.rows import rows

from chukei.adapters.telemetry import genai, spans
from chukei.adapters.telemetry.spans import ENDED, FIRST_TOKEN, Span, Spans, Value, places
from chukei.model import Caller, CallerKind, End
from chukei.record import Attempt, RequestRecord
from chukei.request.routes import Page
from chukei.trace import TraceContext
from chukei.usage import Usage

SECOND_NS = 1_000_000_000
DEPLOYMENTS = "/openai/deployments"


def made(record: RequestRecord, version: str = "1.41", *, callers: bool = False) -> list[Span]:
    place = places({"a": "https://a.openai.azure.com", "b": "http://127.0.0.1:8080"}, None)
    return Spans(genai.VERSIONS[version], place, callers=callers).of(record, NOW)


def attributes(span: Span) -> dict[str, Value]:
    assert not span.form.attributes.keys() & span.attributes.keys()
    return span.form.attributes | span.attributes


def test_an_answered_request_has_two_spans() -> None:
    request, attempt = made(answered())
    assert (request.form.name, request.form.kind, request.span_id, request.parent_id) == (
        "POST /v1/chat/completions",
        spans.SERVER,
        REQUEST,
        None,
    )
    assert (attempt.form.name, attempt.form.kind, attempt.span_id, attempt.parent_id) == (
        "chat gpt-4o",
        spans.CLIENT,
        FIRST,
        REQUEST,
    )
    assert (request.start, request.end) == (NOW - 2 * SECOND_NS, NOW)
    assert (attempt.start, attempt.end) == (request.start + SECOND_NS // 10, NOW)
    assert request.events == [(FIRST_TOKEN, request.start + SECOND_NS // 2, "")]
    assert attempt.events == [(FIRST_TOKEN, request.start + SECOND_NS // 2, ""), (ENDED, NOW, "completed")]
    assert attributes(attempt) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-4o-2024-11-20",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.4,
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 34,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "server.address": "a.openai.azure.com",
        "server.port": 443,
        "http.response.status_code": 200,
        "chukei.deployment": "a",
        "chukei.outcome": "answered",
    }


@rows(
    ("version", "names"),
    [
        ("1.36", {"gen_ai.system": "az.ai.openai", "gen_ai.openai.response.service_tier": "priority"}),
        ("1.41", {"openai.response.service_tier": "priority", "gen_ai.usage.cache_creation.input_tokens": 7}),
        ("genai-0.1", {"gen_ai.provider.name": "azure.ai.openai", "gen_ai.usage.cache_write.input_tokens": 7}),
    ],
)
def test_names_differ_by_version(version: str, names: dict[str, Value]) -> None:
    record = answered(service_tier="priority", usage=Usage(12, 34, cache_written=7))
    _, attempt = made(record, version)
    assert attributes(attempt).items() >= names.items()
    assert None not in attributes(attempt)


@rows(
    ("operation", "path", "name", "call"),
    [
        ("embeddings", f"{DEPLOYMENTS}/my-model/embeddings", f"{DEPLOYMENTS}/{{deployment}}/embeddings", "embeddings"),
        ("chat", "/api/chat-stream", "/api/chat-stream", "chat"),
        ("responses", "/openai/v1/responses", "/openai/v1/responses", "chat"),
        ("completions", "/v1//completions", "/v1/completions", "text_completion"),
        ("embeddings", "/models/embeddings", "/models/embeddings", "embeddings"),
    ],
)  # fmt: skip
def test_names_have_few_values(operation: str, path: str, name: str, call: str) -> None:
    record = answered(operation=operation)
    record.path = path
    request, attempt = made(record)
    assert request.form.name == f"POST {name}"
    assert attempt.form.name == f"{call} gpt-4o"
    assert attributes(request)["url.path"] == path


def test_a_refused_request_has_one_span_that_is_no_error() -> None:
    record = answered(operation=None, tries=[], answering=None, status=401, end=End.REFUSED, code="invalid_api_key")
    record.method = "BREW"
    (request,) = made(record)
    assert (request.form.name, request.form.failed) == ("HTTP", False)
    assert attributes(request).items() >= {"error.type": "invalid_api_key", "http.request.method": "_OTHER"}.items()


@rows(
    ("status", "end", "failed"),
    [
        (200, End.COMPLETED, False),
        (200, End.LENGTH, False),
        (200, End.CLIENT_ABORTED, False),
        (200, End.TRUNCATED, True),
        (200, End.SERVER_SHUTDOWN, True),
        (429, End.NO_DEPLOYMENT, False),
        (503, End.NO_DEPLOYMENT, True),
        (504, End.TIMEOUT, True),
        (None, End.CLIENT_ABORTED, False),
    ],
)
def test_which_requests_have_failed(status: int | None, end: End, failed: bool) -> None:
    assert made(answered(status=status, end=end))[0].form.failed is failed


def test_a_failover_has_a_span_for_each_attempt() -> None:
    lost = Attempt("a", code="upstream_500", seconds=0.2, started=0.1, span_id=FIRST, status=500)
    won = Attempt("b", seconds=0.3, started=0.4, span_id=SECOND, status=200, hedge=True, spilled=True, region="West")
    request, first, second = made(answered(tries=[lost, won], answering=won))
    assert attributes(request)["chukei.attempts"] == 2
    assert (first.form.failed, second.form.failed) == (True, False)
    assert first.end - first.start == SECOND_NS // 5
    assert first.events == [(ENDED, first.end, "upstream_500")]
    assert "gen_ai.usage.input_tokens" not in attributes(first)
    assert (
        attributes(second).items()
        >= {
            "chukei.hedge": True,
            "chukei.azure.spilled_over": True,
            "chukei.azure.region": "West",
            "server.address": "127.0.0.1",
            "server.port": 8080,
        }.items()
    )


@rows("code", ["hedge_lost", "cancelled"])
def test_losing_is_no_failure(code: str) -> None:
    lost = Attempt("a", code=code, seconds=0.2, started=0.1, span_id=FIRST)
    (_, first) = made(answered(tries=[lost], answering=lost, status=None, end=End.CLIENT_ABORTED, first_token=None))
    assert not first.form.failed
    assert attributes(first)["chukei.outcome"] == code
    assert "error.type" not in attributes(first)


def test_an_answer_that_broke_off_lasted_to_the_end() -> None:
    record = answered(end=End.TRUNCATED)
    record.tries[0].code = "stream_incomplete"
    _, attempt = made(record)
    assert attempt.form.failed
    assert attempt.end == NOW
    assert attributes(attempt)["gen_ai.usage.output_tokens"] == 34


def test_callers_are_named_only_if_asked() -> None:
    record = answered(who=Caller("somebody", CallerKind.KEY))
    assert "somebody" not in repr(made(record))
    assert attributes(made(record, callers=True)[0])["chukei.caller"] == "somebody"


@rows(
    "differing",
    [
        {"trace": None},
        {"trace": TraceContext(TRACE, REQUEST)},
        {"trace": TraceContext(TRACE, REQUEST, sampled=True, foreign=True)},
        {"operation": Page.LIVE},
        {"operation": "admin"},
        {"count": 7},
    ],
)
def test_what_has_no_spans(differing: dict[str, object]) -> None:
    assert made(answered(**differing)) == []


def test_a_record_that_waited_keeps_its_time() -> None:
    (request, _) = made(answered(ended=datetime.fromtimestamp(1_700_000_000, UTC)))
    assert request.end == 1_700_000_000 * SECOND_NS


def test_the_caller_s_span_is_remote() -> None:
    record = answered(trace=TraceContext(TRACE, REQUEST, SECOND, sampled=True, state="a=1"))
    request, attempt = made(record)
    assert (request.parent_id, request.remote, request.state) == (SECOND, True, "a=1")
    assert (attempt.remote, attempt.state) == (False, "a=1")


def test_forms_are_shared_and_bounded() -> None:
    maker = Spans(genai.VERSIONS["1.41"], lambda name: None, callers=False)
    one, other = maker.of(answered(), NOW), maker.of(answered(usage=Usage(1, 2)), NOW)
    assert [span.form for span in one] == [span.form for span in other]
    assert all(span.form is again.form for span, again in zip(one, other, strict=True))
    for number in range(2 * spans.MOST_FORMS):
        record = answered()
        record.path = f"/unknown/{number}"
        maker.of(record, NOW)
    assert len(maker._forms) <= spans.MOST_FORMS


def test_an_attempt_without_a_span_was_not_recorded() -> None:
    record = answered()
    record.tries[0] = replace(record.tries[0], span_id=None)
    assert len(made(record)) == 1

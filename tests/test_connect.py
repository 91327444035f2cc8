"""From a request to its first event: whatever goes wrong until then is a plain error."""

import asyncio
import contextlib
import json

import pytest
from tests.fakes import EVENT_STREAM, JSON, FakeAnswer, FakeUpstream

from chukei import sse
from chukei.call import UpstreamRequest
from chukei.connect import LARGE_EVENT_BYTES, MAX_ERROR_BYTES, Opened, Waits, connect, error_of_event
from chukei.errors import UpstreamError
from chukei.model import End, Headers, Operation
from chukei.wire import CHAT, OPERATIONS, RESPONSES

pytestmark = pytest.mark.anyio

REQUEST = UpstreamRequest("https://e.example", "/openai/v1/chat/completions", "v1", [(b"a", b"b")], b"{}", True)
PREAMBLE = b'data: {"choices":[],"prompt_filter_results":[]}\n\n'
CONTENT = b'data: {"choices":[{"delta":{"content":"hi"},"index":0}]}\n\n'
ERROR = b'{"message":"Sorry","type":"server_error","param":null,"code":null}'
IMAGES = OPERATIONS["images/generations"]


async def ask(
    *answers: FakeAnswer | Exception,
    operation: Operation = CHAT,
    wants_stream: bool = True,
    seconds: float = 5.0,
    output: float | None = None,
    cap: int = 65536,
) -> tuple[Opened, FakeUpstream]:
    upstream = FakeUpstream(*answers)
    opened = await connect(
        upstream,
        REQUEST,
        operation,
        wants_stream=wants_stream,
        waits=Waits(seconds, output or seconds, seconds),
        cap=cap,
        sent=lambda: None,
        answered=lambda _: None,
    )
    return opened, upstream


async def refused(
    answer: FakeAnswer, *, operation: Operation = CHAT, wants_stream: bool = True, cap: int = 65536
) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await ask(answer, operation=operation, wants_stream=wants_stream, cap=cap)
    assert answer.aborted, "a connection that is no longer needed must be closed or given back"
    return caught.value


async def test_the_first_output_comes_with_what_was_held() -> None:
    opened, upstream = await ask(FakeAnswer([PREAMBLE[:10], PREAMBLE[10:], CONTENT]))
    assert opened.first == PREAMBLE + CONTENT
    assert opened.stream is not None
    assert upstream.requests == [("https://e.example", REQUEST.target, [(b"a", b"b")], b"{}")]


async def test_a_whole_answer_is_read_whole() -> None:
    answer = FakeAnswer([b'{"id":', b'"x"}', b""], headers=JSON)
    opened, _ = await ask(answer, wants_stream=False)
    assert (opened.stream, opened.first) == (None, b'{"id":"x"}')
    assert not answer.aborted


async def test_a_large_whole_answer_flows_through() -> None:
    part = b"x" * (1 << 20)
    answer = FakeAnswer([part] * 10, headers=[(b"content-type", b"audio/mpeg")])
    opened, _ = await ask(answer, operation=OPERATIONS["audio/speech"], wants_stream=False)
    assert MAX_WHOLE_BYTES < len(opened.first) <= MAX_WHOLE_BYTES + len(part)


async def test_an_error_before_any_output_is_an_error_status() -> None:
    error = await refused(FakeAnswer([PREAMBLE, b'data: {"error":' + ERROR + b"}\n\n"]))
    assert (error.status, error.end) == (502, End.UPSTREAM_ERROR)
    assert error.error_json == ERROR


KINDS = [
    (b'{"code":"429","message":"slow down"}', 429),
    (b'{"code":429,"message":"slow down"}', 429),
    (b'{"type":"too_many_requests","code":"no_capacity"}', 429),
    (b'{"code":"rate_limit_exceeded"}', 429),
    (b'{"code":"content_filter"}', 400),
    (b'{"type":"invalid_request_error"}', 400),
    (b'{"type":"server_error","code":null}', 502),
    (b'{"type":5,"code":[]}', 502),
]


@pytest.mark.parametrize(("error", "status"), KINDS)
async def test_an_error_event_becomes_the_status_it_stands_for(error: bytes, status: int) -> None:
    found = await refused(FakeAnswer([b'data: {"error":' + error + b"}\n\n"]))
    assert found.status == status
    assert found.error_json == error


async def test_an_error_that_is_no_object_still_says_something() -> None:
    found = await refused(FakeAnswer([b'data: {"error":"overloaded"}\n\n']))
    assert found.status == 502
    assert json.loads(found.body)["error"]["message"]


async def test_an_error_after_output_in_one_read_stays_in_the_stream() -> None:
    opened, _ = await ask(FakeAnswer([CONTENT + b'data: {"error":' + ERROR + b"}\n\n"]))
    assert opened.first.startswith(CONTENT)
    assert opened.stream is not None
    assert opened.stream.ended


async def test_a_json_error_inside_a_200_is_an_error() -> None:
    error = await refused(FakeAnswer([b'{"error":' + ERROR + b"}", b""], headers=JSON), wants_stream=False)
    assert error.status == 502
    assert error.error_json == ERROR


async def test_a_null_error_inside_a_200_is_none() -> None:
    opened, _ = await ask(FakeAnswer([b'{"error":null,"id":"x"}', b""], headers=JSON), wants_stream=False)
    assert opened.first == b'{"error":null,"id":"x"}'


async def test_an_end_before_any_output_is_a_loss() -> None:
    for reads in ([b""], [PREAMBLE, b""], [CONTENT[:-1], b""], [b": comment\n\n", b""]):
        error = await refused(FakeAnswer(reads))
        assert (error.status, error.code, error.end) == (502, "upstream_lost", End.UPSTREAM_LOST)


async def test_done_alone_is_an_answer() -> None:
    opened, _ = await ask(FakeAnswer([sse.DONE]))
    assert opened.first == sse.DONE


async def test_a_break_before_any_output_is_an_error() -> None:
    broken = UpstreamError("upstream_lost", "x", end=End.UPSTREAM_LOST)
    assert await refused(FakeAnswer([PREAMBLE, broken])) is broken


async def test_a_giant_first_event_is_an_error_unless_the_operation_has_large_ones() -> None:
    giant = b"data: " + b"x" * 70000
    error = await refused(FakeAnswer([giant]))
    assert (error.code, error.end) == ("event_too_large", End.EVENT_TOO_LARGE)
    opened, _ = await ask(FakeAnswer([giant, b"\n\n"]), operation=IMAGES)
    assert opened.first == giant + b"\n\n"
    assert LARGE_EVENT_BYTES > 1 << 20


async def test_an_unexpected_content_type_is_never_relayed() -> None:
    for kind in (b"text/html", b"text/plain", b"text/html; charset=utf-8", b"", b"x/y\x1b[31m"):
        error = await refused(FakeAnswer([b"<script>", b""], headers=[(b"content-type", kind)]))
        assert (error.status, error.code, error.end) == (502, "unexpected_content_type", End.UNEXPECTED_ANSWER)
        assert error.message.isprintable()
        assert b"script" not in error.body
    error = await refused(FakeAnswer([b"<script>"], headers=[(b"content-type", b"text/html")]), wants_stream=False)
    assert error.code == "unexpected_content_type"


@pytest.mark.parametrize("body", [b"<script>", b'{"id":"x","choices":[]}', b'{"error":null}', b""])
async def test_a_plain_answer_to_a_call_for_a_stream_is_no_stream(body: bytes) -> None:
    error = await refused(FakeAnswer([body, b""], headers=JSON))
    assert (error.status, error.code, error.end) == (502, "not_a_stream", End.UNEXPECTED_ANSWER)
    assert b"script" not in error.body


@pytest.mark.parametrize(("said", "status"), [(b'{"code":"429","message":"slow down"}', 429), (ERROR, 502)])
async def test_an_error_in_a_200_to_a_call_for_a_stream_is_that_error(said: bytes, status: int) -> None:
    error = await refused(FakeAnswer([b'{"error":' + said + b"}", b""], headers=JSON))
    assert (error.status, error.end) == (status, End.UPSTREAM_ERROR)
    assert error.error_json == said


@pytest.mark.parametrize(
    "field",
    [
        (b"content-encoding", b"gzip"),
        (b"content-encoding", b"br"),
        (b"content-encoding", b""),
        (b"transfer-encoding", b"gzip, chunked"),
    ],
)
async def test_a_compressed_answer_is_not_inflated(field: tuple[bytes, bytes]) -> None:
    error = await refused(FakeAnswer([CONTENT], headers=[*EVENT_STREAM, field]))
    assert (error.status, error.code) == (502, "unexpected_encoding")


async def test_identity_and_chunked_are_no_compression() -> None:
    plain = [(b"content-encoding", b"identity"), (b"transfer-encoding", b"Chunked")]
    opened, _ = await ask(FakeAnswer([CONTENT], headers=[*EVENT_STREAM, *plain]))
    assert opened.first == CONTENT


@pytest.mark.parametrize("status", [201, 204, 206])
async def test_a_success_other_than_200_is_no_answer(status: int) -> None:
    error = await refused(FakeAnswer([b""], status=status))
    assert (error.status, error.code, error.end) == (502, "unexpected_status", End.UNEXPECTED_ANSWER)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 304])
async def test_redirects_are_not_followed(status: int) -> None:
    headers: Headers = [(b"location", b"https://elsewhere.example/secret")]
    error = await refused(FakeAnswer([b""], status=status, headers=headers))
    assert (error.status, error.code, error.end) == (502, "unexpected_redirect", End.UNEXPECTED_ANSWER)
    assert "elsewhere" not in error.message


BODY = b'{"error":{"code":"X","message": "theirs"}}'
STATUSES = [(400, 400), (404, 404), (408, 408), (422, 422), (429, 429), (500, 500), (503, 503), (529, 529)]


@pytest.mark.parametrize(("status", "seen"), STATUSES)
async def test_an_error_status_passes_with_the_upstreams_words(status: int, seen: int) -> None:
    headers: Headers = [*JSON, (b"retry-after", b"7"), (b"retry-after-ms", b"6500"), (b"set-cookie", b"s")]
    answer = FakeAnswer([BODY, b""], status=status, headers=headers)
    error = await refused(answer)
    assert (error.status, error.code, error.end) == (seen, f"upstream_{status}", End.UPSTREAM_STATUS)
    assert error.body == BODY
    assert error.headers == [(b"retry-after", b"7"), (b"retry-after-ms", b"6500")]
    assert error.retry_after == 6.5
    assert answer.finished


@pytest.mark.parametrize("status", [600, 799, 999])
async def test_a_status_that_http_does_not_know_becomes_502(status: int) -> None:
    assert (await refused(FakeAnswer([BODY, b""], status=status, headers=JSON))).status == 502


@pytest.mark.parametrize(
    ("status", "seen"), [(404, 404), (429, 429), (500, 500), (503, 503), (418, 502), (502, 502), (504, 502)]
)
@pytest.mark.parametrize("body", [b"", b"<h1>Sorry</h1>", b'{"error":"text"}', b"[]", b"\xff"])
async def test_an_error_status_without_words_gets_ours(status: int, seen: int, body: bytes) -> None:
    error = await refused(FakeAnswer([body, b""], status=status, headers=[(b"content-type", b"text/html")]))
    assert error.status == seen
    assert json.loads(error.body)["error"]["message"].startswith("The upstream answered with status")


@pytest.mark.parametrize(("status", "code"), [(401, "upstream_unauthorized"), (403, "upstream_forbidden")])
async def test_a_refusal_of_the_relays_credentials_is_not_the_callers(status: int, code: str) -> None:
    body = b'{"error":{"code":"401","message":"Access denied due to invalid subscription key sk-123"}}'
    error = await refused(FakeAnswer([body, b""], status=status, headers=JSON))
    assert (error.status, error.code) == (502, code)
    assert b"sk-123" not in error.body
    assert (b"x-should-retry", b"false") in error.headers


async def test_a_giant_error_body_is_not_waited_for() -> None:
    answer = FakeAnswer([b"x" * (MAX_ERROR_BYTES // 2)] * 4, status=500, headers=JSON)
    error = await refused(answer)
    assert error.status == 500
    assert len(error.body) < 1000


async def test_a_429_whose_body_breaks_off_is_still_a_429() -> None:
    broken = UpstreamError("upstream_lost", "x", end=End.UPSTREAM_LOST)
    error = await refused(FakeAnswer([BODY[:9], broken], status=429, headers=[*JSON, (b"retry-after", b"7")]))
    assert error.status == 429
    assert error.headers == [(b"retry-after", b"7")]


async def test_how_far_a_request_came_is_told() -> None:
    told: list[object] = []
    refusal = FakeAnswer([BODY, b""], status=500, headers=JSON)
    answers: list[FakeAnswer | Exception] = [FakeAnswer([CONTENT]), refusal, ConnectionError()]
    for answer in answers:
        with contextlib.suppress(UpstreamError, ConnectionError):
            await connect(
                FakeUpstream(answer),
                REQUEST,
                CHAT,
                wants_stream=True,
                waits=Waits(5.0, 5.0, 5.0),
                cap=65536,
                sent=lambda: told.append("sent"),
                answered=told.append,
            )
    assert told == ["sent", EVENT_STREAM, "sent", JSON, "sent"]


ERRORS_OF_EVENTS = [
    (b'{"code":"429"}', 429, "429"),
    (b'{"code":"rate_limit_exceeded"}', 429, "rate_limit_exceeded"),
    (b'{"code":"content_filter"}', 400, "content_filter"),
    (b'{"code":null}', 502, "upstream_error"),
    (b"null", 502, "upstream_error"),
    (b'"text"', 502, "upstream_error"),
]


@pytest.mark.parametrize(("said", "status", "code"), ERRORS_OF_EVENTS)
def test_an_events_error_is_told_to_whoever_asks(said: bytes, status: int, code: str) -> None:
    error = error_of_event(said)
    assert (error.status, error.code, error.end) == (status, code, End.UPSTREAM_ERROR)


async def test_silence_is_a_timeout_at_every_stage() -> None:
    with pytest.raises(UpstreamError) as caught:
        await ask(seconds=0.01)
    assert (caught.value.status, caught.value.code, caught.value.end) == (504, "upstream_timeout", End.TIMEOUT)
    for wants_stream, headers in ((True, EVENT_STREAM), (False, JSON)):
        answer = FakeAnswer([PREAMBLE], headers=headers)
        with pytest.raises(UpstreamError) as caught:
            await ask(answer, wants_stream=wants_stream, seconds=0.01)
        assert caught.value.status == 504
        assert answer.aborted
    answer = FakeAnswer([b"{"], status=429, headers=JSON)
    with pytest.raises(UpstreamError):
        await ask(answer, seconds=0.01)
    assert answer.aborted


async def test_cancelling_closes_the_answer() -> None:
    answer = FakeAnswer([PREAMBLE])
    task = asyncio.create_task(ask(answer))
    await answer.silent.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert answer.aborted


async def test_a_wake_up_changes_nothing() -> None:
    answer = FakeAnswer([PREAMBLE])
    task = asyncio.create_task(ask(answer))
    await answer.silent.wait()
    answer.wake()
    await asyncio.sleep(0)
    answer.put(CONTENT)
    opened, _ = await task
    assert opened.first == PREAMBLE + CONTENT


async def test_an_error_as_the_first_event_of_a_response_is_an_error_status() -> None:
    created = b'event: response.created\ndata: {"type":"response.created","response":{}}\n\n'
    event = b'event: error\ndata: {"type":"error","sequence_number":1,"error":' + ERROR + b"}\n\n"
    error = await refused(FakeAnswer([created, event]), operation=RESPONSES)
    assert error.status == 502
    assert error.error_json == ERROR

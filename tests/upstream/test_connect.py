"""From a request to its first event: whatever goes wrong until then is a plain error."""

import asyncio
import contextlib
import json

import pytest
from msgspec.structs import replace
from tests.fakes import EVENT_STREAM, JSON, FakeAnswer, FakeUpstream, bytewise
from tests.rows import rows

from chukei.azure import CHAT, OPERATIONS, RESPONSES
from chukei.errors import UpstreamError
from chukei.model import End, Headers, Operation
from chukei.pool.verdicts import judge
from chukei.stream import sse
from chukei.stream.redaction import MASK
from chukei.upstream.connect import HOLD_BYTES, LARGE_EVENT_BYTES, Opened, Waits, connect
from chukei.upstream.refusals import MAX_ERROR_BYTES
from chukei.upstream.writing import UpstreamRequest
from chukei.usage import Usage

pytestmark = pytest.mark.anyio

REQUEST = UpstreamRequest("https://e.example", "/openai/v1/chat/completions", "v1", [(b"a", b"b")], b"{}", True)
PREAMBLE = b'data: {"choices":[],"prompt_filter_results":[]}\n\n'
CONTENT = b'data: {"choices":[{"delta":{"content":"hi"},"index":0}]}\n\n'
ERROR = b'{"message":"Sorry","type":"server_error","param":null,"code":null}'
IMAGES = OPERATIONS["images/generations"]
EMBEDDINGS = OPERATIONS["embeddings"]


async def ask(
    *answers: FakeAnswer | Exception,
    operation: Operation = CHAT,
    wants_stream: bool = True,
    seconds: float = 5.0,
    output: float | None = None,
    cap: int = 65536,
    request: UpstreamRequest = REQUEST,
) -> tuple[Opened, FakeUpstream]:
    upstream = FakeUpstream(*answers)
    opened = await connect(
        upstream,
        request,
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


async def test_sound_and_text_flow_from_their_first_byte() -> None:
    for path, kind, first in (("audio/speech", b"audio/mpeg", b"ID3"), ("audio/transcriptions", b"text/plain", b"Hel")):
        opened, _ = await ask(
            FakeAnswer([first], headers=[(b"content-type", kind)]), operation=OPERATIONS[path], wants_stream=False
        )
        assert (opened.first, opened.whole) == (first, False)


async def test_json_is_held_up_to_a_size() -> None:
    part = b'{"data":[' + b"0," * 40_000
    opened, _ = await ask(FakeAnswer([part] * 40, headers=JSON), operation=EMBEDDINGS, wants_stream=False)
    assert HOLD_BYTES < len(opened.first) <= HOLD_BYTES + len(part)
    assert not opened.whole


async def test_json_is_held_for_a_time_after_its_first_byte() -> None:
    opened, _ = await ask(FakeAnswer([b'{"id":"x",'], headers=JSON), wants_stream=False, seconds=60.0)
    assert (opened.first, opened.whole) == (b'{"id":"x",', False)


async def test_a_break_in_what_is_held_is_a_proper_error() -> None:
    broken = UpstreamError("upstream_lost", "x", end=End.UPSTREAM_LOST)
    assert await refused(FakeAnswer([b'{"id":"x",', broken], headers=JSON), wants_stream=False) is broken


PADDING = [b"\n" * 100, b"\r\n\t ", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n"]


@rows("before", PADDING)
async def test_white_space_around_json_is_jsons(before: bytes) -> None:
    body = before + b'{"id":"x"}' + b"\n" * 100
    opened, _ = await ask(FakeAnswer([*bytewise(body), b""], headers=JSON), wants_stream=False)
    assert (opened.first, opened.whole) == (body, True)
    error = await refused(FakeAnswer([before + b'{"error":' + ERROR + b"}", b""], headers=JSON), wants_stream=False)
    assert error.error_json == ERROR


@rows(
    "body",
    [
        b'{"status":"failed","id":"r1","object":"response","error":{"code":"server_error"}}',
        b'{"object":"list","data":[],"error":"x"}',
        b'{"id":"caf\xe9"}',
    ],
)
async def test_an_answer_with_an_error_in_it_is_an_answer(body: bytes) -> None:
    opened, _ = await ask(FakeAnswer([body, b""], headers=JSON), wants_stream=False)
    assert opened.first == body


async def test_an_error_inside_a_200_may_stand_anywhere_and_be_a_text() -> None:
    error = await refused(FakeAnswer([b'{"status":500,"error":' + ERROR + b"}", b""], headers=JSON), wants_stream=False)
    assert (error.status, error.error_json) == (500, ERROR)
    error = await refused(FakeAnswer([b'{"error":"The model is overloaded"}', b""], headers=JSON))
    assert (error.status, error.error["message"]) == (502, "The model is overloaded")


WHOLE_ANSWERS = [
    ("audio/transcriptions", b"application/json", b'{"text":"hi","usage":{"type":"duration","seconds":1}}'),
    ("audio/transcriptions", b"text/plain; charset=utf-8", b"hi\n"),
    ("audio/transcriptions", b"text/plain", b"42"),
    ("audio/transcriptions", b"text/vtt", b"WEBVTT\n\n00:00.000 --> 00:01.000\nhi"),
    ("audio/transcriptions", b"application/json", b'"hi"\n'),
    ("audio/translations", b"application/x-subrip", b"1\n00:00:00,000 --> 00:00:01,000\nhi"),
    ("audio/translations", b"", b"hi"),
    ("audio/speech", b"audio/mpeg", b"ID3\x04"),
    ("audio/speech", b"application/octet-stream", b"\xff\xfb"),
    ("images/generations", b"application/json; charset=utf-8", b'{"created":1,"data":[{"b64_json":"aGk="}]}'),
    ("embeddings", b"application/json", b'{"object":"list","data":[]}'),
]


@rows(("path", "kind", "body"), WHOLE_ANSWERS)
async def test_what_does_not_stream_answers_as_a_whole(path: str, kind: bytes, body: bytes) -> None:
    for reads in ([body, b""], [*bytewise(body), b""]):
        for wants_stream in (True, False):
            answer = FakeAnswer(reads, headers=[(b"content-type", kind)] if kind else [])
            opened, _ = await ask(answer, operation=OPERATIONS[path], wants_stream=wants_stream)
            assert opened.stream is None
            while not opened.whole and (read := await answer.read()):
                opened.first += read
            assert opened.first == body
            assert not answer.aborted


@rows("kind", [b"", b"text/plain", b"application/octet-stream", b"application/json", b"text/html"])
@rows("lead", [b"", b"\xef\xbb\xbf", b"\n\n", b": hello\n\n", b"event: x\n", b"id: 1\n"])
async def test_a_stream_is_known_by_its_first_bytes(kind: bytes, lead: bytes) -> None:
    for reads in ([lead + CONTENT], bytewise(lead + CONTENT)):
        answer = FakeAnswer(reads, headers=[(b"content-type", kind), (b"x-ms-region", b"East")] if kind else [])
        opened, _ = await ask(answer)
        assert opened.stream is not None
        assert opened.first.endswith(CONTENT)
        assert [value for name, value in answer.headers if name == b"content-type"] == [
            b"text/event-stream; charset=utf-8"
        ]


@rows("kind", [b"Text/Event-Stream", b"text/event-stream;charset=UTF-8", b"text/event-stream, x/y"])
async def test_every_spelling_of_a_streams_type(kind: bytes) -> None:
    opened, _ = await ask(FakeAnswer([CONTENT], headers=[(b"content-type", kind)]))
    assert opened.first == CONTENT


async def test_an_error_in_json_where_a_stream_was_announced_is_that_error() -> None:
    error = await refused(FakeAnswer([b'{"error":' + ERROR + b"}\n", b""]))
    assert error.error_json == ERROR


async def test_json_without_its_type_gets_it() -> None:
    for kind in (b"", b"text/plain", b"application/octet-stream"):
        answer = FakeAnswer([b'{"id":"x"}', b""], headers=[(b"content-type", kind)] if kind else [])
        opened, _ = await ask(answer, wants_stream=False)
        assert opened.first == b'{"id":"x"}'
        assert answer.headers == JSON


async def test_an_error_before_any_output_is_an_error_status() -> None:
    error = await refused(FakeAnswer([PREAMBLE, b'data: {"error":' + ERROR + b"}\n\n"]))
    assert (error.status, error.end) == (500, End.UPSTREAM_ERROR)
    assert error.error_json == ERROR


KINDS = [
    (b'{"code":"429","message":"slow down"}', 429),
    (b'{"code":429,"message":"slow down"}', 429),
    (b'{"type":"too_many_requests","code":"no_capacity"}', 429),
    (b'{"code":"rate_limit_exceeded"}', 429),
    (b'{"code":"content_filter"}', 400),
    (b'{"type":"invalid_request_error"}', 400),
    (b'{"type":"server_error","code":null}', 500),
    (b'{"type":"server_error","code":"server_error"}', 500),
    (b'{"type":"server_error","code":"rate_limit_exceeded"}', 429),
    (b'{"type":"insufficient_quota","code":"insufficient_quota"}', 429),
    (b'{"code":"RateLimitReached"}', 429),
    (b'{"code":"Too-Many Requests"}', 429),
    (b'{"type":"service_unavailable_error","code":"server_is_overloaded"}', 503),
    (b'{"code":"ServiceUnavailable"}', 503),
    (b'{"type":"server_error","code":"image_content_policy_violation"}', 400),
    (b'{"type":"invalid_request_error","code":"context_length_exceeded"}', 400),
    (b'{"code":"ContextLengthExceeded"}', 400),
    (b'{"code":400,"message":"context length exceeded from messages"}', 400),
    (b'{"code":"503","message":"overloaded"}', 503),
    (b'{"status":422,"code":"x"}', 422),
    (b'{"code":401,"message":"key"}', 502),
    (b'{"code":"context_length_exceeded"}', 400),
    (b'{"code":"caf\xe9"}', 502),
    (b'{"type":5,"code":[]}', 502),
]


@rows(("error", "status"), KINDS)
async def test_an_error_event_becomes_the_status_it_stands_for(error: bytes, status: int) -> None:
    found = await refused(FakeAnswer([b'data: {"error":' + error + b"}\n\n"]))
    assert found.status == status
    assert found.error_json == error.decode("utf-8", "replace").encode()


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
    assert error.status == 500
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
    for kind in (b"text/html", b"text/plain", b"text/html; charset=utf-8", b"x/y\x1b[31m", b""):
        error = await refused(FakeAnswer([b"<script>", b""], headers=[(b"content-type", kind)]))
        assert (error.status, error.code, error.end) == (502, "unexpected_content_type", End.UNEXPECTED_ANSWER)
        assert error.message.isprintable()
        assert b"script" not in error.body
    error = await refused(FakeAnswer([b"<script>"], headers=[(b"content-type", b"text/html")]), wants_stream=False)
    assert error.code == "unexpected_content_type"


@rows("body", [b'{"id":"x","choices":[]}', b'{"error":null}', b' {"id":"x"}'])
async def test_a_plain_answer_to_a_call_for_a_stream_is_no_stream(body: bytes) -> None:
    error = await refused(FakeAnswer([body, b""], headers=JSON))
    assert (error.status, error.code, error.end) == (502, "not_a_stream", End.UNEXPECTED_ANSWER)
    assert error.headers == [(b"x-should-retry", b"false")]


async def test_what_was_made_instead_of_a_stream_is_counted_as_reported() -> None:
    body = b'{"id":"x","choices":[{"index":0}],"usage":{"prompt_tokens":7,"completion_tokens":3}}'
    assert (await refused(FakeAnswer([body, b""], headers=JSON))).usage == Usage(input=7, output=3)
    assert (await refused(FakeAnswer([b"{}", b""], headers=JSON))).usage is None


@rows(("said", "status"), [(b'{"code":"429","message":"slow down"}', 429), (ERROR, 500)])
async def test_an_error_in_a_200_to_a_call_for_a_stream_is_that_error(said: bytes, status: int) -> None:
    error = await refused(FakeAnswer([b'{"error":' + said + b"}", b""], headers=JSON))
    assert (error.status, error.end) == (status, End.UPSTREAM_ERROR)
    assert error.error_json == said


@rows(
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


@rows("status", [201, 204, 206])
async def test_a_success_other_than_200_is_no_answer(status: int) -> None:
    error = await refused(FakeAnswer([b""], status=status))
    assert (error.status, error.code, error.end) == (502, "unexpected_status", End.UNEXPECTED_ANSWER)


@rows("status", [301, 302, 307, 308, 304])
async def test_redirects_are_not_followed(status: int) -> None:
    headers: Headers = [(b"location", b"https://elsewhere.example/secret")]
    error = await refused(FakeAnswer([b""], status=status, headers=headers))
    assert (error.status, error.code, error.end) == (502, "unexpected_redirect", End.UNEXPECTED_ANSWER)
    assert "elsewhere" not in error.message


BODY = b'{"error":{"code":"X","message": "theirs"}}'
STATUSES = [
    (409, 409),
    (413, 413),
    (418, 418),
    (425, 425),
    (502, 502),
    (504, 504),
    (400, 400),
    (404, 404),
    (408, 408),
    (422, 422),
    (429, 429),
    (500, 500),
    (503, 503),
    (529, 529),
]


@rows(("status", "seen"), STATUSES)
async def test_an_error_status_passes_with_the_upstreams_words(status: int, seen: int) -> None:
    headers: Headers = [*JSON, (b"retry-after", b"7"), (b"retry-after-ms", b"6500"), (b"set-cookie", b"s")]
    answer = FakeAnswer([BODY, b""], status=status, headers=headers)
    error = await refused(answer)
    assert (error.status, error.code, error.end) == (seen, f"upstream_{status}", End.UPSTREAM_STATUS)
    assert error.body == BODY
    callers = status < 500 and status not in (408, 425, 429)
    told = [(b"x-should-retry", b"false")] if callers else []
    assert error.headers == [*JSON, (b"retry-after", b"7"), (b"retry-after-ms", b"6500"), *told]
    assert error.retry_after == 6.5
    assert answer.finished


@rows("status", [600, 799, 999])
async def test_a_status_that_http_does_not_know_becomes_502(status: int) -> None:
    assert (await refused(FakeAnswer([BODY, b""], status=status, headers=JSON))).status == 502


@rows("status", [404, 409, 413, 418, 429, 500, 502, 503, 504])
@rows("body", [b"", b"<h1>Sorry</h1>", b"{", b"[]", b"Sorry"])
async def test_a_page_keeps_its_status_and_gets_our_words(status: int, body: bytes) -> None:
    error = await refused(FakeAnswer([body, b""], status=status, headers=[(b"content-type", b"text/html")]))
    assert error.status == status
    assert json.loads(error.body)["error"]["message"].startswith("The upstream answered with status")


@rows("kind", [b"text/plain", b"application/json", b""])
@rows(("status", "type"), [(413, "invalid_request_error"), (422, "invalid_request_error"), (503, "upstream_error")])
async def test_words_in_another_shape_become_the_message(status: int, type: str, kind: bytes) -> None:
    for body in (b'{"detail":"Too much."}', b"Too much.\n"):
        answer = FakeAnswer([body, b""], status=status, headers=[(b"content-type", kind)] if kind else [])
        error = await refused(answer)
        assert error.status == status
        assert error.error == {"message": "Too much.", "type": type, "param": None, "code": f"upstream_{status}"}


async def test_an_upstreams_own_wish_about_retries_stands() -> None:
    headers: Headers = [*JSON, (b"x-should-retry", b"true")]
    assert (await refused(FakeAnswer([BODY, b""], status=409, headers=headers))).headers == headers


async def test_an_error_keeps_its_type_with_its_parameters() -> None:
    kind = [(b"content-type", b"application/problem+json; charset=utf-8; profile=x")]
    assert (await refused(FakeAnswer([BODY, b""], status=500, headers=kind))).headers == kind
    plain: Headers = [(b"content-type", b"text/plain; charset=utf-8")]
    assert (await refused(FakeAnswer([BODY, b""], status=500, headers=plain))).headers == JSON


async def test_a_compressed_error_keeps_its_status() -> None:
    error = await refused(FakeAnswer([b"\x1f\x8b", b""], status=429, headers=[*JSON, (b"content-encoding", b"gzip")]))
    assert (error.status, error.code) == (429, "upstream_429")


async def test_the_relays_credential_is_in_no_error() -> None:
    request = replace(REQUEST, headers=[(b"api-key", b"upstream-secret-key")])
    said = rb'{"message":"Bad key upstream-secret\u002dkey","type":"invalid_request_error","code":"x"}'
    headers: Headers = [*JSON, (b"x-ms-region", b"upstream-secret-key")]
    for answer in (
        FakeAnswer([b'{"error":' + said + b"}", b""], status=400, headers=headers),
        FakeAnswer([b"Bad key upstream-secret-key", b""], status=422, headers=[(b"content-type", b"text/plain")]),
        FakeAnswer([b'{"error":' + said + b"}", b""], headers=headers),
        FakeAnswer([b'data: {"error":' + said + b"}\n\n"]),
    ):
        with pytest.raises(UpstreamError) as caught:
            await ask(answer, request=request)
        shown = json.dumps(json.loads(caught.value.body)) + repr(caught.value.headers)
        assert "upstream-secret-key" not in shown
        assert MASK in shown


async def test_the_relays_credential_is_in_no_error_event() -> None:
    request = replace(REQUEST, headers=[(b"authorization", b"Bearer upstream-secret-key")])
    event = b'data: {"error":{"message":"Bad key upstream-secret\\u002dkey"}}\n\n'
    opened, _ = await ask(FakeAnswer([CONTENT]), request=request)
    assert opened.stream is not None
    out = opened.stream.feed(event)
    assert json.loads(out[6:])["error"]["message"] == f"Bad key {MASK}"
    assert MASK.encode() in (opened.stream.failure or b"")


@rows(("status", "code"), [(401, "upstream_unauthorized"), (403, "upstream_forbidden")])
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
    assert len(error.body) < 1200


async def test_a_429_whose_body_breaks_off_is_still_a_429() -> None:
    broken = UpstreamError("upstream_lost", "x", end=End.UPSTREAM_LOST)
    error = await refused(FakeAnswer([BODY[:9], broken], status=429, headers=[*JSON, (b"retry-after", b"7")]))
    assert error.status == 429
    assert (b"retry-after", b"7") in error.headers


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
                answered=lambda answer: told.append(answer.headers),
            )
    assert told == ["sent", EVENT_STREAM, "sent", JSON, "sent"]


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


@rows("sign", [[], [PREAMBLE], [b": comment\n\n"], [PREAMBLE[:9]]])
async def test_a_sign_of_life_extends_the_wait_for_output(sign: list[bytes]) -> None:
    answer = FakeAnswer(sign)
    task = asyncio.create_task(ask(answer, seconds=0.01, output=60.0))
    await answer.silent.wait()
    await asyncio.sleep(0.03)
    answer.put((PREAMBLE[9:] if sign == [PREAMBLE[:9]] else b"") + CONTENT)
    opened, _ = await task
    assert opened.first.endswith(CONTENT)


async def test_who_thinks_for_too_long_is_not_replaced_by_another() -> None:
    with pytest.raises(UpstreamError) as caught:
        await ask(FakeAnswer([PREAMBLE]), seconds=0.01, output=0.02)
    error = caught.value
    assert (error.status, error.code, error.end) == (504, "upstream_timeout", End.TIMEOUT)
    assert not judge(error).moves
    assert error.headers == [(b"x-should-retry", b"false")]
    assert "0.02 s" in error.message


async def test_the_message_names_the_limit_that_was_set() -> None:
    with pytest.raises(UpstreamError) as caught:
        await connect(
            FakeUpstream(),
            REQUEST,
            CHAT,
            wants_stream=True,
            waits=Waits(60.0, 600.0, 60.0).after(59.9899999),
            cap=65536,
            sent=lambda: None,
            answered=lambda _: None,
        )
    assert "60 s" in caught.value.message


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
    assert error.status == 500
    assert error.error_json == ERROR

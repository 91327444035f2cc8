"""What the client hears of a failure."""

import gzip
import random
import zlib
from collections.abc import Callable

from tests.rows import rows

from chukei.errors import UpstreamError
from chukei.model import End, Headers, header
from chukei.stream.redaction import Redactor
from chukei.upstream.refusals import error_of_event, media_type, read_whole, refusal
from chukei.usage import Usage

PLAIN: Headers = [(b"content-type", b"text/plain")]


ERRORS_OF_EVENTS = [
    (b'{"code":"429"}', 429, "429"),
    (b'{"code":"rate_limit_exceeded"}', 429, "rate_limit_exceeded"),
    (b'{"code":"content_filter"}', 400, "content_filter"),
    (b'{"code":null}', 502, "upstream_error"),
    (b"null", 502, "upstream_error"),
    (b'"text"', 502, "upstream_error"),
]


@rows(("said", "status", "code"), ERRORS_OF_EVENTS)
def test_an_events_error_is_told_to_whoever_asks(said: bytes, status: int, code: str) -> None:
    error = error_of_event(said)
    assert (error.status, error.code, error.end) == (status, code, End.UPSTREAM_ERROR)


def told(status: int, raw: bytes = b"") -> UpstreamError:
    return refusal(status, PLAIN, raw, Redactor([]))


@rows(
    ("status", "raw", "seen", "code"),
    [
        (401, b"x", 502, "upstream_unauthorized"),
        (403, b"x", 502, "upstream_forbidden"),
        (403, b'{"error":{"code":"content_policy_violation","message":"No."}}', 403, "upstream_403"),
        (401, b'{"error":{"code":"PermissionDenied","message":"No."}}', 502, "upstream_unauthorized"),
        (204, b"", 502, "unexpected_status"),
        (307, b"", 502, "unexpected_redirect"),
        (421, b"Misdirected", 421, "upstream_421"),
        (599, b"", 599, "upstream_599"),
        (799, b"", 502, "upstream_799"),
    ],
)
def test_the_status_that_the_client_gets(status: int, raw: bytes, seen: int, code: str) -> None:
    found = told(status, raw)
    assert (found.status, found.code) == (seen, code)


WORDS = "The resource is throttled — try later."
SHAPED = b'{"error":{"message":"The resource is throttled.","code":"busy"}}'


@rows(
    ("fields", "raw", "message"),
    [
        ([(b"content-encoding", b"gzip")], gzip.compress(WORDS.encode()), WORDS),
        ([(b"content-encoding", b"deflate")], zlib.compress(WORDS.encode()), WORDS),
        ([(b"transfer-encoding", b"gzip, chunked")], gzip.compress(WORDS.encode()), WORDS),
        (
            [(b"content-encoding", b"gzip")],
            gzip.compress(WORDS.encode() + random.Random(1).randbytes(9000).hex().encode())[:4000],
            WORDS,
        ),
        ([], WORDS.encode("utf-16"), WORDS),
        ([], b"\xfe\xff" + WORDS.encode("utf-16-be"), WORDS),
        (
            [],
            f"<?xml version='1.0'?><Error><Code>Busy</Code><Message>{WORDS}</Message></Error>".encode(),
            f"Busy {WORDS}",
        ),
    ],
    ids=["gzip", "deflate", "gzip on the way", "gzip that was cut", "UTF-16", "UTF-16, big first", "XML"],
)
def test_an_error_is_read_however_a_gateway_writes_it(fields: Headers, raw: bytes, message: str) -> None:
    found = refusal(429, [*PLAIN, *fields], raw, Redactor([]))
    assert found.message.startswith(message)
    assert len(found.message) <= 1000


@rows("coding", [gzip.compress, zlib.compress])
def test_a_compressed_error_in_openais_shape_is_passed_on_plain(coding: Callable[[bytes], bytes]) -> None:
    fields: Headers = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")]
    found = refusal(429, fields, coding(SHAPED), Redactor([(b"api-key", b"throttled")]))
    assert found.body == SHAPED.replace(b"throttled", b"[redacted]")
    assert header(found.headers, b"content-encoding") is None


@rows(
    "raw",
    [
        b"\x1f\x8b",
        b"not gzip at all",
        gzip.compress(b"a" * 50_000_000),
        b"<?xml version='1.0'?>\n<!DOCTYPE html><html>x",
    ],
)
def test_an_error_that_cannot_be_read_has_no_words_and_costs_little(raw: bytes) -> None:
    fields: Headers = [(b"content-encoding", b"gzip")] if raw[:1] != b"<" else []
    assert len(refusal(503, [*PLAIN, *fields], raw, Redactor([])).message) <= 1000


def test_what_a_whole_answer_reports_is_counted_whatever_else_it_says() -> None:
    assert read_whole(b'\n{"usage":{"prompt_tokens":2},"x":"\xff"}').reported_usage == Usage(input=2)
    assert read_whole(b'{"usage":[]}').reported_usage is None
    assert read_whole(b"[" * 50_000).failure is None


@rows("given", [b"Text/Plain ; a=b", b"text/plain,x/y", b" text/plain"])
def test_a_type_is_read_without_its_parameters(given: bytes) -> None:
    assert media_type([(b"content-type", given)]) == b"text/plain"

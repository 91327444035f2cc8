"""What the client hears of a failure."""

import pytest

from chukei.errors import UpstreamError
from chukei.explanation import Blotter
from chukei.model import End, Headers
from chukei.refusals import error_of_event, media_type, refusal, whole_in
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


@pytest.mark.parametrize(("said", "status", "code"), ERRORS_OF_EVENTS)
def test_an_events_error_is_told_to_whoever_asks(said: bytes, status: int, code: str) -> None:
    error = error_of_event(said)
    assert (error.status, error.code, error.end) == (status, code, End.UPSTREAM_ERROR)


def told(status: int, raw: bytes = b"") -> UpstreamError:
    return refusal(status, PLAIN, raw, Blotter([]))


@pytest.mark.parametrize(
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


def test_what_a_whole_answer_reports_is_counted_whatever_else_it_says() -> None:
    assert whole_in(b'\n{"usage":{"prompt_tokens":2},"x":"\xff"}').counted == Usage(input=2)
    assert whole_in(b'{"usage":[]}').counted is None
    assert whole_in(b"[" * 50_000).failure is None


@pytest.mark.parametrize("given", [b"Text/Plain ; a=b", b"text/plain,x/y", b" text/plain"])
def test_a_type_is_read_without_its_parameters(given: bytes) -> None:
    assert media_type([(b"content-type", given)]) == b"text/plain"

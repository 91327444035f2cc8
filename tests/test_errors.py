"""Errors in the shape that OpenAI's clients read."""

import json

from tests.rows import rows

from chukei.errors import CallerError, RelayError, Unavailable, UpstreamError
from chukei.model import End

OWN = b'{ "error": {"message": "theirs", "code": "429"}, "extra": 1 }'


def test_a_callers_error() -> None:
    error = CallerError(400, "invalid_type", "'x' must be \"y\".\n", param="x")
    assert json.loads(error.body) == {
        "error": {
            "message": "'x' must be \"y\".\n",
            "type": "invalid_request_error",
            "param": "x",
            "code": "invalid_type",
        }
    }
    assert json.loads(error.error_json) == json.loads(error.body)["error"]
    assert (error.status, error.end) == (400, End.REFUSED)
    assert str(error) == "'x' must be \"y\".\n"


def test_an_unavailable_relay() -> None:
    error = Unavailable("server_shutdown", "Later.")
    assert (error.status, error.end, error.type) == (503, End.SERVER_SHUTDOWN, "server_error")


def test_an_upstreams_own_words_are_passed_on_as_they_are() -> None:
    error = UpstreamError("upstream_429", "", end=End.UPSTREAM_STATUS, status=429, body=OWN)
    assert error.body is OWN
    assert error.error_json == b'{"message": "theirs", "code": "429"}'


def test_an_upstream_error_is_a_502_by_default_and_not_fresh() -> None:
    error = UpstreamError("upstream_lost", "Gone.", end=End.UPSTREAM_LOST)
    assert (error.status, error.type, error.fresh) == (502, "upstream_error", False)


@rows(
    "error",
    [
        CallerError(400, "c", "m"),
        Unavailable("c", "m"),
        UpstreamError("c", "m", end=End.TIMEOUT),
    ],
)
def test_every_error_is_one_line_of_json_and_has_an_answer(error: RelayError) -> None:
    assert b"\n" not in error.body
    assert set(json.loads(error.body)["error"]) == {"message", "type", "param", "code"}
    assert 400 <= error.status < 600


def test_errors_do_not_share_their_headers() -> None:
    first, second = CallerError(400, "c", "m"), CallerError(400, "c", "m")
    first.headers.append((b"a", b"b"))
    assert second.headers == []

"""The key of operators: one bearer credential, compared whole, with a limit of failures."""

import hashlib

import pytest
from tests.rows import rows

from chukei.callers.operator_key import OperatorKey
from chukei.callers.throttle import Throttle
from chukei.errors import CallerError
from chukei.model import Headers

KEY = b"an operator's key of some length"


def wrong() -> CallerError:
    return CallerError(401, "wrong_key", "No.")


def key(failures: int = 0) -> OperatorKey:
    return OperatorKey(hashlib.sha256(KEY).digest(), Throttle(failures, lambda: 0.0), wrong)


@rows("scheme", [b"Bearer ", b"bearer ", b"BEARER   "])
def test_the_key_is_a_bearer_credential(scheme: bytes) -> None:
    key().check([(b"authorization", scheme + KEY)], "10.0.0.1")


@rows(
    ("headers", "code"),
    [
        ([], "wrong_key"),
        ([(b"authorization", b"")], "wrong_key"),
        ([(b"authorization", b"Bearer")], "wrong_key"),
        ([(b"authorization", b"Bearer " + KEY[:-1])], "wrong_key"),
        ([(b"authorization", b"Basic " + KEY)], "wrong_key"),
        ([(b"api-key", KEY)], "wrong_key"),
        ([(b"authorization", b"Bearer " + KEY), (b"api-key", b"another")], "ambiguous_credentials"),
        ([(b"authorization", b"Bearer " + KEY), (b"x-api-key", b"another")], "ambiguous_credentials"),
    ],
)
def test_anything_else_is_refused(headers: Headers, code: str) -> None:
    with pytest.raises(CallerError) as caught:
        key().check(headers, "10.0.0.1")
    assert caught.value.code == code


def test_failures_of_a_source_are_limited_but_the_key_always_opens() -> None:
    checked = key(failures=2)
    codes = []
    for source in ("10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2"):
        with pytest.raises(CallerError) as caught:
            checked.check([(b"authorization", b"Bearer guess")], source)
        codes.append(caught.value.code)
    assert codes == ["wrong_key", "wrong_key", "too_many_failures", "wrong_key"]
    checked.check([(b"authorization", b"Bearer " + KEY)], "10.0.0.1")

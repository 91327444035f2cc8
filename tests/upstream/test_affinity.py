"""What a request has in common with earlier ones, and which deployment made what it continues."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import JSON
from tests.rows import rows

from chukei.config import PoolSettings
from chukei.model import Headers
from chukei.request import call, routes
from chukei.upstream import affinity
from chukei.upstream.affinity import PREFIX_BYTES, response_id_of

pytestmark = pytest.mark.anyio

EVERY = PoolSettings().affinity
LONG = "x" * PREFIX_BYTES


def call_of(body: object, path: str = "/v1/responses", headers: Headers | None = None) -> call.Call:
    route = routes.find("POST", path, "")
    assert route.operation is not None
    return call.read(route, route.operation, [*JSON, *(headers or [])], msgspec.json.encode(body))


def key(body: object, headers: Headers | None = None, order: tuple[str, ...] = EVERY) -> int | None:
    return affinity.key_of(call_of(body, headers=headers), order, b"x-session-id")


# Should go where others went.


def test_a_request_with_nothing_in_common_has_no_key() -> None:
    assert key({"input": "hello"}) is None
    assert key({"input": "hello", "prompt_cache_key": None, "user": None}, [(b"x-session-id", b"")]) is None


@rows(
    ("body", "headers"),
    [
        ({"input": "hello", "prompt_cache_key": "a"}, []),
        ({"input": "hello"}, [(b"x-session-id", b"a")]),
        ({"input": "hello", "user": "a"}, []),
        ({"input": "hello", "safety_identifier": "a"}, []),
        ({"input": LONG}, []),
    ],
)
def test_what_is_alike_has_one_key_and_what_is_not_another(body: dict[str, object], headers: Headers) -> None:
    found = key(body, headers)
    assert found is not None
    assert key({**body, "temperature": 0.3}, headers) == found
    other = {name: value if name == "input" and value == "hello" else f"other{value}" for name, value in body.items()}
    assert key(other, [(name, b"other") for name, _ in headers]) != found


def test_the_first_in_order_decides() -> None:
    body = {"input": LONG, "prompt_cache_key": "a", "user": "b"}
    session: Headers = [(b"x-session-id", b"c")]
    whole = key(body, session)
    assert whole == key({"input": "hello", "prompt_cache_key": "a"})
    for order, alone in (
        (("user", "session"), {"input": "hello", "user": "b"}),
        (("prompt", "user"), {"input": LONG}),
    ):
        assert key(body, session, order) == key(alone, order=order) != whole
    assert key(body, session, ("session",)) == key({"input": "hello"}, session) != whole
    assert key(body, session, ()) is None


def test_equal_values_of_different_kinds_are_not_alike() -> None:
    assert key({"input": "hello", "prompt_cache_key": "a"}) != key({"input": "hello", "user": "a"})


def test_only_a_long_common_beginning_counts() -> None:
    assert key({"input": "x" * (PREFIX_BYTES - 3)}) is None
    assert key({"input": LONG + "one"}) == key({"input": LONG + "two"})
    assert key({"input": LONG + "one"}) != key({"input": "y" + LONG})


@rows(
    ("path", "name"), [("/v1/chat/completions", "messages"), ("/v1/completions", "prompt"), ("/v1/responses", "input")]
)
def test_each_operation_names_its_prompt(path: str, name: str) -> None:
    prompt = [{"role": "user", "content": LONG}] if name == "messages" else LONG
    assert affinity.key_of(call_of({"model": "m", name: prompt}, path), EVERY, b"x-session-id") is not None


def test_a_form_has_at_most_a_session() -> None:
    raw = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--b--\r\n'
    route = routes.find("POST", "/v1/audio/transcriptions", "")
    assert route.operation is not None
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    assert affinity.key_of(call.read(route, route.operation, headers, raw), EVERY, b"x-session-id") is None
    headers.append((b"x-session-id", b"a"))
    assert affinity.key_of(call.read(route, route.operation, headers, raw), EVERY, b"x-session-id") is not None


@rows(
    ("body", "found"),
    [
        (b'{"id":"resp_1","object":"response"}', "resp_1"),
        (b'{"object":"response","id":"resp_1"}', "resp_1"),
        (b'{\n  "id": "resp_1",\n  "output": [{"a', "resp_1"),
        (b'{"id":""}', None),
        (b'{"id":7}', None),
        (b"{}", None),
        (b"[]", None),
        (b"", None),
        (b"<html>", None),
        (b'{"id":"\xff"}', None),
        (b'{"a":' + b"[" * 100_000, None),
    ],
)
def test_what_an_answer_made(body: bytes, found: str | None) -> None:
    assert response_id_of(body) == found


@given(body=st.binary())
def test_any_answer_can_be_looked_into(body: bytes) -> None:
    found = response_id_of(body)
    assert found is None or isinstance(found, str)

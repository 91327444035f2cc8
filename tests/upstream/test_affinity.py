"""What a request has in common with earlier ones, and which deployment made what it continues."""

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import JSON
from tests.rows import rows

from chukei.config import PoolSettings
from chukei.errors import CallerError
from chukei.model import Caller, CallerKind, Change, Headers
from chukei.request import call, routes
from chukei.upstream import affinity
from chukei.upstream.affinity import (
    MOST_HOMES,
    PREFIX_BYTES,
    Continuation,
    StatefulIds,
    continuations_of,
    owner_of,
    response_id_of,
)

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


# Must go where it was made.


@rows(
    ("fields", "ids"),
    [
        ({}, []),
        ({"previous_response_id": "resp_1"}, ["resp_1"]),
        ({"conversation": "conv_1"}, ["conv_1"]),
        ({"conversation": {"id": "conv_1"}}, ["conv_1"]),
        ({"previous_response_id": "resp_1", "conversation": "conv_1"}, ["resp_1", "conv_1"]),
        ({"previous_response_id": None, "conversation": {}}, []),
        ({"previous_response_id": "", "conversation": ""}, []),
        ({"previous_response_id": 7, "conversation": ["conv_1"]}, []),
        ({"previous_response_id": {"id": 7}, "conversation": "conv_1"}, ["conv_1"]),
    ],
)
def test_what_a_request_continues(fields: dict[str, object], ids: list[str]) -> None:
    found = continuations_of(call_of({"input": "hello", **fields}))
    assert [each.id for each in found] == ids
    assert all(each.param in fields for each in found)


def test_only_responses_continue_anything() -> None:
    body = {"messages": [{"role": "user", "content": "hello"}], "previous_response_id": "resp_1"}
    assert continuations_of(call_of(body, "/v1/chat/completions")) == []


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


# Homes of stateful ids.


class FakeBoard:
    """A board that holds what it is told and what it was given."""

    def __init__(self, **homes: str) -> None:
        self.homes = homes
        self.asked: list[str] = []
        self.told: list[tuple[str, str]] = []

    def follow(self, subjects: Iterable[str]) -> None:
        raise AssertionError

    def publish(self, change: Change) -> None:
        raise AssertionError("nobody publishes here")

    def remember(self, made: str, deployment: str) -> None:
        self.told.append((made, deployment))

    async def home(self, made: str) -> str | None:
        self.asked.append(made)
        return self.homes.get(made)

    def start(self) -> None:
        return None

    async def close(self) -> None:
        return None


ANN, BOB = (owner_of(Caller(name, CallerKind.KEY)) for name in ("ann", "bob"))


def ids(*found: str) -> list[Continuation]:
    return [Continuation(each, "conversation" if each.startswith("conv") else "previous_response_id") for each in found]


async def test_what_was_made_here_is_found_without_asking() -> None:
    board = FakeBoard()
    homes = StatefulIds(board)
    homes.remember("resp_1", "east", ANN)
    assert await homes.find(ids("resp_1"), ANN) == "east"
    assert board.asked == []
    assert board.told == [("resp_1", f"{ANN} east")]


async def test_what_is_known_is_told_once_and_a_move_again() -> None:
    board = FakeBoard()
    homes = StatefulIds(board)
    for identity in ("east", "east", "west", "west"):
        homes.remember("conv_1", identity, ANN)
    assert board.told == [("conv_1", f"{ANN} east"), ("conv_1", f"{ANN} west")]
    assert await homes.find(ids("conv_1"), ANN) == "west"


async def test_what_another_replica_made_is_asked_for() -> None:
    board = FakeBoard(conv_1=f"{ANN} https://west.example/gpt 4o")
    homes = StatefulIds(board)
    assert await homes.find(ids("resp_1", "conv_1"), ANN) == "https://west.example/gpt 4o"
    assert board.asked == ["resp_1", "conv_1"]
    homes.remember("conv_1", "east", ANN)
    assert await homes.find(ids("conv_1"), ANN) == "east"
    assert board.asked == ["resp_1", "conv_1"]


async def test_without_a_board_what_is_unknown_stays_so() -> None:
    homes = StatefulIds(None)
    assert await homes.find([], ANN) is None
    assert await homes.find(ids("resp_1"), ANN) is None


async def test_ids_are_of_any_length_and_their_number_is_bounded() -> None:
    homes = StatefulIds(None)
    homes.remember("x" * 1_000_000, "east", ANN)
    homes.remember("used", "east", ANN)
    for number in range(MOST_HOMES):
        homes.remember(f"resp_{number}", "west", ANN)
        if number % 1000 == 0:
            homes.remember("used", "east", ANN)
    assert len(homes._known) == MOST_HOMES
    assert await homes.find(ids("used"), ANN) == "east"
    assert await homes.find(ids("x" * 1_000_000), ANN) is None
    assert max(len(name) for name in homes._known) == 16


async def test_an_id_that_is_no_text_is_no_problem() -> None:
    homes = StatefulIds(None)
    homes.remember("\ud800", "east", ANN)
    assert await homes.find(ids("\ud800"), ANN) == "east"


@rows(
    ("known", "param", "code", "message"),
    [
        ("resp_1", "previous_response_id", "previous_response_not_found", "Previous response"),
        ("conv_1", "conversation", "conversation_not_found", "Conversation"),
    ],
)
@rows("here", [True, False], ids=["here", "on another replica"])
async def test_what_was_made_for_one_caller_is_unknown_to_another(
    known: str, param: str, code: str, message: str, here: bool
) -> None:
    homes = StatefulIds(None if here else FakeBoard(**{known: f"{ANN} east"}))
    if here:
        homes.remember(known, "east", ANN)
    for asked in (ids(known), ids("resp_unknown", known), ids(known, "conv_unknown")):
        assert await homes.find(asked, ANN) == "east"
        with pytest.raises(CallerError) as caught:
            await homes.find(asked, BOB)
        assert (caught.value.status, caught.value.code, caught.value.param) == (404, code, param)
        assert caught.value.message == f"{message} with id '{known}' not found."


async def test_whoever_has_it_first_keeps_it() -> None:
    homes = StatefulIds(None)
    homes.remember("conv_1", "east", ANN)
    for identity in ("east", "west"):
        homes.remember("conv_1", identity, BOB)
    assert await homes.find(ids("conv_1"), ANN) == "east"


async def test_words_of_a_replica_that_knows_no_owners_are_understood() -> None:
    homes = StatefulIds(FakeBoard(resp_1="https://r.example/a b", resp_2="", resp_3=f"{ANN} "))
    assert await homes.find(ids("resp_1"), ANN) == await homes.find(ids("resp_1"), BOB) == "https://r.example/a b"


def test_callers_without_a_name_are_one_owner_of_each_kind() -> None:
    kinds = (CallerKind.LOCAL, CallerKind.ANONYMOUS, CallerKind.SHARED)
    unnamed = {owner_of(Caller("local", kind)) for kind in kinds}
    assert len(unnamed) == 3
    assert owner_of(Caller("local", CallerKind.KEY)) not in unnamed
    assert owner_of(Caller("ann", CallerKind.KEY, ("staff",), "k1")) == ANN, "its keys and groups may change"

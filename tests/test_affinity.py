"""What requests have in common, and who made what they continue."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from chukei.affinity import MOST_HOMES, PREFIX_BYTES, Homes, continued, key_of, made
from chukei.call import Call
from chukei.config.pool import AFFINITIES
from chukei.fields import Fields
from chukei.model import Change, Headers, Operation
from chukei.wire import CHAT, OPERATIONS, RESPONSES

pytestmark = pytest.mark.anyio

SESSION = b"x-session-id"
LONG = "x" * PREFIX_BYTES


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def call(operation: Operation = CHAT, headers: Headers | None = None, **fields: Any) -> Call:
    raw = json.dumps(fields).encode()
    return Call(operation, None, True, False, None, headers or [], Fields(raw), len(raw))


def key(asked: Call, order: Sequence[str] = AFFINITIES) -> int | None:
    return key_of(asked, order, SESSION)


# Keys.


def test_without_anything_in_common_there_is_no_key() -> None:
    assert key(call(messages=[{"role": "user", "content": "hello"}])) is None
    assert key(call(prompt_cache_key="k", user="u"), ()) is None


@pytest.mark.parametrize(
    "fields",
    [{"prompt_cache_key": "k"}, {"user": "k"}, {"safety_identifier": "k"}, {"messages": [{"content": LONG}]}],
    ids=lambda fields: next(iter(fields)),
)
def test_the_same_value_is_the_same_key_whatever_else_there_is(fields: dict[str, Any]) -> None:
    found = key(call(**fields))
    assert found is not None
    assert key(call(**fields, temperature=1)) == found
    (name,) = fields
    assert key(call(**{name: json.loads(json.dumps(fields[name]).replace("k", "K").replace("x", "y"))})) != found


def test_a_header_names_the_session() -> None:
    found = key(call(headers=[(SESSION, b"s")]))
    assert found is not None
    assert found == key(call(headers=[(SESSION, b"s")], messages=[]))
    assert found != key(call(headers=[(SESSION, b"t")]))
    assert key(call(headers=[(SESSION, b"")])) is None


def test_a_value_means_something_else_under_another_name() -> None:
    keys = {
        key(call(prompt_cache_key="k")),
        key(call(user="k")),
        key(call(headers=[(SESSION, b'"k"')])),
    }
    assert len(keys) == 3


def test_the_first_that_there_is_decides() -> None:
    both = call(headers=[(SESSION, b"s")], prompt_cache_key="k", user="u")
    assert key(both) == key(call(prompt_cache_key="k"))
    assert key(both, ("user", "session")) == key(call(user="u"))
    assert key(both, ("session",)) == key(call(headers=[(SESSION, b"s")]))
    assert key(both, ("prompt",)) is None


def test_null_is_no_key() -> None:
    assert key(call(prompt_cache_key=None, user=None)) is None


@pytest.mark.parametrize(("path", "name"), [(CHAT.path, "messages"), ("responses", "input"), ("completions", "prompt")])
def test_a_prompt_counts_by_how_it_begins_and_only_when_it_is_long(path: str, name: str) -> None:
    def of(prompt: str) -> int | None:
        fields: dict[str, Any] = {name: prompt}
        return key(call(OPERATIONS[path], **fields))

    found = of(LONG + "this")
    assert found is not None
    assert found == of(LONG + "that")
    assert found != of("y" + LONG)
    assert of("x" * (PREFIX_BYTES - 3)) is None


# What is continued.


@pytest.mark.parametrize(
    ("fields", "ids"),
    [
        ({}, []),
        ({"previous_response_id": "resp_1"}, ["resp_1"]),
        ({"previous_response_id": None}, []),
        ({"previous_response_id": ""}, []),
        ({"previous_response_id": 7}, []),
        ({"previous_response_id": ["resp_1"]}, []),
        ({"conversation": "conv_1"}, ["conv_1"]),
        ({"conversation": {"id": "conv_1"}}, ["conv_1"]),
        ({"conversation": {}}, []),
        ({"conversation": {"id": 7}}, []),
        ({"conversation": "conv_1", "previous_response_id": "resp_1"}, ["resp_1", "conv_1"]),
    ],
)
def test_the_ids_of_what_is_continued(fields: dict[str, Any], ids: list[str]) -> None:
    assert continued(call(RESPONSES, **fields)) == ids
    assert continued(call(CHAT, **fields)) == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"id":"resp_1","object":"response"}', "resp_1"),
        (b'{"object":"response","output":[{"id":"msg_1"}]}', None),
        (b'{"id":""}', None),
        (b'{"id":7}', None),
        (b'{"id":"resp_1"', None),
        (b"[]", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_the_id_of_what_was_made(body: bytes, found: str | None) -> None:
    assert made(body) == found


# Who made it.


class FakeBoard:
    """Remembers what it is told, and counts who asks."""

    def __init__(self, **known: str) -> None:
        self.known = dict(known)
        self.asked: list[str] = []
        self.told: list[tuple[str, str]] = []

    def publish(self, change: Change) -> None:
        raise AssertionError("an id is no change")

    def remember(self, made: str, deployment: str) -> None:
        self.told.append((made, deployment))

    async def home(self, made: str) -> str | None:
        self.asked.append(made)
        return self.known.get(made)

    def start(self) -> None:
        return None

    async def close(self) -> None:
        return None


async def test_what_is_remembered_is_found() -> None:
    homes = Homes(None)
    homes.remember("resp_1", "east")
    homes.remember("resp_2", "west")
    assert await homes.find(["resp_1"]) == "east"
    assert await homes.find(["resp_3", "resp_2"]) == "west"
    assert await homes.find(["resp_3"]) is None
    assert await homes.find([]) is None


async def test_the_latest_word_counts() -> None:
    homes = Homes(None)
    homes.remember("conv_1", "east")
    homes.remember("conv_1", "west")
    assert await homes.find(["conv_1"]) == "west"


async def test_those_not_used_for_longest_are_forgotten() -> None:
    homes = Homes(None)
    for number in range(MOST_HOMES):
        homes.remember(f"resp_{number}", "east")
    homes.remember("resp_0", "east")  # used again
    homes.remember("resp_new", "east")
    assert await homes.find(["resp_1"]) is None
    assert await homes.find(["resp_0"]) == "east"
    assert await homes.find(["resp_new"]) == "east"


async def test_the_board_is_told_once_and_asked_only_for_what_is_unknown_here() -> None:
    board = FakeBoard(resp_2="west")
    homes = Homes(board)
    homes.remember("resp_1", "east")
    homes.remember("resp_1", "east")
    assert board.told == [("resp_1", "east")]
    assert await homes.find(["resp_2", "resp_1"]) == "east"
    assert board.asked == []
    assert await homes.find(["resp_0", "resp_2"]) == "west"
    assert board.asked == ["resp_0", "resp_2"]


async def test_ids_of_any_length_and_content_are_kept_apart() -> None:
    homes = Homes(None)
    for made_, home in (("x" * 1_000_000, "east"), ("\ud800", "west"), ("中", "north")):
        homes.remember(made_, home)
    assert await homes.find(["x" * 1_000_000]) == "east"
    assert await homes.find(["中"]) == "north"

"""What goes over the wire, as hiredis and a server would read it, and what becomes of an answer."""

import asyncio

import hiredis
import pytest

from chukei.accounts.stores import StoreAway
from chukei.adapters.redis.commands import PendingCommand, Script, command, packed

pytestmark = pytest.mark.anyio

SCRIPT = Script("return 'é'")


def read(data: bytes) -> object:
    reader = hiredis.Reader()
    reader.feed(data)
    answer: object = reader.gets()
    assert reader.gets() is False  # nothing is left
    return answer


def test_a_command_is_its_arguments() -> None:
    assert read(command("SET", "a b", 2**53, "é", b"\xff", "")) == [
        b"SET",
        b"a b",
        str(2**53).encode(),
        "é".encode(),
        b"\xff",
        b"",
    ]


def test_no_text_is_too_strange_to_be_sent() -> None:
    assert packed(["\ud800", "\r\n", "\0"]) == b"$3\r\n\xed\xa0\x80\r\n$2\r\n\r\n\r\n$1\r\n\0\r\n"


def test_a_script_is_called_by_its_digest_and_else_by_its_text() -> None:
    known = SCRIPT.command(["key"], [1, "EVALSHA"])
    assert isinstance(arguments := read(known), list)
    assert arguments[0] == b"EVALSHA"
    assert len(arguments[1]) == 40
    assert arguments[2:] == [b"1", b"key", b"1", b"EVALSHA"]
    assert read(SCRIPT.whole(known)) == [b"EVAL", "return 'é'".encode(), b"1", b"key", b"1", b"EVALSHA"]
    assert SCRIPT.whole(SCRIPT.whole(known)) == SCRIPT.whole(known)


async def test_an_answer_is_told_to_all_who_wait() -> None:
    told: list[str] = []
    call = PendingCommand(b"", None, "a", told.append)
    call.future = asyncio.get_running_loop().create_future()
    call.succeed(5)
    call.succeed(6)
    call.fail("too late")
    assert await call.future == 5
    assert told == ["a", "a"]


async def test_who_waits_is_told_of_a_failure_and_what_is_to_be_done_is_not_done() -> None:
    told: list[str] = []
    call = PendingCommand(b"", None, "a", told.append)
    call.fail("nobody waits")
    call.future = asyncio.get_running_loop().create_future()
    call.fail("away")
    with pytest.raises(StoreAway, match=r"^away$"):
        await call.future
    assert told == []


async def test_only_what_nobody_needs_is_given_up() -> None:
    asked, needed = SCRIPT.call([], []), PendingCommand(b"", SCRIPT, "a", print)
    for call in (asked, needed):
        assert not call.given_up
        call.future = asyncio.get_running_loop().create_future()
        assert not call.over
        call.future.cancel()
        assert call.over
    assert asked.given_up
    assert not needed.given_up
